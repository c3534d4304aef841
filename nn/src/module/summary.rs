//! The table of a model's layers.

use std::collections::HashSet;
use std::fmt;

use crate::module::collect;
use crate::{Entry, Module};

/// A model as a table: one row for each layer, and the totals. Print it.
///
/// ```
/// use chainrule_nn::{Linear, Module};
/// let table = Linear::new(3, 2, &mut chainrule_tensor::Rng::seed(0))?.summary();
/// assert_eq!((table.trainable, table.frozen), (8, 0));
/// assert!(table.to_string().contains("weight [2, 3], bias [2]"));
/// # Ok::<(), chainrule_tensor::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// How many numbers are trained, tied ones counted once.
    pub trainable: usize,
    /// How many numbers are frozen, tied ones counted once.
    pub frozen: usize,
    rows: Vec<Row>,
}

#[derive(Clone, Debug)]
struct Row {
    path: String,
    layer: String,
    shapes: Vec<String>,
    count: usize,
    has_children: bool,
}

impl Summary {
    pub(crate) fn of(model: &dyn Module) -> Summary {
        let mut summary = Summary::default();
        let mut seen = HashSet::new();
        collect(model, &mut |path, entry| match entry {
            Entry::Module(layer) => summary.push(path, layer),
            Entry::Param { param, is_frozen } => {
                let is_new = seen.insert(param.id());
                let count = if is_new { param.elements() } else { 0 };
                *if is_frozen { &mut summary.frozen } else { &mut summary.trainable } += count;
                let note = if is_new { "" } else { " tied" };
                summary.add(path, format!("{}{note}", param.shape()), count);
            }
            Entry::Buffer(tensor) => summary.add(path, format!("{} buffer", tensor.shape()), 0),
        });
        summary
    }

    fn push(&mut self, path: &str, layer: &str) {
        let (parent, _) = path.rsplit_once('.').unwrap_or(("", path));
        if let Some(row) = self.rows.iter_mut().rfind(|row| row.path == parent && !path.is_empty()) {
            row.has_children = true;
        }
        let row = Row { path: path.into(), layer: layer.into(), shapes: Vec::new(), count: 0, has_children: false };
        self.rows.push(row);
    }

    /// Adds a tensor to the row of the module it is in.
    fn add(&mut self, path: &str, shape: String, count: usize) {
        let (parent, name) = path.rsplit_once('.').unwrap_or(("", path));
        if !self.rows.iter().any(|row| row.path == parent) {
            self.push(parent, "");
        }
        if let Some(row) = self.rows.iter_mut().rfind(|row| row.path == parent) {
            row.shapes.push(format!("{name} {shape}").trim_start().to_string());
            row.count += count;
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: Vec<[String; 4]> = self
            .rows
            .iter()
            .filter(|row| !row.shapes.is_empty() || !row.has_children)
            .map(|row| [row.path.clone(), row.layer.clone(), row.shapes.join(", "), grouped(row.count)])
            .collect();
        let head = ["name", "layer", "shape", "parameters"].map(String::from);
        let mut widths = head.each_ref().map(String::len);
        for row in &shown {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        let [a, b, c, d] = widths;
        let rule = "-".repeat(a + b + c + d + 6);
        writeln!(f, "{:a$}  {:b$}  {:c$}  {:>d$}\n{rule}", head[0], head[1], head[2], head[3])?;
        for row in &shown {
            writeln!(f, "{:a$}  {:b$}  {:c$}  {:>d$}", row[0], row[1], row[2], row[3])?;
        }
        let total = grouped(self.trainable + self.frozen);
        let (trainable, frozen) = (grouped(self.trainable), grouped(self.frozen));
        write!(f, "{rule}\n{total} parameters: {trainable} trainable, {frozen} frozen")
    }
}

/// 1234567 as 1,234,567.
fn grouped(n: usize) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
