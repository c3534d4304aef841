//! Element types: what a buffer holds, and what arithmetic on it is done in.

use bytemuck::Pod;
pub use half::{bf16, f16};

use std::fmt;

/// The type of a tensor's elements.
///
/// Floating types below 64 bits are stored as they are and computed in `f32`; `f64` is computed in `f64`;
/// integers and booleans are computed in wrapping 64-bit arithmetic and truncated on store.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum DType {
    /// One byte, 0 or 1.
    Bool,
    /// Unsigned 8-bit integer.
    U8,
    /// Unsigned 32-bit integer: token ids and labels.
    U32,
    /// Signed 32-bit integer.
    I32,
    /// Signed 64-bit integer.
    I64,
    /// IEEE 754 binary16.
    F16,
    /// The upper half of an IEEE 754 binary32.
    BF16,
    /// IEEE 754 binary32, the default for weights.
    F32,
    /// IEEE 754 binary64, for gradient checks.
    F64,
}

impl DType {
    /// Every dtype, in order of promotion.
    pub const ALL: [DType; 9] =
        [DType::Bool, DType::U8, DType::U32, DType::I32, DType::I64, DType::F16, DType::BF16, DType::F32, DType::F64];

    /// The size of one element in bytes.
    pub const fn size_bytes(self) -> usize {
        match self {
            DType::Bool | DType::U8 => 1,
            DType::F16 | DType::BF16 => 2,
            DType::U32 | DType::I32 | DType::F32 => 4,
            DType::I64 | DType::F64 => 8,
        }
    }

