//! The OpenAPI 3.1 document, read strictly: a member that the generator does not know is an error with its path.

use anyhow::{Context, Result};
use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Document {
    #[serde(rename = "openapi")]
    pub(crate) version: String,
    #[serde(rename = "info")]
    _info: Value,
    pub(crate) servers: Vec<Server>,
    pub(crate) paths: IndexMap<String, PathItem>,
    pub(crate) components: Components,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Server {
    pub(crate) url: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Components {
    pub(crate) schemas: IndexMap<String, Schema>,
    #[serde(rename = "securitySchemes")]
    _security_schemes: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PathItem {
    pub(crate) get: Option<Operation>,
    pub(crate) post: Option<Operation>,
    pub(crate) put: Option<Operation>,
    pub(crate) delete: Option<Operation>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Operation {
    #[serde(rename = "operationId")]
    pub(crate) id: String,
    pub(crate) summary: String,
    pub(crate) description: String,
    #[serde(default)]
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) request_body: Option<RequestBody>,
    pub(crate) responses: IndexMap<String, Response>,
    #[serde(rename = "security")]
    _security: Value,
    /// True if sending the request twice has the same effect as sending it once.
    #[serde(rename = "x-sdk-idempotent")]
    pub(crate) _idempotent: Option<bool>,
    /// True if the response is a page of a list.
    #[serde(rename = "x-sdk-pages")]
    pub(crate) _pages: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Parameter {
    pub(crate) name: String,
    #[serde(rename = "in")]
    pub(crate) location: ParameterLocation,
    #[serde(rename = "required")]
    _required: bool,
    pub(crate) schema: Schema,
    pub(crate) description: Option<String>,
    #[serde(default, rename = "x-sdk-secret")]
    pub(crate) secret: bool,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ParameterLocation {
    Path,
    Query,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RequestBody {
    #[serde(rename = "required")]
    _required: bool,
    pub(crate) content: Content,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Response {
    pub(crate) description: String,
    pub(crate) content: Option<Content>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Content {
    #[serde(rename = "application/json")]
    pub(crate) json: Media,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Media {
    pub(crate) schema: Schema,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Schema {
    #[serde(rename = "$ref")]
    pub(crate) reference: Option<String>,
    #[serde(rename = "type")]
    pub(crate) kind: Option<Kind>,
    pub(crate) any_of: Option<Vec<Schema>>,
    pub(crate) description: Option<String>,
    pub(crate) format: Option<String>,
    #[serde(rename = "enum")]
    pub(crate) values: Option<Vec<String>>,
    pub(crate) items: Option<Box<Schema>>,
    pub(crate) properties: Option<IndexMap<String, Schema>>,
    pub(crate) required: Option<Vec<String>>,
    pub(crate) additional_properties: Option<bool>,
    pub(crate) min_length: Option<u64>,
    pub(crate) max_length: Option<u64>,
    pub(crate) min_items: Option<u64>,
    pub(crate) minimum: Option<i64>,
    pub(crate) maximum: Option<i64>,
    pub(crate) default: Option<i64>,
    #[serde(rename = "pattern")]
    _pattern: Option<String>,
    #[serde(default)]
    pub(crate) deprecated: bool,
    #[serde(default, rename = "x-sdk-secret")]
    pub(crate) secret: bool,
    /// True if sending `null` and omitting the field have different meanings.
    #[serde(default, rename = "x-sdk-nullable")]
    pub(crate) nullable: bool,
}

/// One type or several: `"string"` or `["string", "null"]`.
#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Kind {
    One(String),
    Several(Vec<String>),
}

impl Document {
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let mut reader = serde_json::Deserializer::from_str(text);
        let document: Self = serde_path_to_error::deserialize(&mut reader)
            .map_err(|error| anyhow::anyhow!("at {}: {}", error.path(), error.inner()))
            .context("the generator does not support a construct of the OpenAPI document")?;
        anyhow::ensure!(document.version.starts_with("3.1."), "OpenAPI 3.1 is expected, not {}", document.version);
        anyhow::ensure!(document.servers.len() == 1, "exactly one server is expected");
        Ok(document)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(schema: &str) -> Result<Document> {
        Document::parse(&format!(
            r#"{{ "openapi": "3.1.0", "info": {{}}, "servers": [{{ "url": "/api" }}], "paths": {{}},
                 "components": {{ "schemas": {{ "Thing": {schema} }}, "securitySchemes": {{}} }} }}"#
        ))
    }

    #[test]
    fn unknown_construct_is_an_error_with_its_path() {
        let error = parse(r#"{ "type": "object", "properties": { "a": { "oneOf": [] } } }"#).err().unwrap();
        let message = format!("{error:#}");
        assert!(message.contains("components.schemas.Thing.properties.a") && message.contains("oneOf"), "{message}");
        assert!(parse(r#"{ "type": "object", "properties": { "a": { "type": "string" } } }"#).is_ok());
    }
}
