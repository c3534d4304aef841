//! What `#[module(...)]` says about a struct and its fields.

use syn::{Attribute, LitStr, Path, Result, parse_quote};

/// The attributes of one field.
#[derive(Default)]
pub(crate) struct FieldAttributes {
    pub(crate) rename: Option<String>,
    pub(crate) is_frozen: bool,
    pub(crate) is_skipped: bool,
}

impl FieldAttributes {
    pub(crate) fn parse(attributes: &[Attribute]) -> Result<FieldAttributes> {
        let mut parsed = FieldAttributes::default();
        for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("module")) {
            attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident("rename") {
                    parsed.rename = Some(name(&meta.value()?.parse()?)?);
                } else if meta.path.is_ident("freeze") {
                    parsed.is_frozen = true;
                } else if meta.path.is_ident("skip") {
                    parsed.is_skipped = true;
                } else {
                    return Err(meta.error("expected `rename = \"name\"`, `freeze` or `skip`"));
                }
                Ok(())
            })?;
        }
        Ok(parsed)
    }
}

/// A name that can be a part of a dotted path.
fn name(literal: &LitStr) -> Result<String> {
    let name = literal.value();
    if name.is_empty() || name.contains('.') {
        return Err(syn::Error::new(literal.span(), "a name is not empty and has no dots"));
    }
    Ok(name)
}

/// The path of the crate that has `Module`: given, or `chainrule::nn`, or this workspace's own crate.
pub(crate) fn crate_path(attributes: &[Attribute]) -> Result<Path> {
    let mut given = None;
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("module")) {
        attribute.parse_nested_meta(|meta| {
            if !meta.path.is_ident("crate") {
                return Err(meta.error("expected `crate = path`"));
            }
            given = Some(meta.value()?.call(Path::parse_mod_style)?);
            Ok(())
        })?;
    }
    // Inside chainrule-nn itself there is no facade.
    let is_nn = std::env::var("CARGO_PKG_NAME").is_ok_and(|package| package == "chainrule-nn");
    let own: Path = if is_nn { parse_quote!(::chainrule_nn) } else { parse_quote!(::chainrule::nn) };
    Ok(given.unwrap_or(own))
}
