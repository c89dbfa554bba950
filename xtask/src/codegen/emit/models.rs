use proc_macro2::TokenStream;
use quote::quote;

use super::{constructors, default, doc, field_type, ident, is_option, pascal, type_name};
use crate::codegen::model::{Field, Model, Role, Shape, Ty, Type};

pub(crate) fn models(model: &Model) -> TokenStream {
    let types = model.types.iter().map(one);
    quote! {
        use serde::{Deserialize, Serialize};

        use crate::{JsonObject, JsonValue, Secret, Timestamp, UnknownValue};
        use crate::runtime::{open_enum, text};

        #(#types)*
    }
}

fn one(ty: &Type) -> TokenStream {
    let name = type_name(&ty.name);
    let text = doc(&ty.doc);
    match &ty.shape {
        Shape::Text => quote! {
            #text
            #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
            #[serde(transparent)]
            pub struct #name(String);
            text!(#name);
        },
        Shape::Choice(values) => {
            let variants: Vec<_> = values.iter().map(|value| pascal(value)).collect();
            let meanings = values.iter().map(|value| doc(&format!("`{value}`")));
            quote! {
                #text
                #[derive(Clone, Debug, PartialEq, Eq, Hash)]
                #[non_exhaustive]
                pub enum #name {
                    #(#meanings #variants,)*
                    /// A value that came with a newer platform.
                    Unknown(UnknownValue),
                }
                open_enum!(#name { #(#variants = #values),* });
            }
        }
        Shape::Record { role, fields } => record(&ty.name, &ty.doc, *role, fields),
    }
}

fn record(name: &str, text: &str, role: Role, fields: &[Field]) -> TokenStream {
    let name = type_name(name);
    let text = doc(text);
    let sent = role != Role::Answer;
    let derives = match role {
        Role::Answer => quote! { Deserialize },
        Role::Request => quote! { Serialize },
        Role::Both => quote! { Deserialize, Serialize },
    };
    let default = if sent { default(fields) } else { None };
    let constructors = sent.then(|| {
        let methods = constructors_of(fields);
        quote! { impl #name { #methods } }
    });
    let fields = fields.iter().map(|field| {
        let (wire, ident) = (&field.name, ident(&field.name));
        let (text, ty) = (doc(&field.doc), field_type(field));
        let rename = (ident != wire).then(|| quote! { #[serde(rename = #wire)] });
        let absent = (sent && is_option(field)).then(|| quote! { #[serde(skip_serializing_if = "Option::is_none")] });
        let expose =
            (sent && field.ty == Ty::Secret).then(|| quote! { #[serde(serialize_with = "crate::runtime::expose")] });
        let secret = secret_reader(field, role);
        let deprecated = field.deprecated.then(|| quote! { #[deprecated] });
        quote! { #text #deprecated #rename #absent #expose #secret pub #ident: #ty }
    });
    quote! {
        #text
        #[derive(Clone, Debug, #default #derives)]
        #[non_exhaustive]
        pub struct #name { #(#fields),* }
        #constructors
    }
}

fn constructors_of(fields: &[Field]) -> TokenStream {
    constructors(&fields.iter().collect::<Vec<_>>(), "With what is required; the rest is set by the `with_` methods.")
}

/// `Secret` does not read itself: where one arrives is said field by field.
fn secret_reader(field: &Field, role: Role) -> Option<TokenStream> {
    if role == Role::Request {
        return None;
    }
    match &field.ty {
        Ty::Secret => Some(quote! { #[serde(deserialize_with = "crate::runtime::conceal")] }),
        Ty::Nullable(inner) if **inner == Ty::Secret => {
            Some(quote! { #[serde(default, deserialize_with = "crate::runtime::conceal_optional")] })
        }
        _ => None,
    }
}
