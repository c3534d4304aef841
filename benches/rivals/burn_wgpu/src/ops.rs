//! What a call of a case is, as a user of burn writes it.

use burn::tensor::module::{attention, linear};
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{DType, Device, Distribution, Tensor};

use crate::measure::{Kept, Prepare, Work};

/// What the sets of inputs take together at least, and how many there are at most: as in chainrule's own measurement.
const SETS_BYTES: usize = 256 << 20;
const MAX_SETS: usize = 64;

/// An op with its sizes.
pub struct Case<'a> {
    pub op: &'a str,
    pub sizes: &'a [(&'a str, usize)],
    pub dtype: DType,
    pub device: &'a Device,
}

impl Case<'_> {
    fn size(&self, name: &str) -> Result<usize, String> {
        let found = self.sizes.iter().find(|(other, _)| *other == name);
        found.map(|(_, size)| *size).ok_or_else(|| format!("{} has no size {name}", self.op))
    }

    fn sizes<const N: usize>(&self, names: [&str; N]) -> Result<[usize; N], String> {
        let mut sizes = [0; N];
        for (size, name) in sizes.iter_mut().zip(names) {
            *size = self.size(name)?;
        }
        Ok(sizes)
    }

    fn normal<const D: usize>(&self, shape: [usize; D], device: &Device) -> Tensor<D> {
        Tensor::random(shape, Distribution::Normal(0.0, 1.0), (device, self.dtype))
    }

    /// Calls on sets of inputs that are together larger than a cache, two on the small scale; `None` for an op that is
    /// not measured here.
    pub fn sets(&self, is_small: bool) -> Result<Option<Vec<Prepare>>, String> {
        let Some((first, elements)) = self.set()? else { return Ok(None) };
        let set_bytes = (elements * self.dtype.size()).max(1);
        let count = if is_small { 2 } else { (SETS_BYTES / set_bytes + 1).min(MAX_SETS) };
        let mut sets = vec![first];
        while sets.len() < count {
            sets.extend(self.set()?.map(|(set, _)| set));
        }
        Ok(Some(sets))
    }

    /// A set of inputs with the call on it, and how many elements they are.
    fn set(&self) -> Result<Option<(Prepare, usize)>, String> {
        match self.op {
            "copy" => {
                let n = self.size("elements")?;
                let x = self.normal([n], self.device);
                // A clone shares memory: this reads all and writes all.
                Ok(Some((call(move || vec![kept(x.clone().mul_scalar(2.0))]), n)))
            }
            "matmul" => {
                let [m, n, k] = self.sizes(["m", "n", "k"])?;
                let (a, b) = (self.normal([m, k], self.device), self.normal([k, n], self.device));
                Ok(Some((call(move || vec![kept(a.clone().matmul(b.clone()))]), m * k + k * n)))
            }
            "linear" => {
                let [m, n, k] = self.sizes(["m", "n", "k"])?;
                // burn keeps weights as [in, out].
                let (x, weight) = (self.normal([m, k], self.device), self.normal([k, n], self.device));
                let bias = self.normal([n], self.device);
                let run = move || vec![kept(linear(x.clone(), weight.clone(), Some(bias.clone())))];
                Ok(Some((call(run), m * k + k * n + n)))
            }
            "attention_forward" => {
                let shape = self.sizes(["batch", "heads", "len", "dim"])?;
                let [q, k, v] = [(); 3].map(|()| self.normal(shape, self.device));
                let options = self.attention_options()?;
                let run = move || vec![kept(attention(q.clone(), k.clone(), v.clone(), None, None, options))];
                Ok(Some((call(run), 3 * shape.iter().product::<usize>())))
            }
            "attention_backward" => self.attention_backward().map(Some),
            _ => Ok(None),
        }
    }

    /// A graph is used up by its backward pass, so each call has a forward pass of its own, which is not timed.
    fn attention_backward(&self) -> Result<(Prepare, usize), String> {
        let shape = self.sizes(["batch", "heads", "len", "dim"])?;
        let tracked = self.device.clone().autodiff();
        let [q, k, v] = [(); 3].map(|()| self.normal(shape, &tracked).require_grad());
        let dy = self.normal(shape, &tracked);
        let options = self.attention_options()?;
        let prepare = move || -> Work {
            let [q, k, v] = [&q, &k, &v].map(Tensor::clone);
            let loss = (attention(q.clone(), k.clone(), v.clone(), None, None, options) * dy.clone()).sum();
            Box::new(move || {
                let grads = loss.backward();
                [q, k, v].into_iter().filter_map(|x| x.grad(&grads)).map(kept).collect()
            })
        };
        Ok((Box::new(prepare), 4 * shape.iter().product::<usize>()))
    }

    fn attention_options(&self) -> Result<AttentionModuleOptions, String> {
        Ok(AttentionModuleOptions { is_causal: self.size("causal")? == 1, ..Default::default() })
    }
}

/// A call that needs no preparation.
fn call(run: impl Fn() -> Vec<Kept> + Send + Sync + 'static) -> Prepare {
    let run = std::sync::Arc::new(run);
    Box::new(move || {
        let run = run.clone();
        Box::new(move || run())
    })
}

fn kept<const D: usize>(x: Tensor<D>) -> Kept {
    Box::new(x)
}
