//! Tensor maps: what the copy engine of architecture 9.0 is told of a tensor, so that one instruction copies a box of it.

use bytemuck::{Pod, Zeroable};

use crate::{DType, Error, ErrorKind, Result};

/// The most dims that a map describes here; the hardware takes five.
const MAX_DIMS: usize = 4;

/// How the 16-byte pieces of a box are mixed in shared memory, so that a column's lie in different banks. Of a pattern of
/// 8 rows of 128 (64, 32) bytes, piece `c` of row `r` lies at `c ^ r` (`c ^ r / 2`, `c ^ r / 4`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Swizzle {
    /// Rows lie one after the other.
    None,
    /// A box's rows have 32 bytes.
    Bytes32,
    /// A box's rows have 64 bytes.
    Bytes64,
    /// A box's rows have 128 bytes.
    Bytes128,
}

impl Swizzle {
    /// The bytes of a row of its pattern, 0 where there is none.
    pub(crate) fn span_bytes(self) -> usize {
        match self {
            Swizzle::None => 0,
            Swizzle::Bytes32 => 32,
            Swizzle::Bytes64 => 64,
            Swizzle::Bytes128 => 128,
        }
    }
}

/// A tensor in device memory and the box of it that one copy moves. Dims are outermost first; a kernel names places in it
/// innermost first (`tma_load_2d(to, map, col, row, barrier)`).
#[derive(Clone, Copy, Debug)]
pub struct Tiled<'a> {
    /// Where its first element is.
    pub address: u64,
    /// The dtype of its elements.
    pub dtype: DType,
    /// Its sizes: of two to four dims.
    pub shape: &'a [usize],
    /// Its strides in elements; the innermost is 1.
    pub strides: &'a [usize],
    /// The sizes of the box.
    pub tile: &'a [usize],
    /// How the box lies in shared memory.
    pub swizzle: Swizzle,
}

/// A map as kernels take it, by value: `const __grid_constant__ TensorMap x`. What is in it only its engine knows.
#[repr(C, align(8))]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
pub struct TensorMap(pub(crate) [u64; 16]);

/// A [`Tiled`] that was checked, as both engines want it: innermost dim first, strides in bytes, and 1 or 0 in the places
/// of dims that are not there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    pub(crate) address: u64,
    pub(crate) dtype: DType,
    pub(crate) rank: usize,
    pub(crate) sizes: [u64; MAX_DIMS],
    pub(crate) strides_bytes: [u64; MAX_DIMS - 1],
    pub(crate) tile: [u32; MAX_DIMS],
    pub(crate) swizzle: Swizzle,
}

/// The emulator's own form: `TensorMap` of `cuda/emu/hopper.h`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct EmulatedMap {
    magic: u64,
    address: u64,
    sizes: [u64; MAX_DIMS],
    strides: [u64; MAX_DIMS - 1],
    tile: [u32; MAX_DIMS],
    rank: u32,
    elem_bytes: u32,
    swizzle: u32,
    unused: [u32; 7],
}

impl Tiled<'_> {
    /// The layout, if the hardware can copy it.
    ///
    /// # Errors
    /// Addresses and strides that are not multiples of 16 bytes, sizes beyond the hardware's, a box whose rows do not fit
    /// its swizzle.
    #[track_caller]
    pub(crate) fn layout(&self) -> Result<Layout> {
        self.check()?;
        let elem_bytes = self.dtype.size_bytes();
        let (mut sizes, mut tile) = ([1; MAX_DIMS], [1; MAX_DIMS]);
        let mut strides_bytes = [0; MAX_DIMS - 1];
        for (dim, from) in (0..self.shape.len()).rev().enumerate() {
            (sizes[dim], tile[dim]) = (self.shape[from] as u64, self.tile[from] as u32);
            if dim > 0 {
                strides_bytes[dim - 1] = (self.strides[from] * elem_bytes) as u64;
            }
        }
        let (address, dtype, rank, swizzle) = (self.address, self.dtype, self.shape.len(), self.swizzle);
        Ok(Layout { address, dtype, rank, sizes, strides_bytes, tile, swizzle })
    }

    #[track_caller]
    fn check(&self) -> Result<()> {
        let rank = self.shape.len();
        let fail = |message: String| Err(Error::new(ErrorKind::Argument(format!("tensor map: {message}"))));
        if !(2..=MAX_DIMS).contains(&rank) || self.strides.len() != rank || self.tile.len() != rank {
            let (strides, tile) = (self.strides.len(), self.tile.len());
            return fail(format!(
                "shape, strides and tile have {rank}, {strides} and {tile} dims, expected 2 to 4 alike"
            ));
        }
        if self.shape.iter().any(|&size| size == 0 || size > 1 << 32) {
            return fail(format!("sizes are 1 to 2^32, got {:?}", self.shape));
        }
        if self.tile.iter().any(|&size| size == 0 || size > 256) {
            return fail(format!("a box has 1 to 256 elements along each dim, got {:?}", self.tile));
        }
        let elem_bytes = self.dtype.size_bytes();
        let is_aligned = |stride: usize| (stride * elem_bytes).is_multiple_of(16) && stride < (1 << 40) / elem_bytes;
        if self.strides[rank - 1] != 1 || !self.strides[..rank - 1].iter().all(|&stride| is_aligned(stride)) {
            let strides = self.strides;
            return fail(format!(
                "strides are multiples of 16 bytes and the innermost is 1, got {strides:?} {}",
                self.dtype
            ));
        }
        if !self.address.is_multiple_of(16) {
            return fail(format!("the tensor starts at a multiple of 16 bytes, got {:#x}", self.address));
        }
        let (row_bytes, span) = (self.tile[rank - 1] * elem_bytes, self.swizzle.span_bytes());
        if row_bytes % 16 != 0 || span != 0 && row_bytes != span {
            return fail(format!(
                "{row_bytes} bytes in a row of the box, expected {span}, or a multiple of 16 for none"
            ));
        }
        Ok(())
    }
}

impl Layout {
    /// The map that the emulator's copies read.
    pub(crate) fn for_emulator(&self) -> TensorMap {
        let map = EmulatedMap {
            magic: u64::from_be_bytes(*b"pamrosnt"),
            address: self.address,
            sizes: self.sizes,
            strides: self.strides_bytes,
            tile: self.tile,
            rank: self.rank as u32,
            elem_bytes: self.dtype.size_bytes() as u32,
            swizzle: self.swizzle.span_bytes() as u32,
            unused: [0; 7],
        };
        bytemuck::cast(map)
    }
}
