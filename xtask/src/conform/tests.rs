use serde_json::json;

use super::*;

#[path = "../../../tests/support/reference.rs"]
mod reference;

const RUNS: &str = "/paths/~1v1~1runs";

fn document() -> Value {
    read_json(&crate::root().join(DOCUMENT)).unwrap()
}

/// Returns the unexplained differences of a document.
fn unexplained(document: &Value) -> Vec<String> {
    let deviations = Deviations::read(&crate::root().join(DEVIATIONS)).unwrap();
    let facts = read_facts(&crate::root()).unwrap();
    deviations.explain(facts.differences(&Facts::of(document).unwrap())).1
}

#[test]
fn document_has_the_facts_of_the_platform_document() {
    assert_eq!(unexplained(&document()), [""; 0]);
}

/// Returns the pointer to the schema with this name.
fn schema(rest: &str) -> String {
    format!("/components/schemas/{rest}")
}

fn parameter(document: &Value, pointer: &str, name: &str) -> String {
    let parameters = document.pointer(&format!("{pointer}/parameters")).unwrap().as_array().unwrap();
    let index = parameters.iter().position(|parameter| parameter["name"] == name).unwrap();
    format!("{pointer}/parameters/{index}")
}

#[test]
fn every_change_is_found_with_its_address() {
    let original = document();
    let page_size = parameter(&original, &format!("{RUNS}/get"), "page_size");
    let states = original.pointer(&schema("RunState/enum")).unwrap().as_array().unwrap();
    let fewer_states: Vec<_> = states[1..].to_vec();
    for (pointer, value, address) in [
        (schema("RunState/enum"), Some(json!(fewer_states)), "GET /v1/runs 200[].state enum"),
        (schema("RunSubmission/required"), Some(json!(["application_id"])), "POST /v1/runs body.items required"),
        (format!("{page_size}/name"), Some(json!("page-size")), "GET /v1/runs query page-size required"),
        (format!("{page_size}/schema/maximum"), Some(json!(1000)), "GET /v1/runs query page_size maximum"),
        (format!("{page_size}/schema/default"), None, "GET /v1/runs query page_size default"),
        (format!("{page_size}/required"), Some(json!(true)), "GET /v1/runs query page_size required"),
        (format!("{RUNS}/post/responses/403"), None, "POST /v1/runs 403"),
        (schema("Run/properties/submitted_by/type"), Some(json!("integer")), "GET /v1/runs 200[].submitted_by type"),
        (schema("Run/properties/submitted_at/format"), None, "GET /v1/runs 200[].submitted_at format"),
        (
            schema("InputArtifactSubmission/properties/download_url/maxLength"),
            Some(json!(2000)),
            "POST /v1/runs body.items[].input_artifacts[].download_url maxLength",
        ),
        (format!("{RUNS}/get/security"), Some(json!([])), "GET /v1/runs security"),
        (RUNS.to_owned() + "/get", None, "GET /v1/runs security"),
        ("/servers/0/url".to_owned(), Some(json!("/api/v2")), "server"),
    ] {
        let mut changed = original.clone();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        let parent = changed.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        assert!(parent.contains_key(name), "{pointer}");
        match value {
            Some(value) => parent.insert(name.to_owned(), value),
            None => parent.remove(name),
        };
        let problems = unexplained(&changed);
        assert!(
            problems.iter().any(|line| line.starts_with(&format!("unexplained: {address}: "))),
            "{address}: {problems:#?}"
        );
    }
}

#[test]
fn schema_names_and_descriptions_are_not_facts() {
    let text = document().to_string().replace("#/components/schemas/RunState\"", "#/components/schemas/StateOfRun\"");
    let mut renamed: Value = serde_json::from_str(&text.replace("Lists runs.", "All the runs.")).unwrap();
    let schemas = renamed["components"]["schemas"].as_object_mut().unwrap();
    let state = schemas.remove("RunState").unwrap();
    schemas.insert("StateOfRun".to_owned(), state);
    assert_eq!(unexplained(&renamed), [""; 0]);
}

#[test]
fn unknown_constructs_are_errors_with_their_address() {
    let document = |schema: Value| {
        let response = json!({ "description": "", "content": { "application/json": { "schema": schema } } });
        let operation = json!({ "responses": { "200": response } });
        json!({ "servers": [{ "url": "/api" }], "paths": { "/v1/a": { "get": operation } } })
    };
    for (schema, address) in [
        (json!({ "properties": { "b": { "oneOf": [] } } }), "GET /v1/a 200.b: `oneOf`"),
        (json!({ "items": { "$ref": "#/nowhere" } }), "GET /v1/a 200[]: unresolved reference \"#/nowhere\""),
        (json!({ "required": ["c"], "properties": {} }), "GET /v1/a 200: c is required"),
    ] {
        let error = Facts::of(&document(schema)).err().unwrap().to_string();
        assert!(error.contains(address), "{address}: {error}");
    }
    let mut endless = document(json!({ "$ref": "#/components/schemas/A" }));
    endless["components"] = json!({ "schemas": { "A": { "items": { "$ref": "#/components/schemas/A" } } } });
    assert!(Facts::of(&endless).err().unwrap().to_string().contains("nested too deeply"));
}

#[test]
fn deviation_explains_only_the_difference_that_it_states() {
    let facts = |text: &str| Facts::parse(text).unwrap();
    let explain = |deviations: &str| {
        let differences = facts("a.x = 1\na.y = 1\n").differences(&facts("a.x = 2\na.y = 2\n"));
        Deviations::parse(deviations).unwrap().explain(differences)
    };
    let deviation = |address: &str, ours: &str, reason: &str| {
        format!("[[deviation]]\naddress = \"{address}\"\nreference = \"1\"\nours = \"{ours}\"\nreason = \"{reason}\"\n")
    };
    assert_eq!(explain(&deviation("a.*", "2", "why")), (2, vec![]));
    assert_eq!(explain(&deviation("a.x", "2", "why")), (1, vec!["unexplained: a.y: 1 → 2".to_owned()]));
    for (address, ours, reason) in [("a.*", "3", "why"), ("a.*", "2", ""), ("b.*", "2", "why"), ("a", "2", "why")] {
        let (explained, problems) = explain(&deviation(address, ours, reason));
        assert_eq!((explained, problems.len()), (0, 3), "{problems:?}");
        assert_eq!(problems[2], format!("explains no difference: {address}"));
    }
}

#[test]
fn shared_phrase_is_found_and_field_names_are_ignored() {
    let words =
        |text: &str| json!({ "a": [{ "description": text, "pattern": "one two three four five six seven eight" }] });
    let reference = words("One two three, four five six seven eight `nine_th` ten");
    let shared = |text: &str| phrases::shared(&words(text), &reference).collect::<Vec<_>>();
    assert_eq!(shared("so one two three four five six seven eight"), ["one two three four five six seven eight"]);
    assert_eq!(shared("two three four five six seven eight nine_th"), [""; 0]);
    assert_eq!(shared("one two three four five six seven"), [""; 0]);
}

#[test]
fn facts_match_the_platform_document_if_available() {
    if let Some(document) = reference::document(&crate::root()) {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(&file, document.to_string()).unwrap();
        run(&crate::root(), Some(file.path())).unwrap();
    } else {
        say("SKIPPED: the comparison of the facts needs the platform's own document");
    }
}
