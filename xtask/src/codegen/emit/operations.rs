use proc_macro2::TokenStream;
use quote::quote;

use super::{constructors, default_derive, doc, field_type, ident, pascal, rust_type, type_name};
use crate::codegen::model::{Field, FieldType, Model, Operation, Output};

pub(crate) fn operations(model: &Model) -> TokenStream {
    let operations = model.operations.iter().map(operation_definition);
    quote! {
        use crate::{Secret, SignedUrl, models::*};
        use crate::runtime::{SuccessResponse, BodyError, DecodeError, Method, Operation, Query, Segment, json_body};

        #(#operations)*
    }
}

fn operation_definition(operation: &Operation) -> TokenStream {
    let name = pascal(&operation.id);
    let (id, template, success) = (&operation.id, &operation.template, operation.success);
    let method = type_name(operation.method);
    let text = doc(&documentation(operation));
    let body = operation.body.as_ref().map(body_field);
    let fields: Vec<&Field> = operation.path.iter().chain(&body).chain(&operation.query).collect();
    let declarations = fields.iter().map(|field| {
        let (name, ty, text) = (ident(&field.name), field_type(field), doc(&field.doc));
        quote! { #text pub #name: #ty }
    });
    let default = default_derive(fields.iter().copied());
    let constructors =
        constructors(&fields, "Creates a value with the required fields. The `with_` methods set the others.", false);
    let (output, argument, decode) = match &operation.output {
        Output::Json(ty) => (rust_type(ty), quote! { response }, quote! { response.json() }),
        Output::Redirect => (quote! { SignedUrl }, quote! { response }, quote! { response.redirect() }),
        Output::Empty => (quote! { () }, quote! { _ }, quote! { Ok(()) }),
    };
    let is_shareable = operation.query.iter().any(|field| field.name == "share_token" && field.ty == FieldType::Secret);
    let shareable = is_shareable.then(|| quote! { const SHAREABLE: bool = true; });
    let path = segments_method(operation);
    let query = query_method(operation);
    let body = body.as_ref().map(|body| {
        let name = ident(&body.name);
        quote! { fn body(&self) -> Result<Option<Vec<u8>>, BodyError> { json_body(&self.#name) } }
    });
    quote! {
        #text
        #[derive(Clone, Debug, #default)]
        #[non_exhaustive]
        pub struct #name { #(#declarations),* }

        impl #name { #constructors }

        impl Operation for #name {
            type Output = #output;
            const ID: &'static str = #id;
            const METHOD: Method = Method::#method;
            const TEMPLATE: &'static str = #template;
            const SUCCESS: u16 = #success;
            #shareable
            #path
            #query
            #body
            fn decode(#argument: &SuccessResponse) -> Result<Self::Output, DecodeError> { #decode }
        }
    }
}

fn documentation(operation: &Operation) -> String {
    let Operation { summary, description, errors, .. } = operation;
    let route = format!("`{} {}`", operation.method.to_uppercase(), operation.template);
    let mut text = format!("{summary}\n\n{description}\n\n{route}");
    if !errors.is_empty() {
        text += "\n\nError responses:";
    }
    for (status, meaning) in errors {
        text += &format!("\n- {status}: {meaning}");
    }
    text
}

fn body_field(ty: &FieldType) -> Field {
    let doc = "The request body.".to_owned();
    Field { name: "submission".to_owned(), doc, ty: ty.clone(), optional: false, deprecated: false }
}

fn segments_method(operation: &Operation) -> Option<TokenStream> {
    let segments = operation.path.iter().map(|field| {
        let (wire_name, name) = (&field.name, ident(&field.name));
        quote! { Segment::new(#wire_name, self.#name.as_ref()) }
    });
    (!operation.path.is_empty()).then(|| quote! { fn segments(&self) -> Vec<Segment<'_>> { vec![#(#segments),*] } })
}

fn query_method(operation: &Operation) -> Option<TokenStream> {
    let parameters = operation.query.iter().map(|field| {
        let (wire_name, name) = (&field.name, ident(&field.name));
        if matches!(&field.ty, FieldType::Nullable(inner) if matches!(**inner, FieldType::List(_))) {
            quote! { .each(#wire_name, self.#name.as_deref()) }
        } else {
            quote! { .one(#wire_name, self.#name.as_ref()) }
        }
    });
    (!operation.query.is_empty()).then(|| quote! { fn query(&self) -> Query { Query::new() #(#parameters)* } })
}
