//! The generated implementation.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Field, Fields, GenericArgument, Generics, Index, Path, PathArguments, Result, Type};

use crate::attributes::{FieldAttributes, crate_path};

/// One visited field.
struct Visited<'a> {
    field: &'a Field,
    member: TokenStream,
    name: String,
    is_frozen: bool,
}

pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let nn = crate_path(&input.attrs)?;
    let fields = visited(fields(input)?)?;
    let ident = &input.ident;
    let type_name = ident.to_string();
    let generics = bounded(&input.generics, &fields, &nn);
    let (impl_generics, type_generics, where_clause) = generics.split_for_impl();
    let visits = fields.iter().map(|field| field.visit(&quote!(visit), &quote!(&)));
    let visits_mut = fields.iter().map(|field| field.visit(&quote!(visit_mut), &quote!(&mut)));
    Ok(quote! {
        #[automatically_derived]
        #[allow(clippy::all, unused_imports)]
        impl #impl_generics #nn::Visit for #ident #type_generics #where_clause {
            fn visit<'__m>(&'__m self, __walk: &mut #nn::Walk<'_, '__m>) {
                use #nn::derive_support::{Probe, ViaCopy as _, ViaModule as _, ViaPlain as _, ViaUnknown as _};
                __walk.module(#type_name);
                #(#visits)*
            }

            fn visit_mut(&mut self, __walk: &mut #nn::WalkMut<'_>) {
                use #nn::derive_support::{Probe, ViaCopy as _, ViaModule as _, ViaPlain as _, ViaUnknown as _};
                #(#visits_mut)*
            }
        }

        #[automatically_derived]
        impl #impl_generics #nn::Module for #ident #type_generics #where_clause {}
    })
}

impl Visited<'_> {
    /// `kind` is found by the compiler through automatic references: the first of module, plain and copy that holds.
    fn visit(&self, method: &TokenStream, borrow: &TokenStream) -> TokenStream {
        let Visited { field, member, name, is_frozen } = self;
        quote_spanned! {field.ty.span()=> {
            let kind = (&&&Probe::of(&self.#member)).kind();
            kind.#method(#name, #is_frozen, #borrow self.#member, __walk);
        }}
    }
}

fn fields(input: &DeriveInput) -> Result<&Fields> {
    let hint = "Module can be derived for structs; for this type, implement `visit` and `visit_mut` by hand";
    match &input.data {
        Data::Struct(data) => Ok(&data.fields),
        Data::Enum(data) => Err(syn::Error::new(data.enum_token.span, hint)),
        Data::Union(data) => Err(syn::Error::new(data.union_token.span, hint)),
    }
}

fn visited(fields: &Fields) -> Result<Vec<Visited<'_>>> {
    let mut visited: Vec<Visited<'_>> = Vec::new();
    for (index, field) in fields.iter().enumerate() {
        let attributes = FieldAttributes::parse(&field.attrs)?;
        if attributes.is_skipped {
            continue;
        }
        let place = Index::from(index);
        let member = field.ident.as_ref().map_or(quote!(#place), |ident| quote!(#ident));
        let own_name = || field.ident.as_ref().map_or(index.to_string(), |ident| unraw(&ident.to_string()));
        let name = attributes.rename.unwrap_or_else(own_name);
        if visited.iter().any(|other| other.name == name) {
            return Err(syn::Error::new(field.span(), format!("two fields are named `{name}`")));
        }
        visited.push(Visited { field, member, name, is_frozen: attributes.is_frozen });
    }
    Ok(visited)
}

/// `r#type` is named `type`.
fn unraw(ident: &str) -> String {
    ident.trim_start_matches("r#").to_string()
}

/// The generics with `T: Visit` for each type parameter that a visited field uses.
fn bounded(generics: &Generics, fields: &[Visited<'_>], nn: &Path) -> Generics {
    let mut bounded = generics.clone();
    for parameter in generics.type_params() {
        let ident = &parameter.ident;
        if fields.iter().any(|field| mentions(&field.field.ty, ident)) {
            bounded.make_where_clause().predicates.push(syn::parse_quote!(#ident: #nn::Visit));
        }
    }
    bounded
}

/// Whether a type is built from the type parameter; a `PhantomData` of it is not.
fn mentions(ty: &Type, parameter: &syn::Ident) -> bool {
    match ty {
        Type::Path(path) => path.path.segments.iter().any(|segment| {
            segment.ident == *parameter && path.path.segments.len() == 1
                || segment.ident != "PhantomData" && arguments_mention(&segment.arguments, parameter)
        }),
        Type::Array(array) => mentions(&array.elem, parameter),
        Type::Tuple(tuple) => tuple.elems.iter().any(|elem| mentions(elem, parameter)),
        Type::Reference(reference) => mentions(&reference.elem, parameter),
        Type::Slice(slice) => mentions(&slice.elem, parameter),
        Type::Paren(paren) => mentions(&paren.elem, parameter),
        Type::Group(group) => mentions(&group.elem, parameter),
        _ => false,
    }
}

fn arguments_mention(arguments: &PathArguments, parameter: &syn::Ident) -> bool {
    let PathArguments::AngleBracketed(arguments) = arguments else { return false };
    arguments.args.iter().any(|argument| match argument {
        GenericArgument::Type(ty) => mentions(ty, parameter),
        _ => false,
    })
}
