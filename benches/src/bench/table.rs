//! The rows of a run, as a table for people and as JSON for programs. `rivals/torch_gpu.py` prints the same of both.

use std::fmt::Write;

use chainrule::{DType, Result};
use serde_json::{Value, json};

use super::case::Case;
use super::measure::Timing;

/// What this library's rows are called.
pub(crate) const OWN: &str = "chainrule";

/// The most that the machine was seen to do in this run, by whomever.
#[derive(Clone, Copy, Default, PartialEq, Debug)]
pub(crate) struct Ceilings {
    /// Floating-point operations in a second, of matrix products.
    pub(crate) flops: f64,
    /// Bytes in a second, of copies.
    pub(crate) bytes: f64,
}

impl Ceilings {
    /// Raises the ceiling that the row tells.
    pub(crate) fn take(&mut self, row: &Row) {
        let Ok(timing) = &row.outcome else { return };
        let seconds = timing.us.median / 1e6;
        match row.flops {
            0.0 => self.bytes = self.bytes.max(row.bytes / seconds),
            flops => self.flops = self.flops.max(flops / seconds),
        }
    }

    /// The least time that the work can take in microseconds, and which ceiling says so.
    fn floor_us(&self, row: &Row) -> (f64, &'static str) {
        let (matmul, copy) = (row.flops / self.flops * 1e6, row.bytes / self.bytes * 1e6);
        if row.flops > 0.0 && matmul > copy { (matmul, "matmul") } else { (copy, "copy") }
    }
}

/// What one implementation took for one case, or why it gave no result.
pub(crate) struct Row {
    op: &'static str,
    sizes: &'static str,
    dtype: DType,
    by: String,
    flops: f64,
    bytes: f64,
    outcome: std::result::Result<Timing, String>,
    /// The median of chainrule in the same case, where this is a rival's.
    own_us: Option<f64>,
}

impl Row {
    pub(crate) fn new(
        case: &Case,
        asked: DType,
        by: impl Into<String>,
        outcome: std::result::Result<Timing, String>,
        own_us: Option<f64>,
    ) -> Result<Row> {
        let (flops, bytes, dtype) = (case.flops()?, case.bytes(asked)?, case.dtype(asked));
        Ok(Row { op: case.op, sizes: case.sizes, dtype, by: by.into(), flops, bytes, outcome, own_us })
    }

    /// The median in microseconds, where there is a result.
    pub(crate) fn median_us(&self) -> Option<f64> {
        self.outcome.as_ref().ok().map(|timing| timing.us.median)
    }

    /// False where chainrule gave no result: that is a failure, while a rival may lack a kernel.
    pub(crate) fn is_sound(&self) -> bool {
        self.outcome.is_ok() || self.by != OWN
    }

    /// How many times as long as chainrule it took: above 1, chainrule is faster.
    fn ratio(&self) -> Option<f64> {
        Some(self.median_us()? / self.own_us?)
    }

    /// A line of the table.
    pub(crate) fn line(&self, ceilings: &Ceilings) -> String {
        let mut line = format!("{:18} {:48} {:5} {:14}", self.op, self.sizes, self.dtype.name(), self.by);
        let timing = match &self.outcome {
            Ok(timing) => timing,
            Err(reason) => return format!("{line} {}", reason.lines().next().unwrap_or_default()),
        };
        let us = timing.us;
        let per_us =
            |work: f64, unit: f64| if work > 0.0 { format!("{:.1}", work / us.median / unit) } else { "-".into() };
        let (floor_us, limit) = ceilings.floor_us(self);
        let extra = timing.extra_bytes.map_or("-".into(), |bytes| format!("{:.1}", bytes as f64 / 1e6));
        let ratio = self.ratio().map_or("-".into(), |ratio| format!("{ratio:.2}x"));
        let share = 100.0 * floor_us / us.median;
        let share = if share.is_finite() { format!("{share:.0}% {limit}") } else { "-".into() };
        // Writing to a string does not fail.
        let _ = write!(line, " {:>11.2} {:>11.2} {:>11.2}", us.median, us.p10, us.p90);
        let _ = write!(line, " {:>8} {:>8} {share:>11}", per_us(self.flops, 1e6), per_us(self.bytes, 1e3));
        let _ = write!(line, " {extra:>9} {ratio:>7}");
        line
    }

