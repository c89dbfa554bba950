//! Tests of the generated code, one for each feature of the document. The expected code is in `snapshots`; after an intended change, run the tests
//! with `INSTA_UPDATE=always` and review the difference.

use serde_json::{Value, json};

use super::*;

fn model(schemas: &Value, paths: &Value) -> Result<Model> {
    let document = json!({
        "openapi": "3.1.0", "info": {}, "servers": [{ "url": "/api" }], "paths": paths,
        "components": { "schemas": schemas, "securitySchemes": {} },
    });
    Model::of(&Document::parse(&document.to_string())?)
}

fn code(tokens: TokenStream) -> String {
    prettyplease::unparse(&syn::parse2(tokens).unwrap())
}

/// Returns a document with one path, whose request body and response have these schemas.
fn path(body: Option<&str>, response: Option<&str>) -> Value {
    let content =
        |name: &str| json!({ "application/json": { "schema": { "$ref": format!("#/components/schemas/{name}") } } });
    let body = body.map(|name| json!({ "required": true, "content": content(name) }));
    let response = response.map_or_else(
        || json!({ "description": "", "content": { "application/json": { "schema": {} } } }),
        |name| json!({ "description": "", "content": content(name) }),
    );
    let mut operation = json!({
        "operationId": "do_it", "summary": "Does it.", "description": "At once.", "security": [],
        "responses": { "200": response },
    });
    if let Some(body) = body {
        operation["requestBody"] = body;
    }
    json!({ "/v1/it": { "post": operation } })
}

/// Returns the code for a schema `Thing` that is sent in this direction.
fn thing(schema: &Value, body: bool, response: bool) -> String {
    let path = path(body.then_some("Thing"), response.then_some("Thing"));
    code(emit::models(&model(&json!({ "Thing": schema }), &path).unwrap()))
}

fn record(properties: &Value, required: &[&str]) -> Value {
    json!({ "type": "object", "description": "A thing.", "properties": properties, "required": required })
}

#[test]
fn named_string_is_a_newtype() {
    insta::assert_snapshot!(thing(
        &json!({ "type": "string", "format": "uuid", "description": "Names a thing." }),
        false,
        true
    ));
}

#[test]
fn enum_preserves_unknown_values() {
    let schema = json!({ "type": "string", "enum": ["ONE", "TWO_WORDS", "a-b"], "description": "How it is." });
    insta::assert_snapshot!(thing(&schema, false, true));
}

#[test]
fn response_accepts_unknown_and_absent_fields() {
    let properties = json!({
        "needed": { "type": "string" },
        "nullable": { "type": ["string", "null"], "description": "May be null." },
        "optional": { "type": "integer" },
        "either": { "anyOf": [{ "type": "boolean" }, { "type": "null" }] },
    });
    insta::assert_snapshot!(thing(&record(&properties, &["needed", "nullable"]), false, true));
}

#[test]
fn request_is_strict_and_created_from_required_fields() {
    let properties = json!({ "needed": { "type": "string" }, "optional": { "type": ["integer", "null"] } });
    insta::assert_snapshot!(thing(&record(&properties, &["needed"]), true, false));
}

#[test]
fn type_in_both_directions_is_tolerant_and_constructible() {
    insta::assert_snapshot!(thing(&record(&json!({ "optional": { "type": "string" } }), &[]), true, true));
}

#[test]
fn field_with_meaningful_null_is_a_patch() {
    let properties = json!({ "cleared": { "type": ["object", "null"], "x-sdk-nullable": true } });
    insta::assert_snapshot!(thing(&record(&properties, &[]), true, false));
}

#[test]
fn secret_field_names_its_serde_functions() {
    let properties = json!({
        "key": { "type": "string", "x-sdk-secret": true },
        "url": { "type": ["string", "null"], "format": "uri", "x-sdk-secret": true, "deprecated": true },
    });
    insta::assert_snapshot!(thing(&record(&properties, &["key"]), true, true));
}

