//! What is measured: the list in `rivals/cases.txt`, and how much work each case is.

use chainrule::{DType, Error, Result};

/// The list that the rivals read too.
const LIST: &str = include_str!("../../rivals/cases.txt");

/// How work is counted; the rivals count it in the same way.
pub(crate) const CONVENTIONS: &str = "\
FLOPs: matmul and linear layers 2 M N K; attention forward 4 B H T^2 D, half of it where causal, backward 2.5 times that.
Bytes: every input once and every result once, whatever an implementation moves; AdamW reads f32 parameters, gradients
and two states and writes all but the gradients. Cross-entropy is the loss and the gradient of the logits together.";

/// How large the shapes are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum Scale {
    /// Those of training on a GPU.
    Full,
    /// Tiny ones, which show that everything runs.
    Small,
}

/// An op with its sizes.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Case {
    /// The op: `attention_forward`.
    pub(crate) op: &'static str,
    /// The sizes as they are written: `m=64 n=64 k=64`.
    pub(crate) sizes: &'static str,
    /// True where the case says how much the machine can do.
    pub(crate) is_ceiling: bool,
}

/// The cases of a scale whose op starts with one of `prefixes` (all where there are none), after those that tell the
/// ceilings, which are always there.
pub(crate) fn cases(scale: Scale, prefixes: &[String]) -> Result<Vec<Case>> {
    let name = if scale == Scale::Full { "full" } else { "small" };
    let all: Vec<Case> = LIST.lines().filter_map(|line| Case::parse(line.strip_prefix(name)?)).collect();
    if let Some(prefix) = prefixes.iter().find(|prefix| !all.iter().any(|case| case.op.starts_with(&prefix[..]))) {
        let mut ops: Vec<&str> = all.iter().map(|case| case.op).collect();
        ops.dedup();
        return Err(Error::argument("bench", format!("no op starts with {prefix:?}; there are {}", ops.join(", "))));
    }
    let is_wanted = |case: &Case| prefixes.is_empty() || prefixes.iter().any(|prefix| case.op.starts_with(&prefix[..]));
    let (ceilings, others): (Vec<Case>, Vec<Case>) = all.into_iter().partition(|case| case.is_ceiling);
    Ok(ceilings.into_iter().chain(others.into_iter().filter(is_wanted)).collect())
}

impl Case {
    /// What follows the scale on a line of the list.
    fn parse(line: &'static str) -> Option<Case> {
        let (op, sizes) = line.trim().split_once(' ')?;
        let sizes = sizes.trim();
        let without_mark = sizes.strip_suffix("ceiling=1").map(str::trim);
        Some(Case { op, sizes: without_mark.unwrap_or(sizes), is_ceiling: without_mark.is_some() })
    }

    /// A size by its name.
    pub(crate) fn size(&self, name: &str) -> Result<usize> {
        let named = self.sizes.split(' ').filter_map(|size| size.split_once('='));
        let size = named.filter(|(other, _)| *other == name).find_map(|(_, size)| size.parse().ok());
        size.ok_or_else(|| Error::argument("bench", format!("{} {} has no size {name}", self.op, self.sizes)))
    }

    /// Sizes by their names.
    pub(crate) fn sizes<const N: usize>(&self, names: [&str; N]) -> Result<[usize; N]> {
        let mut sizes = [0; N];
        for (size, name) in sizes.iter_mut().zip(names) {
            *size = self.size(name)?;
        }
        Ok(sizes)
    }

    /// The dtype that the case runs in where `asked` is asked for: AdamW is measured as training uses it, in f32, and
    /// tf32 is how f32 is multiplied.
    pub(crate) fn dtype(&self, asked: DType) -> DType {
        if matches!(self.op, "adamw" | "matmul_tf32") { DType::F32 } else { asked }
    }

    /// The floating-point operations of a call, 0 for ops that memory bounds.
    pub(crate) fn flops(&self) -> Result<f64> {
        Ok(match self.op {
            "matmul" | "matmul_tf32" | "linear" | "linear_gelu" | "linear_add" => {
                2.0 * product(self.sizes(["m", "n", "k"])?)
            }
            "attention_forward" | "attention_backward" => {
                let [len, causal] = self.sizes(["len", "causal"])?;
                let full = 4.0 * product(self.sizes(["batch", "heads", "len", "dim"])?) * len as f64;
                let forward = if causal == 1 { full / 2.0 } else { full };
                if self.op == "attention_backward" { 2.5 * forward } else { forward }
            }
            _ => 0.0,
        })
    }