    /// The row as an object; what does not exist is null.
    pub(crate) fn json(&self, ceilings: &Ceilings) -> Value {
        let mut row = json!({ "op": self.op, "case": self.sizes, "dtype": self.dtype.name(), "by": self.by });
        let fields = match &self.outcome {
            Err(reason) => json!({ "error": reason }),
            Ok(Timing { us, extra_bytes }) => {
                let (floor_us, limit) = ceilings.floor_us(self);
                json!({
                    "median_us": us.median, "p10_us": us.p10, "p90_us": us.p90,
                    "tflops": (self.flops > 0.0).then(|| self.flops / us.median / 1e6),
                    "gbps": self.bytes / us.median / 1e3,
                    "share": floor_us / us.median, "limit": limit,
                    "extra_bytes": extra_bytes, "ratio": self.ratio(),
                })
            }
        };
        if let (Value::Object(row), Value::Object(fields)) = (&mut row, fields) {
            row.extend(fields);
        }
        row
    }
}

/// The head of the table.
pub(crate) fn head() -> String {
    format!(
        "{:18} {:48} {:5} {:14} {:>11} {:>11} {:>11} {:>8} {:>8} {:>11} {:>9} {:>7}",
        "op", "case", "dtype", "by", "median us", "p10", "p90", "TFLOP/s", "GB/s", "of ceiling", "extra MB", "ratio"
    )
}

#[cfg(test)]
mod tests {
    use super::super::case::{Scale, cases};
    use super::super::statistics::Spread;
    use super::*;

    fn timing(median: f64) -> Timing {
        Timing { us: Spread { median, p10: median / 2.0, p90: median * 2.0 }, extra_bytes: Some(33_500_000) }
    }

    fn row(op: &str, sizes: &str, by: &str, us: f64, own_us: Option<f64>) -> Row {
        let found = cases(Scale::Full, &[op.into()]).unwrap();
        let case = found.iter().find(|case| case.op == op && case.sizes.contains(sizes)).unwrap();
        Row::new(case, DType::BF16, by, Ok(timing(us)), own_us).unwrap()
    }

    /// 1.0737 GB copied in 250 us; 1.0995 TFLOP in 1500 us.
    fn ceilings() -> Ceilings {
        let mut ceilings = Ceilings::default();
        ceilings.take(&row("copy", "268435456", "chainrule", 250.0, None));
        ceilings.take(&row("matmul", "m=8192", "chainrule", 2000.0, None));
        ceilings.take(&row("matmul", "m=8192", "torch", 1500.0, None));
        ceilings
    }

    #[test]
    fn ceilings_are_the_best_of_all() {
        let Ceilings { flops, bytes } = ceilings();
        assert_eq!((flops / 1e12).round(), 733.0);
        assert_eq!((bytes / 1e9).round(), 4295.0);
    }

    #[test]
    fn a_line_stands_under_its_head() {
        let line = row("matmul", "m=4096", "torch", 375.0, Some(250.0)).line(&ceilings());
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words[..2], ["matmul", "m=4096"]);
        let expected = ["torch", "375.00", "187.50", "750.00", "366.5", "268.4", "50%", "matmul", "33.5", "1.50x"];
        assert_eq!(words[5..], expected);
        assert_eq!(line.len(), head().len());
        let copied = row("softmax_forward", "cols=4096", "chainrule", 250.0, None).line(&ceilings());
        assert!(copied.contains("50% copy") && copied.ends_with(" -"), "{copied}");
        assert_eq!(copied.len(), head().len());
    }

    #[test]
    fn what_failed_says_why() {
        let case = &cases(Scale::Small, &[]).unwrap()[0];
        let row = Row::new(case, DType::F16, "torch cudnn", Err("no kernel\nbacktrace".into()), Some(1.0)).unwrap();
        assert!(row.line(&ceilings()).ends_with("torch cudnn    no kernel"));
        assert_eq!(row.json(&ceilings())["error"], "no kernel\nbacktrace");
    }

    #[test]
    fn json_has_the_numbers_of_the_table() {
        let json = row("matmul", "m=4096", "torch", 375.0, Some(250.0)).json(&ceilings());
        assert_eq!(
            (&json["op"], &json["case"], &json["by"]),
            (&"matmul".into(), &"m=4096 n=4096 k=4096".into(), &"torch".into())
        );
        assert_eq!((json["ratio"].as_f64(), json["median_us"].as_f64()), (Some(1.5), Some(375.0)));
        assert!((json["share"].as_f64().unwrap() - 0.5).abs() < 1e-12 && json["limit"] == "matmul");
        assert!(row("copy", "16777216", "chainrule", 1.0, None).json(&ceilings())["tflops"].is_null());
    }
}
