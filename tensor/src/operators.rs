//! `+ - * / %` and unary `-` as sugar for formulas.
//!
//! An operator calls the method of its name and panics with the method's message at the caller's line where that fails,
//! as `+` on integers does: `Result + Result` cannot be expressed in Rust. Code that must not panic calls the methods.

/// Implements the operators for a type `$T` whose methods take `impl Into<$Arg<'_>>`.
///
/// `operators!(Tensor, Arg)` expands, for `Add` and each of the other four, to
///
/// ```text
/// impl<'a, R: Into<Arg<'a>>> Add<R> for &Tensor { type Output = Tensor; fn add(self, right: R) -> Tensor { unwrap(Tensor::add(self, right)) } }
/// impl<'a, R: Into<Arg<'a>>> Add<R> for Tensor { ... }
/// impl Add<&Tensor> for f64 { ... }
/// impl Add<Tensor> for f64 { ... }
/// ```
#[doc(hidden)]
#[macro_export]
macro_rules! operators {
    ($T:ident, $Arg:ident: $($Op:ident $method:ident $function:expr),*) => {
        $(
            impl<'a, R: Into<$Arg<'a>>> std::ops::$Op<R> for &$T {
                type Output = $T;
                #[track_caller]
                fn $method(self, right: R) -> $T { $crate::value_or_panic($function(self.into(), right.into())) }
            }
            impl<'a, R: Into<$Arg<'a>>> std::ops::$Op<R> for $T {
                type Output = $T;
                #[track_caller]
                fn $method(self, right: R) -> $T { $crate::value_or_panic($function((&self).into(), right.into())) }
            }
            impl std::ops::$Op<&$T> for f64 {
                type Output = $T;
                #[track_caller]
                fn $method(self, right: &$T) -> $T { $crate::value_or_panic($function(self.into(), right.into())) }
            }
            impl std::ops::$Op<$T> for f64 {
                type Output = $T;
                #[track_caller]
                fn $method(self, right: $T) -> $T { $crate::value_or_panic($function(self.into(), (&right).into())) }
            }
        )*
        impl std::ops::Neg for &$T {
            type Output = $T;
            #[track_caller]
            fn neg(self) -> $T { $crate::value_or_panic($T::neg(self)) }
        }
        impl std::ops::Neg for $T {
            type Output = $T;
            #[track_caller]
            fn neg(self) -> $T { $crate::value_or_panic($T::neg(&self)) }
        }
    };
}

use crate::{Arg, BinaryOp, Tensor};

operators!(Tensor, Arg:
    Add add |a, b| Tensor::binary(BinaryOp::Add, a, b), Sub sub |a, b| Tensor::binary(BinaryOp::Sub, a, b),
    Mul mul |a, b| Tensor::binary(BinaryOp::Mul, a, b), Div div |a, b| Tensor::binary(BinaryOp::Div, a, b),
    Rem rem |a, b| Tensor::binary(BinaryOp::Rem, a, b));

/// The value, or a panic with the error's message at the caller's line. For operators only.
#[doc(hidden)]
#[track_caller]
pub fn value_or_panic<T>(result: crate::Result<T>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{error}"),
    }
}
