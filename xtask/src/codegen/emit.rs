//! Generation of Rust code from the model. Each kind of item has its own file.

mod models;
mod operations;

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;

use super::model::{Field, FieldType};

pub(crate) use models::models;
pub(crate) use operations::operations;

fn ident(name: &str) -> Ident {
    let rust_name = name.replace("__", "_").replace('-', "_");
    match rust_name.as_str() {
        "type" => Ident::new("kind", Span::call_site()),
        _ => Ident::new(&rust_name, Span::call_site()),
    }
}

fn pascal(name: &str) -> Ident {
    let words = name.split(['_', '-']).map(|word| {
        let (first, rest) = word.split_at(1);
        first.to_uppercase() + &rest.to_lowercase()
    });
    Ident::new(&words.collect::<String>(), Span::call_site())
}

fn type_name(name: &str) -> Ident {
    Ident::new(name, Span::call_site())
}

/// Returns the text as a doc comment, or nothing for an empty text.
fn doc(text: &str) -> TokenStream {
    let lines = text.lines().map(|line| format!(" {line}"));
    quote! { #(#[doc = #lines])* }
}

/// Returns the type of a field or parameter. An optional and nullable value is a single `Option`.
fn field_type(field: &Field) -> TokenStream {
    let ty = rust_type(&field.ty);
    match &field.ty {
        FieldType::Nullable(_) | FieldType::Patch(_) => ty,
        _ if field.optional => quote! { Option<#ty> },
        _ => ty,
    }
}

fn is_option(field: &Field) -> bool {
    field.optional || matches!(field.ty, FieldType::Nullable(_) | FieldType::Patch(_))
}

fn is_patch(field: &Field) -> bool {
    matches!(field.ty, FieldType::Patch(_))
}

/// Returns `Default,`, for the derive of a type, if the type has no required fields.
fn default_derive<'a>(fields: impl IntoIterator<Item = &'a Field>) -> Option<TokenStream> {
    fields.into_iter().all(is_option).then(|| quote! { Default, })
}

fn rust_type(ty: &FieldType) -> TokenStream {
    match ty {
        FieldType::Text => quote! { String },
        FieldType::Secret => quote! { Secret },
        FieldType::Timestamp => quote! { Timestamp },
        FieldType::Integer => quote! { i64 },
        FieldType::Boolean => quote! { bool },
        FieldType::Object => quote! { JsonObject },
        FieldType::Any => quote! { JsonValue },
        FieldType::List(inner) => {
            let inner = rust_type(inner);
            quote! { Vec<#inner> }
        }
        FieldType::Nullable(inner) => {
            let inner = rust_type(inner);
            quote! { Option<#inner> }
        }
        FieldType::Patch(inner) => {
            let inner = rust_type(inner);
            quote! { Patch<#inner> }
        }
        FieldType::Named(name) => {
            let name = type_name(name);
            quote! { #name }
        }
    }
}

/// Returns the type without its `Option`, for the parameter of a setter.
fn inner_type(ty: &FieldType) -> TokenStream {
    match ty {
        FieldType::Nullable(inner) => rust_type(inner),
        ty => rust_type(ty),
    }
}

/// Returns `new` with the required fields, and a setter for each other field. A `tolerant` type preserves unknown
/// fields.
fn constructors(fields: &[&Field], summary: &str, tolerant: bool) -> TokenStream {
    let required: Vec<_> = fields.iter().filter(|field| !is_option(field)).collect();
    let names: Vec<_> = required.iter().map(|field| ident(&field.name)).collect();
    let types = required.iter().map(|field| rust_type(&field.ty));
    let optional: Vec<_> = fields.iter().filter(|field| is_option(field)).collect();
    let absent_values = optional.iter().map(|field| {
        let (name, value) = (ident(&field.name), if is_patch(field) { quote!(Patch::Absent) } else { quote!(None) });
        quote! { #name: #value }
    });
    let unknown_fields = tolerant.then(|| quote! { unknown: UnknownFields::default(), });
    let summary = doc(summary);
    let setters = optional.iter().map(|field| {
        let name = ident(&field.name);
        let setter = Ident::new(&format!("with_{name}"), Span::call_site());
        let ty = inner_type(&field.ty);
        let text = doc(&field.doc);
        let value = if is_patch(field) { quote!(#name.into()) } else { quote!(Some(#name.into())) };
        quote! {
            #text
            pub fn #setter(mut self, #name: impl Into<#ty>) -> Self {
                self.#name = #value;
                self
            }
        }
    });
    quote! {
        #summary
        pub fn new(#(#names: impl Into<#types>),*) -> Self {
            Self { #(#names: #names.into(),)* #(#absent_values,)* #unknown_fields }
        }
        #(#setters)*
    }
}