    /// The lower-case name, as in messages: `f32`.
    pub const fn name(self) -> &'static str {
        match self {
            DType::Bool => "bool",
            DType::U8 => "u8",
            DType::U32 => "u32",
            DType::I32 => "i32",
            DType::I64 => "i64",
            DType::F16 => "f16",
            DType::BF16 => "bf16",
            DType::F32 => "f32",
            DType::F64 => "f64",
        }
    }

    /// True for f16, bf16, f32 and f64.
    pub const fn is_float(self) -> bool {
        matches!(self, DType::F16 | DType::BF16 | DType::F32 | DType::F64)
    }

    /// True for u8, u32, i32 and i64; false for bool.
    pub const fn is_int(self) -> bool {
        matches!(self, DType::U8 | DType::U32 | DType::I32 | DType::I64)
    }

    /// The dtype in which an op on `self` and `other` gives its result, as PyTorch's `promote_types`.
    ///
    /// A float wins over any integer; of two floats the wider wins, and `f16` with `bf16` gives `f32`;
    /// of two integers the wider wins, and `u32` with `i32` gives `i64` (PyTorch refuses that pair).
    ///
    /// ```
    /// use chainrule_kernels::DType;
    /// assert_eq!(DType::I64.promote(DType::F16), DType::F16);
    /// assert_eq!(DType::F16.promote(DType::BF16), DType::F32);
    /// assert_eq!(DType::U32.promote(DType::I32), DType::I64);
    /// ```
    pub fn promote(self, other: DType) -> DType {
        match (self.min(other), self.max(other)) {
            (DType::F16, DType::BF16) => DType::F32,
            (DType::U32, DType::I32) => DType::I64,
            (_, wider) => wider,
        }
    }

    /// The dtype of values that an op computes and accumulates in: `f64` for `f64`, `f32` for other floats, `i64` else.
    pub const fn compute(self) -> DType {
        match self {
            DType::F64 => DType::F64,
            DType::F16 | DType::BF16 | DType::F32 => DType::F32,
            _ => DType::I64,
        }
    }

    /// The distance from 1 to the next larger value; 0 for integers.
    pub fn epsilon(self) -> f64 {
        match self {
            DType::F64 => f64::EPSILON,
            DType::F32 => f32::EPSILON.into(),
            DType::F16 => f16::EPSILON.to_f64(),
            DType::BF16 => bf16::EPSILON.to_f64(),
            _ => 0.0,
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A boolean as buffers store it: one byte, zero for false and anything else for true.
#[repr(transparent)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Bool(pub u8);

/// A type that buffers store.
pub trait Stored: Pod + Default + PartialEq + Send + Sync + fmt::Debug {
    /// Its runtime name.
    const DTYPE: DType;
    /// What arithmetic on it is done in.
    type Compute: Compute;
    /// Rounds to nearest even for floats; saturates, with NaN as 0, for integers; `value != 0` for bool.
    fn from_f32(value: f32) -> Self;
    /// As `from_f32`.
    fn from_f64(value: f64) -> Self;
    /// Wraps for integers, rounds for floats.
    fn from_i64(value: i64) -> Self;
    /// Exact for f16, bf16 and small integers; rounds otherwise.
    fn to_f32(self) -> f32;
    /// Exact but for 64-bit integers above 2^53.
    fn to_f64(self) -> f64;
    /// Exact for integers; truncates floats, saturating.
    fn to_i64(self) -> i64;
    /// `self` in its compute type.
    #[inline(always)]
    fn widen(self) -> Self::Compute {
        Self::Compute::load(self)
    }
}

/// The three types that arithmetic is done in: `f32`, `f64` and `i64`.
pub trait Compute: Stored<Compute = Self> + Copy + PartialOrd {
    /// Reads any stored value into this type.
    fn load<S: Stored>(stored: S) -> Self;
    /// Rounds this value to a stored type.
    fn store<S: Stored>(self) -> S;
    /// The sum; integers wrap.
    fn accumulate(self, other: Self) -> Self;
}

macro_rules! stored {
    ($($type:ty, $name:ident, $compute:ty, $x:ident:
       $from_f32:expr, $from_f64:expr, $from_i64:expr, $to_f32:expr, $to_f64:expr, $to_i64:expr;)*) => {$(
        impl Stored for $type {
            const DTYPE: DType = DType::$name;
            type Compute = $compute;
            #[inline(always)] fn from_f32($x: f32) -> Self { $from_f32 }
            #[inline(always)] fn from_f64($x: f64) -> Self { $from_f64 }
            #[inline(always)] fn from_i64($x: i64) -> Self { $from_i64 }
            #[inline(always)] fn to_f32(self) -> f32 { let $x = self; $to_f32 }
            #[inline(always)] fn to_f64(self) -> f64 { let $x = self; $to_f64 }
            #[inline(always)] fn to_i64(self) -> i64 { let $x = self; $to_i64 }
        }
    )*};
}

// bf16 is the upper half of an f32, so both directions are integer arithmetic that vectorises.
#[inline(always)]
fn bf16_from_f32(x: f32) -> bf16 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
    let quiet = (bits >> 16) | 0x40;
    bf16::from_bits(if bits & 0x7fff_ffff > 0x7f80_0000 { quiet as u16 } else { rounded as u16 })
}

#[inline(always)]
fn bf16_to_f32(x: bf16) -> f32 {
    f32::from_bits(u32::from(x.to_bits()) << 16)
}

// f16 likewise: `half` asks the processor what it can do for each element, which keeps loops from vectorising.
#[inline(always)]
fn f16_to_f32(x: f16) -> f32 {
    let bits = u32::from(x.to_bits());
    let magnitude = (bits & 0x7fff) << 13;
    // The exponent's bias is 112 larger in f32; as a multiplication this is right for subnormals too.
    let finite = (f32::from_bits(magnitude) * f32::from_bits((127 + 112) << 23)).to_bits();
    let magnitude = if magnitude >= 0x7c00 << 13 { magnitude | 0x7f80_0000 } else { finite };
    f32::from_bits(magnitude | (bits & 0x8000) << 16)
}

#[inline(always)]
fn f16_from_f32(x: f32) -> f16 {
    let bits = x.to_bits() & 0x7fff_ffff;
    // Adding 1/2 leaves a subnormal result, rounded by the addition, in the low bits of the sum.
    let subnormal = (f32::from_bits(bits) + 0.5).to_bits().wrapping_sub(0.5f32.to_bits());
    let normal = bits.wrapping_sub(112 << 23).wrapping_add(0xfff + ((bits >> 13) & 1)) >> 13;
    let finite = if bits < 113 << 23 { subnormal } else { normal };
    let quiet = 0x7e00 | ((bits >> 13) & 0x3ff);
    let special = if bits > 0x7f80_0000 { quiet } else { 0x7c00 };
    let magnitude = if bits >= (127 + 16) << 23 { special } else { finite };
    f16::from_bits((magnitude | (x.to_bits() & 0x8000_0000) >> 16) as u16)
}

stored! {
    f32, F32, f32, x: x, x as f32, x as f32, x, x.into(), x as i64;
    f64, F64, f64, x: x.into(), x, x as f64, x as f32, x, x as i64;
    f16, F16, f32, x: f16_from_f32(x), f16_from_f32(x as f32), f16_from_f32(x as f32), f16_to_f32(x), f16_to_f32(x).into(), f16_to_f32(x) as i64;
    bf16, BF16, f32, x: bf16_from_f32(x), bf16_from_f32(x as f32), bf16_from_f32(x as f32), bf16_to_f32(x), bf16_to_f32(x).into(), bf16_to_f32(x) as i64;
    i64, I64, i64, x: x as i64, x as i64, x, x as f32, x as f64, x;
    i32, I32, i64, x: x as i32, x as i32, x as i32, x as f32, x.into(), x.into();
    u32, U32, i64, x: x as u32, x as u32, x as u32, x as f32, x.into(), x.into();
    u8, U8, i64, x: x as u8, x as u8, x as u8, x.into(), x.into(), x.into();
    Bool, Bool, i64, x: Bool((x != 0.0) as u8), Bool((x != 0.0) as u8), Bool((x != 0) as u8),
        (x.0 != 0) as u8 as f32, (x.0 != 0) as u8 as f64, (x.0 != 0) as i64;
}

impl Compute for f32 {
    #[inline(always)]
    fn load<S: Stored>(stored: S) -> Self {
        stored.to_f32()
    }
    #[inline(always)]
    fn store<S: Stored>(self) -> S {
        S::from_f32(self)
    }
    #[inline(always)]
    fn accumulate(self, other: Self) -> Self {
        self + other
    }
}

impl Compute for f64 {
    #[inline(always)]
    fn load<S: Stored>(stored: S) -> Self {
        stored.to_f64()
    }
    #[inline(always)]
    fn store<S: Stored>(self) -> S {
        S::from_f64(self)
    }
    #[inline(always)]
    fn accumulate(self, other: Self) -> Self {
        self + other
    }
}

impl Compute for i64 {
    #[inline(always)]
    fn load<S: Stored>(stored: S) -> Self {
        stored.to_i64()
    }
    #[inline(always)]
    fn store<S: Stored>(self) -> S {
        S::from_i64(self)
    }
    #[inline(always)]
    fn accumulate(self, other: Self) -> Self {
        self.wrapping_add(other)
    }
}

/// A Rust type that tensors are made from and read back to: the [`Stored`] types, and `bool` for [`Bool`].
pub trait Element: Copy + Send + Sync + 'static {
    /// How buffers keep it.
    type Stored: Stored;
    /// To the stored form.
    fn to_stored(self) -> Self::Stored;
    /// From the stored form.
    fn from_stored(stored: Self::Stored) -> Self;
}