    /// The bytes that a call must move at least.
    pub(crate) fn bytes(&self, dtype: DType) -> Result<f64> {
        let size = self.dtype(dtype).size_bytes() as f64;
        let rows = || Ok::<f64, Error>(product(self.sizes(["rows", "cols"])?));
        let elements = match self.op {
            "copy" => 2.0 * self.size("elements")? as f64,
            "matmul" | "matmul_tf32" | "linear" | "linear_gelu" | "linear_add" => {
                let [m, n, k] = self.sizes(["m", "n", "k"])?.map(|size| size as f64);
                // A GELU writes its operand too, for the backward pass; a residual is read.
                let results = if matches!(self.op, "linear_gelu" | "linear_add") { 2.0 } else { 1.0 };
                m * k + k * n + results * m * n
            }
            // q, k, v and o; backward reads these and dy, and writes dq, dk and dv.
            "attention_forward" => 4.0 * product(self.sizes(["batch", "heads", "len", "dim"])?),
            "attention_backward" => 8.0 * product(self.sizes(["batch", "heads", "len", "dim"])?),
            "layer_norm_forward" | "softmax_forward" => 2.0 * rows()?,
            "layer_norm_backward" | "softmax_backward" => 3.0 * rows()?,
            "cross_entropy" => 2.0 * product(self.sizes(["rows", "classes"])?),
            "adamw" => 7.0 * self.gpt_shapes()?.iter().map(|shape| shape.iter().product::<usize>() as f64).sum::<f64>(),
            _ => return Err(Error::argument("bench", format!("nobody has counted the bytes of {}", self.op))),
        };
        Ok(elements * size)
    }

    /// The shapes of the parameters of a GPT-2 of these sizes, with the head tied to the embedding.
    pub(crate) fn gpt_shapes(&self) -> Result<Vec<Vec<usize>>> {
        let [layers, width, vocab, context] = self.sizes(["layers", "width", "vocab", "context"])?;
        let mut shapes = vec![vec![vocab, width], vec![context, width]];
        for _ in 0..layers {
            shapes.extend([vec![width], vec![width]]);
            shapes.extend([vec![3 * width, width], vec![3 * width], vec![width, width], vec![width]]);
            shapes.extend([vec![width], vec![width]]);
            shapes.extend([vec![4 * width, width], vec![4 * width], vec![width, 4 * width], vec![width]]);
        }
        shapes.extend([vec![width], vec![width]]);
        Ok(shapes)
    }
}

fn product<const N: usize>(sizes: [usize; N]) -> f64 {
    sizes.iter().map(|&size| size as f64).product()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_a_case_whose_work_is_known() {
        let lines = LIST.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).count();
        let mut count = 0;
        for scale in [Scale::Full, Scale::Small] {
            for case in cases(scale, &[]).unwrap() {
                assert!(case.bytes(DType::BF16).unwrap() > 0.0, "{case:?}");
                let is_product = ["matmul", "linear", "attention"].iter().any(|op| case.op.starts_with(op));
                assert_eq!(case.flops().unwrap() > 0.0, is_product, "{case:?}");
                count += 1;
            }
        }
        assert_eq!(count, lines);
    }

    #[test]
    fn work_is_counted_as_announced() {
        let of = |op: &str, part: &str| {
            let found = cases(Scale::Full, &[op.into()]).unwrap().into_iter();
            found.filter(|case| case.op == op).find(|case| case.sizes.contains(part)).unwrap()
        };
        assert_eq!(of("matmul", "m=8192").flops().unwrap(), 2.0 * 8192f64.powi(3));
        let gpt2 = of("attention_backward", "batch=16 heads=12");
        assert_eq!(gpt2.flops().unwrap(), 2.5 * 2.0 * (16u64 * 12 * 1024 * 1024 * 64) as f64);
        assert_eq!(of("cross_entropy", "rows").bytes(DType::BF16).unwrap(), 4.0 * 16384.0 * 50304.0);
        // Of the 124.48 million parameters, each is 28 bytes, in whatever dtype the other cases run.
        let parameters = of("adamw", "layers=12").bytes(DType::BF16).unwrap() / 28.0;
        assert_eq!(parameters, 124_475_904.0);
    }

    #[test]
    fn ceilings_come_first_and_unknown_ops_are_refused() {
        let chosen = cases(Scale::Small, &["soft".into()]).unwrap();
        let ops: Vec<&str> = chosen.iter().map(|case| case.op).collect();
        assert_eq!(ops, ["copy", "matmul", "softmax_forward", "softmax_backward"]);
        let error = cases(Scale::Small, &["matmull".into()]).unwrap_err().to_string();
        assert!(error.contains("no op starts with \"matmull\"") && error.contains("layer_norm_forward"), "{error}");
    }
}