#[test]
fn every_value_type_is_generated_with_its_limits() {
    let properties = json!({
        "at": { "type": "string", "format": "date-time" },
        "any": {},
        "object": { "type": "object", "additionalProperties": true },
        "list": { "type": "array", "minItems": 1, "items": { "type": "string" } },
        "mixed": { "type": "array", "items": { "anyOf": [{ "type": "string" }, { "type": "integer" }] } },
        "short": { "type": "string", "minLength": 1, "maxLength": 8, "description": "Is short." },
        "count": { "type": "integer", "minimum": 5, "maximum": 100, "default": 50 },
        "type": { "type": "string" },
        "external_id__in": { "type": "string" },
    });
    insta::assert_snapshot!(thing(&record(&properties, &["at", "any", "object", "list", "mixed"]), false, true));
}

#[test]
fn operation_has_path_query_and_body_parameters() {
    let parameter = |place: &str, name: &str, schema: Value| json!({ "name": name, "in": place, "required": place == "path", "schema": schema, "description": "A part." });
    let mut share_token = parameter("query", "share_token", json!({ "type": ["string", "null"] }));
    share_token["x-sdk-secret"] = true.into();
    let parameters = [
        parameter("path", "it_id", json!({ "type": "string" })),
        parameter("query", "page-size", json!({ "type": "integer", "minimum": 5 })),
        parameter(
            "query",
            "sort",
            json!({ "anyOf": [{ "type": "array", "items": { "type": "string" } }, { "type": "null" }] }),
        ),
        share_token,
    ];
    let mut paths = path(Some("Thing"), Some("Thing"));
    let operation = &mut paths["/v1/it"]["post"];
    operation["parameters"] = parameters.to_vec().into();
    operation["responses"]["404"] = json!({ "description": "There is none." });
    let schemas = json!({ "Thing": record(&json!({}), &[]) });
    insta::assert_snapshot!(code(emit::operations(&model(&schemas, &paths).unwrap())));
}

#[test]
fn response_can_be_a_redirect_or_empty() {
    let mut paths = path(None, None);
    paths["/v1/file"] = json!({ "get": {
        "operationId": "get_file", "summary": "Leads to a file.", "description": "For a while.", "security": [],
        "responses": { "307": { "description": "Where it is." } },
    } });
    insta::assert_snapshot!(code(emit::operations(&model(&json!({}), &paths).unwrap())));
}

#[test]
fn generation_is_deterministic() {
    let text = fs::read_to_string(crate::root().join(SOURCE)).unwrap();
    let code = || {
        let model = Model::of(&Document::parse(&text).unwrap()).unwrap();
        code(emit::models(&model)) + &code(emit::operations(&model))
    };
    assert_eq!(code(), code());
}

#[test]
fn invalid_document_is_an_error_with_its_path() {
    let twice = json!({ "/v1/a": path(None, None)["/v1/it"], "/v1/b": path(None, None)["/v1/it"] });
    let of = |properties: Value| model(&json!({ "Thing": record(&properties, &[]) }), &json!({}));
    for (outcome, reason) in [
        (model(&json!({}), &twice), "two operations are called do_it"),
        (of(json!({ "a": { "type": ["string", "integer"] } })), "components.schemas.Thing: property a"),
        (of(json!({ "a": { "type": "array" } })), "an array without items"),
        (
            of(json!({ "a": { "type": "string", "format": "byte" } })),
            "unsupported type string with format Some(\"byte\")",
        ),
        (of(json!({ "a": { "type": "string", "x-sdk-nullable": true } })), "`x-sdk-nullable` requires a nullable type"),
        (
            of(json!({ "a": { "$ref": "https://elsewhere.test/a" } })),
            "a reference must begin with #/components/schemas/",
        ),
        (model(&json!({ "Thing": record(&json!({}), &["gone"]) }), &json!({})), "gone is required but not a property"),
        (model(&json!({ "Thing": { "type": "string" } }), &json!({})), "components.schemas.Thing: no description"),
    ] {
        let error = format!("{:#}", outcome.err().unwrap());
        assert!(error.contains(reason), "{reason}: {error}");
    }
}
