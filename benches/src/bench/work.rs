//! The calls of a case: its inputs, random normal data on the device, and the op on them as a user writes it.

use chainrule::updates::{AdamWParams, AdamWSlot, adamw_step, state_like};
use chainrule::{
    AttentionOptions, CrossEntropy, DType, Device, Error, Gelu, LinearOptions, LinearThen, Precision, Result, Rng,
    Tensor,
};

use super::case::{Case, Scale};
use super::measure::Call;

/// What the sets of inputs take together at least, in bytes: over four times the largest cache of a GPU.
const SETS_BYTES: usize = 256 << 20;
/// Sets at most: beyond, inputs are so small that launches take the time.
const MAX_SETS: usize = 64;

/// The calls of a case, each with inputs of its own, together larger than the caches; two on the small scale.
pub(crate) fn calls(case: &Case, scale: Scale, dtype: DType, device: &Device) -> Result<Vec<Call>> {
    let mut inputs = Inputs { device, dtype: case.dtype(dtype), rng: Rng::seed(1) };
    let live_bytes = device.memory_stats().live_bytes;
    let mut calls = vec![inputs.call(case)?];
    let set_bytes = device.memory_stats().live_bytes.saturating_sub(live_bytes).max(1);
    let sets = if scale == Scale::Full { (SETS_BYTES / set_bytes + 1).min(MAX_SETS) } else { 2 };
    while calls.len() < sets {
        calls.push(inputs.call(case)?);
    }
    Ok(calls)
}

/// Where inputs come from.
struct Inputs<'a> {
    device: &'a Device,
    dtype: DType,
    rng: Rng,
}

