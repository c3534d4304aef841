//! A table of numbers that grows by a row each step.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use chainrule_tensor::{Error, Result, io};

/// A CSV file whose first column is the step. Every row is written at once, so that a run that is stopped loses none, and
/// a run that continues drops the rows after its checkpoint.
pub struct MetricsCsv {
    file: File,
    path: PathBuf,
    columns: usize,
}

impl MetricsCsv {
    /// A new file with these columns, or, with `resume_at`, the rows of the old one up to that step.
    ///
    /// # Errors
    /// A file that cannot be written, or has other columns.
    #[track_caller]
    pub fn open(path: impl AsRef<Path>, columns: &[&str], resume_at: Option<u64>) -> Result<MetricsCsv> {
        let path = path.as_ref().to_path_buf();
        let header = columns.join(",");
        let mut text = header.clone() + "\n";
        if let Some(last) = resume_at
            && path.exists()
        {
            let old = crate::text::read_text(&path)?;
            let mut lines = old.lines();
            if lines.next() != Some(header.as_str()) {
                return Err(Error::format(format!("{}: expected the columns {header}", path.display())));
            }
            // A row that a full disk cut short may begin with the digits of an earlier step.
            let is_kept = |line: &&str| {
                let mut cells = line.split(',');
                let step = cells.next().and_then(|step| step.parse().ok());
                cells.count() + 1 == columns.len() && step.is_some_and(|step: u64| step <= last)
            };
            for line in lines.filter(is_kept) {
                text += line;
                text += "\n";
            }
        }
        let io_error = |error| Error::io(format!("writing {}", path.display()), error);
        io::replace_file(&path, |file| file.write_all(text.as_bytes()).map_err(io_error))?;
        let file = OpenOptions::new().append(true).open(&path).map_err(io_error)?;
        Ok(MetricsCsv { file, path, columns: columns.len() })
    }

    /// Adds a row; `None` is an empty cell.
    ///
    /// # Errors
    /// A file that cannot be written, or another number of cells than columns.
    #[track_caller]
    pub fn row(&mut self, step: u64, cells: &[Option<f64>]) -> Result<()> {
        if cells.len() + 1 != self.columns {
            let message = format!("got {} cells with the step, expected {}", cells.len() + 1, self.columns);
            return Err(Error::argument("MetricsCsv::row", message));
        }
        let cells: Vec<String> = cells.iter().map(|cell| cell.map_or(String::new(), |cell| cell.to_string())).collect();
        let line = format!("{step},{}\n", cells.join(","));
        self.file
            .write_all(line.as_bytes())
            .map_err(|error| Error::io(format!("writing {}", self.path.display()), error))
    }

    /// The rows so far: the step and the other cells.
    ///
    /// # Errors
    /// A file that cannot be read, or has cells that are no numbers.
    #[track_caller]
    pub fn read(path: impl AsRef<Path>) -> Result<Vec<(u64, Vec<Option<f64>>)>> {
        let path = path.as_ref();
        let parse = |line: &str| {
            let (step, cells) = line.split_once(',')?;
            let cell = |cell: &str| if cell.is_empty() { Some(None) } else { cell.parse().ok().map(Some) };
            Some((step.parse().ok()?, cells.split(',').map(cell).collect::<Option<Vec<_>>>()?))
        };
        let text = crate::text::read_text(path)?;
        let broken = |number| Error::format(format!("{}: line {} has no numbers", path.display(), number + 1));
        let rows = text.lines().enumerate().skip(1);
        let rows = rows.map(|(number, line)| parse(line).ok_or_else(|| broken(number)));
        rows.collect()
    }
}
