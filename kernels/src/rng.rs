//! The source of random streams: a seed and a count of the streams handed out.

use crate::philox::{Stream, unit_f32};

/// The stream that host draws come from; kernels count up from 0 and never reach it.
const HOST_STREAM: u64 = u64::MAX;

/// A seeded random source.
///
/// Kernels each take one [`Stream`], so a kernel's numbers depend on the seed and on how many streams were taken
/// before, never on devices or threads. Draws on the host come one after another from a stream of their own.
///
/// ```
/// use chainrule_kernels::Rng;
/// let (mut a, mut b) = (Rng::seed(42), Rng::seed(42));
/// assert_eq!(a.next_u32(), b.next_u32());
/// assert_eq!(a.next_stream(), b.next_stream());
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rng {
    seed: u64,
    next_stream: u64,
    host_position: u64,
}

impl Rng {
    /// A source whose draws all follow from `seed`.
    pub fn seed(seed: u64) -> Rng {
        Rng { seed, next_stream: 0, host_position: 0 }
    }

    /// The next unused stream.
    pub fn next_stream(&mut self) -> Stream {
        let stream = Stream { seed: self.seed, number: self.next_stream };
        self.next_stream = self.next_stream.wrapping_add(1);
        stream
    }

    /// A new source, independent of this one, seeded by its next 64 bits.
    pub fn fork(&mut self) -> Rng {
        Rng::seed(self.next_u64())
    }

    /// All there is to know about the source, for checkpoints: seed, next stream, position of host draws.
    pub fn state(&self) -> [u64; 3] {
        [self.seed, self.next_stream, self.host_position]
    }

    /// The source with a state that [`Rng::state`] gave.
    pub fn from_state([seed, next_stream, host_position]: [u64; 3]) -> Rng {
        Rng { seed, next_stream, host_position }
    }

    /// The next 32 random bits.
    pub fn next_u32(&mut self) -> u32 {
        let word = Stream { seed: self.seed, number: HOST_STREAM }.word(self.host_position);
        self.host_position = self.host_position.wrapping_add(1);
        word
    }

    /// The next 64 random bits: two draws, low half first.
    pub fn next_u64(&mut self) -> u64 {
        let low = u64::from(self.next_u32());
        (u64::from(self.next_u32()) << 32) | low
    }

    /// A number in [0, 1), in steps of 2^-24.
    pub fn uniform(&mut self) -> f32 {
        unit_f32(self.next_u32())
    }

    /// An integer in `0..n`: the high half of `n` times 64 random bits, so no value is favoured by more than
    /// n / 2^64. Zero where `n` is 0.
    pub fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(n)) >> 64) as u64
    }

    /// Puts `items` into a random order (Fisher and Yates, from the last place down).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }

    /// The numbers `0..n` in a random order.
    pub fn permutation(&mut self, n: usize) -> Vec<i64> {
        let mut items: Vec<i64> = (0..n as i64).collect();
        self.shuffle(&mut items);
        items
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_resumes_both_kinds_of_draw() {
        let mut rng = Rng::seed(3);
        rng.next_stream();
        rng.next_u64();
        let mut resumed = Rng::from_state(rng.state());
        assert_eq!(rng.next_u32(), resumed.next_u32());
        assert_eq!(rng.next_stream(), resumed.next_stream());
        assert_ne!(rng.fork(), rng);
    }

    #[test]
    fn below_covers_its_range_evenly() {
        let mut rng = Rng::seed(1);
        let mut counts = [0; 5];
        for _ in 0..5000 {
            counts[rng.below(5) as usize] += 1;
        }
        // Five deviations of a binomial with n = 5000, p = 1/5.
        assert!(counts.iter().all(|&count: &i32| (count - 1000).abs() < 142), "{counts:?}");
        assert_eq!((rng.below(0), rng.below(1)), (0, 0));
    }

    #[test]
    fn permutation_has_every_number_once() {
        let mut numbers = Rng::seed(9).permutation(100);
        assert_ne!(numbers, (0..100).collect::<Vec<_>>());
        numbers.sort();
        assert_eq!(numbers, (0..100).collect::<Vec<_>>());
        assert!(Rng::seed(9).permutation(0).is_empty());
    }
}