impl Inputs<'_> {
    fn normal<const N: usize>(&mut self, shape: [usize; N]) -> Result<Tensor> {
        Tensor::randn(shape, self.dtype, self.device, &mut self.rng)
    }

    /// A call with a new set of inputs.
    fn call(&mut self, case: &Case) -> Result<Call> {
        match case.op {
            "copy" => {
                let x = self.normal([case.size("elements")?])?;
                Ok(Box::new(move || x.copy().map(drop)))
            }
            "matmul" => {
                let [m, n, k] = case.sizes(["m", "n", "k"])?;
                let (a, b) = (self.normal([m, k])?, self.normal([k, n])?);
                Ok(Box::new(move || a.matmul(&b).map(drop)))
            }
            "matmul_tf32" => {
                let [m, n, k] = case.sizes(["m", "n", "k"])?;
                let (a, b) = (self.normal([m, k])?, self.normal([k, n])?);
                Ok(Box::new(move || a.matmul_with(&b, Precision::Tf32).map(drop)))
            }
            "linear" | "linear_gelu" | "linear_add" => self.linear(case),
            "attention_forward" | "attention_backward" => self.attention(case),
            "layer_norm_forward" | "layer_norm_backward" => self.layer_norm(case),
            "softmax_forward" => {
                let x = self.normal(case.sizes(["rows", "cols"])?)?;
                Ok(Box::new(move || x.softmax(-1).map(drop)))
            }
            "softmax_backward" => {
                let shape = case.sizes(["rows", "cols"])?;
                let (y, dy) = (self.normal(shape)?.softmax(-1)?, self.normal(shape)?);
                Ok(Box::new(move || y.softmax_backward(&dy, -1).map(drop)))
            }
            "cross_entropy" => self.cross_entropy(case),
            "adamw" => self.adamw(case),
            op => Err(Error::argument("bench", format!("nobody has written what a call of {op} is"))),
        }
    }

    fn linear(&mut self, case: &Case) -> Result<Call> {
        let [m, n, k] = case.sizes(["m", "n", "k"])?;
        let (x, weight, bias) = (self.normal([m, k])?, self.normal([n, k])?, self.normal([n])?);
        match case.op {
            "linear_gelu" => Ok(Box::new(move || {
                // As on a tape, where the backward pass wants what the GELU is taken of.
                let then = LinearThen::Gelu { form: Gelu::Tanh, keeps_pre: true };
                let options = LinearOptions { bias: Some(&bias), then, ..LinearOptions::default() };
                x.linear_forward(&weight, &options).map(drop)
            })),
            "linear_add" => {
                let residual = self.normal([m, n])?;
                Ok(Box::new(move || x.linear_add(&weight, Some(&bias), &residual).map(drop)))
            }
            _ => Ok(Box::new(move || x.linear(&weight, Some(&bias)).map(drop))),
        }
    }

    fn attention(&mut self, case: &Case) -> Result<Call> {
        let shape = case.sizes(["batch", "heads", "len", "dim"])?;
        let (q, k, v) = (self.normal(shape)?, self.normal(shape)?, self.normal(shape)?);
        let causal_offset = (case.size("causal")? == 1).then_some(0);
        let options = AttentionOptions { causal_offset, ..AttentionOptions::default() };
        if case.op == "attention_forward" {
            return Ok(Box::new(move || q.attention(&k, &v, None, &options).map(drop)));
        }
        let dy = self.normal(shape)?;
        let (o, lse) = q.attention(&k, &v, None, &options)?;
        Ok(Box::new(move || q.attention_backward(&k, &v, None, (&o, &lse), &dy, false, &options).map(drop)))
    }

    fn layer_norm(&mut self, case: &Case) -> Result<Call> {
        let [rows, cols] = case.sizes(["rows", "cols"])?;
        let (x, weight, bias) = (self.normal([rows, cols])?, self.normal([cols])?, self.normal([cols])?);
        if case.op == "layer_norm_forward" {
            return Ok(Box::new(move || x.layer_norm_forward([cols], Some(&weight), Some(&bias), 1e-5).map(drop)));
        }
        let dy = self.normal([rows, cols])?;
        let forward = x.layer_norm_forward([cols], Some(&weight), Some(&bias), 1e-5)?;
        Ok(Box::new(move || forward.layer_norm_backward(&dy, [cols], true, true).map(drop)))
    }

    fn cross_entropy(&mut self, case: &Case) -> Result<Call> {
        let [rows, classes] = case.sizes(["rows", "classes"])?;
        let logits = self.normal([rows, classes])?;
        let labels = Tensor::randint([rows], 0, classes as i64, DType::U32, self.device, &mut self.rng)?;
        let dy = Tensor::ones([], self.dtype, self.device)?;
        let options = CrossEntropy::default();
        Ok(Box::new(move || logits.cross_entropy_forward(&labels, &options)?.backward(&dy).map(drop)))
    }

    fn adamw(&mut self, case: &Case) -> Result<Call> {
        let mut tensors = Vec::new();
        for shape in case.gpt_shapes()? {
            let mut normal = || Tensor::randn(&shape[..], self.dtype, self.device, &mut self.rng);
            let (param, grad) = (normal()?, normal()?);
            let states = [state_like(&param)?, state_like(&param)?];
            tensors.push((param, grad, states));
        }
        let params = AdamWParams {
            lr: 1e-4,
            beta1: 0.9,
            beta2: 0.95,
            eps: 1e-8,
            weight_decay: 0.1,
            // Those of step 10: the time does not depend on them.
            bias_correction1: 1.0 - 0.9f64.powi(10),
            bias_correction2: 1.0 - 0.95f64.powi(10),
            grad_scale: 1.0,
            amsgrad: 0,
        };
        Ok(Box::new(move || {
            let slots = tensors.iter_mut().map(|(param, grad, [exp_avg, exp_avg_sq])| AdamWSlot {
                param,
                grad,
                exp_avg,
                exp_avg_sq,
                max_exp_avg_sq: None,
            });
            adamw_step(slots.collect(), params)
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::case::cases;
    use super::*;

    #[test]
    fn every_case_runs_on_the_host() {
        for case in cases(Scale::Small, &[]).unwrap() {
            for call in &mut calls(&case, Scale::Small, DType::F32, &Device::Cpu).unwrap() {
                call().unwrap();
            }
        }
    }
}
