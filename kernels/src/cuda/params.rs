//! The parameters of one launch, kept in place: no launch allocates for them.

use std::ffi::c_void;

use crate::{Error, ErrorKind, Result};

/// Words of 8 bytes for all parameters together: twice what the largest of our kernels takes, and a quarter of what a
/// driver accepts, because a stage is moved about while it is built.
const WORDS: usize = 128;
const MAX_PARAMS: usize = 32;

/// Parameters in the order of the kernel's signature. Each begins at a word of 8 bytes.
#[derive(Clone)]
pub(crate) struct Params {
    words: [u64; WORDS],
    used: usize,
    starts: [u16; MAX_PARAMS],
    count: usize,
    /// The words and parameters that were given, where they are more than there is room for.
    beyond: Option<[usize; 2]>,
}

impl Params {
    pub(crate) const NONE: Params =
        Params { words: [0; WORDS], used: 0, starts: [0; MAX_PARAMS], count: 0, beyond: None };

    /// Adds a parameter given as bytes. One for which there is no room is left out, and [`Params::check`] says so.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let words = bytes.len().div_ceil(8);
        let [words_before, count_before] = self.beyond.unwrap_or([self.used, self.count]);
        if self.beyond.is_some() || self.used + words > WORDS || self.count == MAX_PARAMS {
            self.beyond = Some([words_before + words, count_before + 1]);
            return;
        }
        let room = &mut self.words[self.used..][..words];
        bytemuck::cast_slice_mut::<u64, u8>(room)[..bytes.len()].copy_from_slice(bytes);
        self.starts[self.count] = self.used as u16;
        self.count += 1;
        self.used += words;
    }

    /// An error where more was added than there is room for.
    #[track_caller]
    pub(crate) fn check(&self, entry: &str) -> Result<()> {
        let Some([words, count]) = self.beyond else { return Ok(()) };
        Err(Error::new(ErrorKind::Device(format!(
            "{entry} is given {count} parameters of {words} words of 8 bytes, a launch has room for {MAX_PARAMS} of {WORDS}; \
             pass what is larger as a table in memory"
        ))))
    }

    /// Where each parameter lies, as drivers want it; good until the parameters are moved. Places beyond the last
    /// parameter repeat the first.
    pub(crate) fn addresses(&mut self) -> [*mut c_void; MAX_PARAMS] {
        let first: *mut u64 = self.words.as_mut_ptr();
        self.starts.map(|start| first.wrapping_add(start.into()).cast())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fills_the_room_fits() {
        let mut params = Params::NONE;
        params.push(&[1; 8 * (WORDS - MAX_PARAMS + 1)]);
        (1..MAX_PARAMS).for_each(|byte| params.push(&[byte as u8; 5]));
        params.check("entry").unwrap();
        assert_eq!(params.words[WORDS - 1].to_le_bytes(), [31, 31, 31, 31, 31, 0, 0, 0]);
    }

    #[test]
    fn too_many_bytes_or_parameters_are_an_error_and_no_panic() {
        let mut wide = Params::NONE;
        wide.push(&[0; 8 * WORDS]);
        wide.push(&[0; 12]);
        let text = wide.check("scale_rows").unwrap_err().to_string();
        assert!(text.contains("scale_rows is given 2 parameters of 130 words of 8 bytes"), "{text}");
        let mut many = Params::NONE;
        (0..MAX_PARAMS + 2).for_each(|_| many.push(&[0; 4]));
        let text = many.check("scale_rows").unwrap_err().to_string();
        assert!(text.contains("34 parameters of 34 words of 8 bytes, a launch has room for 32 of 128"), "{text}");
    }
}
