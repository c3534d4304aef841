//! Text from a GPT, token by token.

use chainrule_tensor::{Error, Result, Rng, Tensor};

use crate::Gpt;

/// How tokens are drawn.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Generation {
    /// How many tokens are added.
    pub tokens: usize,
    /// Divides the logits: below 1 likely tokens become likelier; 0 always takes the likeliest.
    pub temperature: f64,
    /// Only the likeliest so many tokens can be drawn.
    pub top_k: Option<usize>,
}

impl Default for Generation {
    fn default() -> Self {
        Generation { tokens: 100, temperature: 1.0, top_k: None }
    }
}

impl Gpt {
    /// `prompt` with `options.tokens` more tokens. Beyond the context, the model sees the last tokens only.
    ///
    /// # Errors
    /// An empty prompt, a token that the vocabulary does not have, a negative temperature, or no token to choose from.
    #[track_caller]
    pub fn generate(&self, prompt: &[u32], options: &Generation, rng: &mut Rng) -> Result<Vec<u32>> {
        options.check()?;
        if prompt.is_empty() {
            return Err(Error::argument("Gpt::generate", "the prompt is empty, expected at least one token"));
        }
        let mut tokens = prompt.to_vec();
        let mut caches = self.new_caches();
        let mut cached = 0;
        for _ in 0..options.tokens {
            if cached == 0 || tokens.len() > self.config.context {
                // Positions are learned, so a window that moves changes every key: it is computed anew.
                caches = self.new_caches();
                cached = tokens.len().saturating_sub(self.config.context);
            }
            let new = &tokens[cached..];
            let new = Tensor::from_slice(new, [1, new.len()], &self.wte.weight.device())?;
            let logits = self.forward_cached(&new, &mut caches)?.select(1, -1)?.detach().to_f64_vec()?;
            cached = tokens.len();
            tokens.push(options.draw(&logits, rng)?);
        }
        Ok(tokens)
    }
}

impl Generation {
    #[track_caller]
    fn check(&self) -> Result<()> {
        if !(self.temperature >= 0.0 && self.temperature.is_finite()) {
            let message = format!("the temperature is {}, expected 0 or more", self.temperature);
            return Err(Error::argument("Gpt::generate", message));
        }
        if self.top_k == Some(0) {
            return Err(Error::argument("Gpt::generate", "top_k is 0, expected at least 1"));
        }
        Ok(())
    }

    /// A token from `softmax(logits / temperature)` over the likeliest `top_k`.
    #[track_caller]
    fn draw(&self, logits: &[f64], rng: &mut Rng) -> Result<u32> {
        if logits.iter().any(|logit| logit.is_nan()) {
            return Err(Error::argument("Gpt::generate", "a logit is NaN: the model has diverged"));
        }
        // Likeliest first; equal ones in the order of their numbers, so that a seed decides everything.
        let mut order: Vec<usize> = (0..logits.len()).collect();
        order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]).then(a.cmp(&b)));
        order.truncate(self.top_k.unwrap_or(usize::MAX));
        let Some(&first) = order.first() else {
            return Err(Error::argument("Gpt::generate", "there are no tokens to choose from"));
        };
        if self.temperature == 0.0 {
            return Ok(first as u32);
        }
        let weights: Vec<f64> =
            order.iter().map(|&id| ((logits[id] - logits[first]) / self.temperature).exp()).collect();
        let mut left = f64::from(rng.uniform()) * weights.iter().sum::<f64>();
        let chosen = weights.iter().position(|weight| {
            left -= weight;
            left < 0.0
        });
        Ok(chosen.map_or(first, |place| order[place]) as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_follow_temperature_and_top_k() {
        let mut rng = Rng::seed(5);
        let logits = [0.0, 2.0, 1.0, -1.0];
        let greedy = Generation { temperature: 0.0, ..Generation::default() };
        assert_eq!(greedy.draw(&logits, &mut rng).unwrap(), 1);
        let two = Generation { top_k: Some(2), ..Generation::default() };
        let draws: Vec<u32> = (0..2000).map(|_| two.draw(&logits, &mut rng).unwrap()).collect();
        let first = draws.iter().filter(|&&id| id == 1).count() as f64 / 2000.0;
        assert!(draws.iter().all(|id| [1, 2].contains(id)));
        // e / (1 + e) = 0.731; five deviations of 2000 draws are 0.05.
        assert!((first - 0.731).abs() < 0.05, "{first}");
        assert!(two.draw(&[f64::NAN, 1.0], &mut rng).is_err());
    }
}
