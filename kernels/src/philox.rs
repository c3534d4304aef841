//! The Philox 4x32-10 counter-based generator: random numbers as a pure function of (seed, stream, position).
//!
//! ```text
//! round:   (h0, l0) = 0xD2511F53 * c0,  (h1, l1) = 0xCD9E8D57 * c2        (32 x 32 -> 64 bits: high, low)
//!          c = [h1 ^ c1 ^ k0,  l1,  h0 ^ c3 ^ k1,  l0]
//! key:     k0 += 0x9E3779B9,  k1 += 0xBB67AE85                            (between rounds)
//! ```
//!
//! Element `i` of a stream is word `i % 4` of the block with counter `[i / 4 (low, high), stream (low, high)]` under
//! the key `[seed (low, high)]`. Nothing depends on how work is split or on the device. Draws that need 64 bits take
//! two words: element `i` is words `2 (i % 2)` and `2 (i % 2) + 1` of block `i / 2`.
//!
//! Source: Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011), and the known
//! answers of its library Random123.

const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
const ROUNDS: usize = 10;

/// How many blocks [`Stream::blocks`] computes side by side: two registers of eight, or one of sixteen.
pub const LANES: usize = 16;

/// Four random words of 32 bits for a counter and a key.
///
/// ```
/// use chainrule_kernels::philox4x32_10;
/// assert_eq!(philox4x32_10([0; 4], [0; 2]), [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
/// ```
#[inline(always)]
pub fn philox4x32_10(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let mut c = counter;
    let mut k = key;
    for _ in 0..ROUNDS {
        c = round(c, k);
        k = [k[0].wrapping_add(WEYL[0]), k[1].wrapping_add(WEYL[1])];
    }
    c
}

#[inline(always)]
fn round(c: [u32; 4], k: [u32; 2]) -> [u32; 4] {
    let p0 = u64::from(MULTIPLIERS[0]) * u64::from(c[0]);
    let p1 = u64::from(MULTIPLIERS[1]) * u64::from(c[2]);
    [(p1 >> 32) as u32 ^ c[1] ^ k[0], p1 as u32, (p0 >> 32) as u32 ^ c[3] ^ k[1], p0 as u32]
}

/// One sequence of random words: 2^66 of them, independent of every other stream of the same seed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Stream {
    /// The generator's key.
    pub seed: u64,
    /// Which stream under that key: the upper half of the counter.
    pub number: u64,
}

impl Stream {
    /// The generator's key as words, for inline use of [`philox4x32_10`].
    #[inline(always)]
    pub fn key(self) -> [u32; 2] {
        [self.seed as u32, (self.seed >> 32) as u32]
    }

    /// The counter of block `index`.
    #[inline(always)]
    pub fn counter(self, index: u64) -> [u32; 4] {
        [index as u32, (index >> 32) as u32, self.number as u32, (self.number >> 32) as u32]
    }

    /// Block `index`: elements `4 index` to `4 index + 3`.
    #[inline(always)]
    pub fn block(self, index: u64) -> [u32; 4] {
        philox4x32_10(self.counter(index), self.key())
    }

    /// Element `i`.
    #[inline(always)]
    pub fn word(self, i: u64) -> u32 {
        self.block(i / 4)[(i % 4) as usize]
    }

    /// Element `i` as a number in [0, 1): the upper 24 bits times 2^-24.
    #[inline(always)]
    pub fn uniform(self, i: u64) -> f32 {
        unit_f32(self.word(i))
    }

    /// Blocks `first` to `first + LANES - 1`, word by word: `blocks[w][lane]` is word `w` of block `first + lane`.
    #[inline(always)]
    pub fn blocks(self, first: u64) -> [[u32; LANES]; 4] {
        let index: [u64; LANES] = std::array::from_fn(|lane| first.wrapping_add(lane as u64));
        let [mut c0, mut c1] = [index.map(|index| index as u32), index.map(|index| (index >> 32) as u32)];
        let [mut c2, mut c3] = [[self.number as u32; LANES], [(self.number >> 32) as u32; LANES]];
        let mut k = self.key();
        for _ in 0..ROUNDS {
            for (((c0, c1), c2), c3) in c0.iter_mut().zip(&mut c1).zip(&mut c2).zip(&mut c3) {
                [*c0, *c1, *c2, *c3] = round([*c0, *c1, *c2, *c3], k);
            }
            k = [k[0].wrapping_add(WEYL[0]), k[1].wrapping_add(WEYL[1])];
        }
        [c0, c1, c2, c3]
    }
}

/// A word as a number in [0, 1): its upper 24 bits times 2^-24, exact in `f32`.
#[inline(always)]
pub fn unit_f32(word: u32) -> f32 {
    (word >> 8) as i32 as f32 * (1.0 / 16_777_216.0)
}

/// Two words as a number in [0, 1): 53 bits times 2^-53, exact in `f64`.
#[inline(always)]
pub fn unit_f64(low: u32, high: u32) -> f64 {
    let bits = ((u64::from(high) << 32) | u64::from(low)) >> 11;
    bits as f64 * (1.0 / 9_007_199_254_740_992.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers() {
        assert_eq!(philox4x32_10([0; 4], [0; 2]), [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
        assert_eq!(philox4x32_10([!0; 4], [!0; 2]), [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]);
        let pi = [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344];
        assert_eq!(philox4x32_10(pi, [0xa4093822, 0x299f31d0]), [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1]);
    }

    #[test]
    fn blocks_are_the_single_blocks() {
        let stream = Stream { seed: 0x0123_4567_89ab_cdef, number: 7 << 33 | 5 };
        for first in [0, 3, u64::from(u32::MAX) - 4] {
            let blocks = stream.blocks(first);
            for lane in 0..LANES {
                assert_eq!(blocks.map(|word| word[lane]), stream.block(first + lane as u64));
            }
        }
    }

    #[test]
    fn units_stay_below_one() {
        assert_eq!(unit_f32(!0), 1.0 - f32::EPSILON / 2.0);
        assert_eq!(unit_f64(!0, !0), 1.0 - f64::EPSILON / 2.0);
        assert_eq!((unit_f32(0), unit_f64(0, 0)), (0.0, 0.0));
    }
}
