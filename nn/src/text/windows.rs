//! Windows of a long sequence of tokens: the inputs, and the same shifted by one as targets.

use chainrule_tensor::{Device, Error, Result, Rng, Tensor};

/// A sequence of tokens cut into windows of `context` tokens, each with the tokens that follow as targets.
///
/// ```
/// use chainrule_nn::text::Windows;
/// use chainrule_tensor::Device;
/// let windows = Windows::new(vec![10, 11, 12, 13, 14, 15], 2)?;
/// let all = windows.consecutive(8, &Device::Cpu)?;
/// let (x, y) = &all[0];
/// assert_eq!((x.to_vec::<u32>()?, y.to_vec::<u32>()?), (vec![10, 11, 12, 13], vec![11, 12, 13, 14]));
/// let (x, y) = &all[1];
/// assert_eq!((x.to_vec::<u32>()?, y.to_vec::<u32>()?), (vec![14], vec![15]));
/// # Ok::<(), chainrule_tensor::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Windows {
    tokens: Vec<u32>,
    context: usize,
}

impl Windows {
    /// Windows of `context` tokens.
    ///
    /// # Errors
    /// Fewer tokens than one window with its targets needs.
    #[track_caller]
    pub fn new(tokens: Vec<u32>, context: usize) -> Result<Windows> {
        if tokens.len() <= context || context == 0 {
            let got = format!("the text has {} tokens", tokens.len());
            let message = format!("{got}, a context of {context} needs at least {}", context.max(1) + 1);
            return Err(Error::argument("Windows::new", message));
        }
        Ok(Windows { tokens, context })
    }

    /// How many tokens there are.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// False: there is at least one window.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// `batch` windows from anywhere in the text: inputs and targets `[batch, context]`.
    ///
    /// # Errors
    /// What the device reports.
    #[track_caller]
    pub fn random_batch(&self, batch: usize, rng: &mut Rng, device: &Device) -> Result<(Tensor, Tensor)> {
        let places = (self.tokens.len() - self.context) as u64;
        let starts: Vec<usize> = (0..batch).map(|_| rng.below(places) as usize).collect();
        self.batch(&starts, self.context, device)
    }

    /// The whole text once, in batches of `batch` windows that follow one another; what is left over, shorter than a
    /// window, is a batch of its own. Every token but the first is a target once.
    ///
    /// # Errors
    /// What the device reports.
    #[track_caller]
    pub fn consecutive(&self, batch: usize, device: &Device) -> Result<Vec<(Tensor, Tensor)>> {
        let targets = self.tokens.len() - 1;
        let full = targets / self.context;
        let starts: Vec<usize> = (0..full).map(|window| window * self.context).collect();
        let mut batches = Vec::new();
        for starts in starts.chunks(batch.max(1)) {
            batches.push(self.batch(starts, self.context, device)?);
        }
        let rest = targets - full * self.context;
        if rest > 0 {
            batches.push(self.batch(&[full * self.context], rest, device)?);
        }
        Ok(batches)
    }

    #[track_caller]
    fn batch(&self, starts: &[usize], len: usize, device: &Device) -> Result<(Tensor, Tensor)> {
        let cut = |shift: usize| -> Vec<u32> {
            starts.iter().flat_map(|start| &self.tokens[start + shift..start + shift + len]).copied().collect()
        };
        let shape = [starts.len(), len];
        Ok((Tensor::from_vec(cut(0), shape, device)?, Tensor::from_vec(cut(1), shape, device)?))
    }
}
