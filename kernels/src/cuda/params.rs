//! The parameters of one launch, kept in place: no launch allocates for them.

use std::ffi::c_void;

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
}

impl Params {
    pub(crate) const NONE: Params = Params { words: [0; WORDS], used: 0, starts: [0; MAX_PARAMS], count: 0 };

    /// Adds a parameter given as bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let words = bytes.len().div_ceil(8);
        debug_assert!(self.used + words <= WORDS && self.count < MAX_PARAMS);
        let room = &mut self.words[self.used..][..words];
        bytemuck::cast_slice_mut::<u64, u8>(room)[..bytes.len()].copy_from_slice(bytes);
        self.starts[self.count] = self.used as u16;
        self.count += 1;
        self.used += words;
    }

    /// Where each parameter lies, as drivers want it; good until the parameters are moved. Places beyond the last
    /// parameter repeat the first.
    pub(crate) fn addresses(&mut self) -> [*mut c_void; MAX_PARAMS] {
        let first: *mut u64 = self.words.as_mut_ptr();
        self.starts.map(|start| first.wrapping_add(start.into()).cast())
    }
}
