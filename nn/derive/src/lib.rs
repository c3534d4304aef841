//! `#[derive(Module)]`: a walk over the fields of a struct, so that a model is a plain struct.
//!
//! ```text
//! #[derive(Clone, Module)]                     impl Visit for Classifier {
//! struct Classifier {                              fn visit<'m>(&'m self, walk: &mut Walk<'_, 'm>) {
//!     hidden: Linear,                                  walk.module("Classifier");
//!     #[module(rename = "head")]          =>           walk.field("hidden", &self.hidden);
//!     out: Linear,                                     walk.field("head", &self.out);
//!     width: usize,                                }
//! }                                                // and the same with `&mut`
//!                                              }
//!                                              impl Module for Classifier {}
//! ```
//!
//! The fields that are modules are told from plain data by the compiler, not by this macro: see
//! `chainrule_nn::derive_support`.

#![forbid(unsafe_code)]

mod attributes;
mod expand;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Implements `Module` for a struct: every field that is a module (or an `Option`, `Vec`, array, tuple or box of
/// modules, a `Param` or a `Tensor`) is visited under its name, and plain data is skipped.
///
/// # Attributes of a field
/// - `#[module(rename = "name")]`: another name in files and messages than the field's.
/// - `#[module(freeze)]`: the parameters below are never trained.
/// - `#[module(skip)]`: the field is not visited.
///
/// # Attributes of the struct
/// - `#[module(crate = path)]`: where `Module` comes from, for a crate that depends on `chainrule-nn` alone.
///
/// A type parameter that a field uses gets the bound `Visit`; a field with a parameter that is no module is skipped
/// with `#[module(skip)]`. Plain data is what is `Copy` or can be compared with `==`; for a field that is neither and no
/// module either, the compiler asks for one of the two: a model must not lose parameters silently.
#[proc_macro_derive(Module, attributes(module))]
pub fn derive_module(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand::expand(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}
