use proc_macro2::TokenStream;
use quote::quote;

use super::{constructors, default_derive, doc, field_type, ident, is_option, pascal, type_name};
use crate::codegen::model::{Field, FieldType, Model, NamedType, Role, Shape};

pub(crate) fn models(model: &Model) -> TokenStream {
    let types = model.types.iter().map(type_definition);
    quote! {
        use serde::{Deserialize, Serialize};

        use crate::{JsonObject, JsonValue, Patch, Secret, Timestamp, UnknownFields, UnknownValue};
        use crate::runtime::{open_enum, text};

        #(#types)*
    }
}

fn type_definition(ty: &NamedType) -> TokenStream {
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
        Shape::Enum(values) => {
            let variants: Vec<_> = values.iter().map(|value| pascal(value)).collect();
            let variant_docs = values.iter().map(|value| doc(&format!("`{value}`")));
            quote! {
                #text
                #[derive(Clone, Debug, PartialEq, Eq, Hash)]
                #[non_exhaustive]
                pub enum #name {
                    #(#variant_docs #variants,)*
                    /// A value of a newer version of the platform.
                    Unknown(UnknownValue),
                }
                open_enum!(#name { #(#variants = #values),* });
            }
        }
        Shape::Struct { role, fields } => struct_definition(&ty.name, &ty.doc, *role, fields),
    }
}

fn struct_definition(name: &str, text: &str, role: Role, fields: &[Field]) -> TokenStream {
    let name = type_name(name);
    let text = doc(text);
    let is_sent = role != Role::Response;
    let default = if is_sent { default_derive(fields) } else { None };
    // Requests are strict; responses may come from a newer platform.
    let is_tolerant = role != Role::Request;
    let strict = (!is_tolerant).then(|| quote! { #[serde(deny_unknown_fields)] });
    let unknown = is_tolerant.then(|| {
        quote! {
            /// Fields that this version of the library does not know.
            #[serde(flatten)]
            pub unknown: UnknownFields,
        }
    });
    let constructors = is_sent.then(|| {
        let summary = "Creates a value with the required fields. The `with_` methods set the others.";
        let methods = constructors(&fields.iter().collect::<Vec<_>>(), summary, is_tolerant);
        quote! { impl #name { #methods } }
    });
    let fields = fields.iter().map(field_definition);
    quote! {
        #text
        #[derive(Clone, Debug, #default Deserialize, Serialize)]
        #strict
        #[non_exhaustive]
        pub struct #name { #(#fields,)* #unknown }
        #constructors
    }
}

fn field_definition(field: &Field) -> TokenStream {
    let (wire_name, ident) = (&field.name, ident(&field.name));
    let (text, ty) = (doc(&field.doc), field_type(field));
    let rename = (ident != wire_name).then(|| quote! { #[serde(rename = #wire_name)] });
    let absent_attribute = match &field.ty {
        FieldType::Patch(_) => Some(quote! { #[serde(default, skip_serializing_if = "Patch::is_absent")] }),
        _ if field.optional => Some(quote! { #[serde(skip_serializing_if = "Option::is_none")] }),
        _ => None,
    };
    let secret = secret_attribute(field);
    let deprecated = field.deprecated.then(|| quote! { #[deprecated] });
    quote! { #text #deprecated #rename #absent_attribute #secret pub #ident: #ty }
}

/// Returns the attributes of a secret field. `Secret` does not implement serialization, so each field names its functions.
fn secret_attribute(field: &Field) -> Option<TokenStream> {
    let is_secret = match &field.ty {
        FieldType::Nullable(inner) => **inner == FieldType::Secret,
        ty => *ty == FieldType::Secret,
    };
    match (is_secret, is_option(field)) {
        (false, _) => None,
        (true, false) => Some(quote! {
            #[serde(deserialize_with = "crate::runtime::conceal", serialize_with = "crate::runtime::expose")]
        }),
        (true, true) => Some(quote! {
            #[serde(
                default,
                deserialize_with = "crate::runtime::conceal_optional",
                serialize_with = "crate::runtime::expose_optional"
            )]
        }),
    }
}