impl<S: Stored> Element for S {
    type Stored = S;
    #[inline(always)]
    fn to_stored(self) -> S {
        self
    }
    #[inline(always)]
    fn from_stored(stored: S) -> S {
        stored
    }
}

impl Element for bool {
    type Stored = Bool;
    #[inline(always)]
    fn to_stored(self) -> Bool {
        Bool(self.into())
    }
    #[inline(always)]
    fn from_stored(stored: Bool) -> bool {
        stored.0 != 0
    }
}

/// Runs one expression with a type name bound to the Rust type of a runtime dtype.
///
/// The first form is for every dtype, the second for one class of them; the class decides which arms exist, so a
/// kernel is instantiated for no dtype it cannot have. `with_dtype!(dtype, float E => sum::<E>(args))` expands to
///
/// ```text
/// match dtype { DType::F32 => { type E = f32; sum::<E>(args) } ... other => Err(unsupported(other)) }
/// ```
///
/// where the last arm is the `else` expression of the class forms.
#[macro_export]
macro_rules! with_dtype {
    (@arms $dtype:expr, $E:ident, $body:expr, [$($name:ident $type:ty),*], $($rest:tt)*) => {
        match $dtype { $($crate::DType::$name => { type $E = $type; $body })* $($rest)* }
    };
    ($dtype:expr, $E:ident => $body:expr) => {
        $crate::with_dtype!(@arms $dtype, $E, $body, [F32 f32, F64 f64, F16 $crate::f16, BF16 $crate::bf16,
            I64 i64, I32 i32, U32 u32, U8 u8, Bool $crate::Bool],)
    };
    ($dtype:expr, float $E:ident => $body:expr, else $other:expr) => {
        $crate::with_dtype!(@arms $dtype, $E, $body, [F32 f32, F64 f64, F16 $crate::f16, BF16 $crate::bf16],
            _ => $other)
    };
    ($dtype:expr, compute $E:ident => $body:expr, else $other:expr) => {
        $crate::with_dtype!(@arms $dtype, $E, $body, [F32 f32, F64 f64, I64 i64], _ => $other)
    };
    ($dtype:expr, real $E:ident => $body:expr, else $other:expr) => {
        $crate::with_dtype!(@arms $dtype, $E, $body, [F32 f32, F64 f64], _ => $other)
    };
    ($dtype:expr, index $E:ident => $body:expr, else $other:expr) => {
        $crate::with_dtype!(@arms $dtype, $E, $body, [U32 u32, I64 i64, I32 i32, U8 u8], _ => $other)
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f16_and_bf16_convert_as_half_does() {
        for bits in 0..=u16::MAX {
            let x = f16::from_bits(bits);
            let (got, wanted) = (f16_to_f32(x), x.to_f32());
            assert!(got.to_bits() == wanted.to_bits() || got.is_nan() && wanted.is_nan(), "{bits:x}");
        }
        for bits in (0..=u32::MAX / 997).map(|i| i * 997).chain([0x477f_efff, 0x477f_f000, 0x3300_0000, 0x3300_0001]) {
            let x = f32::from_bits(bits);
            let (got, wanted) = (f16_from_f32(x), f16::from_f32(x));
            assert!(got.to_bits() == wanted.to_bits() || got.is_nan() && wanted.is_nan(), "{bits:x}");
            let (got, wanted) = (bf16_from_f32(x), bf16::from_f32(x));
            assert!(got.to_bits() == wanted.to_bits() || got.is_nan() && wanted.is_nan(), "{bits:x}");
        }
    }
}
