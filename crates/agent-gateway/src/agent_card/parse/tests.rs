use serde_json::json;

use super::*;

/// A card of A2A 1.0.
fn current_card() -> Value {
    json!({
        "name": "Recipes", "description": "Finds recipes.\nQuickly.", "version": "1.2.0",
        "supportedInterfaces": [
            { "url": "https://a.test/v1", "protocolBinding": "JSONRPC", "protocolVersion": "1.0", "tenant": "t" },
            { "url": "https://a.test/rest", "protocolBinding": "HTTP+JSON", "protocolVersion": "1.0" },
        ],
        "capabilities": { "streaming": true, "extendedAgentCard": true, "extensions": [{ "uri": "urn:x", "required": true }] },
        "defaultInputModes": ["text/plain"], "defaultOutputModes": ["application/json"],
        "skills": [{ "id": "find", "name": "Find", "description": "", "tags": ["food"], "inputModes": ["image/png"] }],
        "securitySchemes": { "x": { "mtlsSecurityScheme": {} } }, "futureField": [1],
    })
}

/// A card of A2A 0.3.
fn legacy_card() -> Value {
    json!({
        "name": "Recipes", "description": "", "version": "1", "url": "https://a.test/", "protocolVersion": "0.3.0",
        "additionalInterfaces": [
            { "url": "https://a.test/", "transport": "JSONRPC" }, { "url": "https://a.test/grpc", "transport": "GRPC" },
        ],
        "supportsAuthenticatedExtendedCard": true, "capabilities": {}, "defaultInputModes": [],
        "defaultOutputModes": [], "skills": [],
    })
}

fn read(card: &Value) -> Result<AgentCard, Flaw> {
    let foreign_origin = |url: &Url| (url.host_str() != Some("a.test")).then(|| url.origin().ascii_serialization());
    parse(card.to_string().as_bytes(), foreign_origin)
}

#[test]
fn cards_of_both_versions_are_read() {
    let card = read(&current_card()).unwrap();
    assert_eq!((card.name(), card.version(), card.description()), ("Recipes", "1.2.0", "Finds recipes.\nQuickly."));
    let [first, second] = card.interfaces() else { panic!("two interfaces") };
    assert_eq!((first.url().as_str(), first.binding(), first.tenant()), ("https://a.test/v1", "JSONRPC", Some("t")));
    assert_eq!((second.binding(), second.protocol_version(), second.tenant()), ("HTTP+JSON", "1.0", None));
    let capabilities = card.capabilities();
    assert!(capabilities.streaming() && capabilities.extended_card() && !capabilities.push_notifications());
    assert_eq!((capabilities.extensions()[0].uri(), capabilities.extensions()[0].required()), ("urn:x", true));
    let skill = &card.skills()[0];
    assert_eq!((skill.id(), skill.tags(), skill.output_modes()), ("find", &["food".to_owned()][..], None));
    assert_eq!(skill.input_modes(), Some(&["image/png".to_owned()][..]));
    assert_eq!(card.json(), &current_card(), "unknown fields are kept");

    let card = read(&legacy_card()).unwrap();
    let interfaces: Vec<_> =
        card.interfaces().iter().map(|interface| (interface.url().path(), interface.binding())).collect();
    assert_eq!(interfaces, [("/", "JSONRPC"), ("/grpc", "GRPC")], "the preferred one is not repeated");
    assert!(card.interfaces().iter().all(|interface| interface.protocol_version() == "0.3.0"));
    assert!(card.capabilities().extended_card() && card.skills().is_empty());
}

#[test]
fn new_interfaces_replace_those_for_older_clients() {
    let mut card = current_card();
    card["url"] = json!("https://a.test/old");
    card["additionalInterfaces"] = json!([{ "url": "https://a.test/old", "transport": "JSONRPC" }]);
    assert_eq!(read(&card).unwrap().interfaces()[0].url().path(), "/v1");
    card["url"] = json!("https://evil.test/");
    assert_eq!(read(&card).unwrap_err(), Flaw::Origin("url".to_owned(), "https://evil.test".to_owned()));
}

#[test]
fn each_missing_field_is_named() {
    for (card, fields) in [
        (current_card(), ["name", "description", "version", "supportedInterfaces", "capabilities", "skills"]),
        (legacy_card(), ["name", "description", "version", "defaultInputModes", "defaultOutputModes", "skills"]),
    ] {
        for field in fields {
            for is_removed in [true, false] {
                let mut card = card.clone();
                if is_removed {
                    card.as_object_mut().unwrap().remove(field);
                } else {
                    card[field] = Value::Null;
                }
                let Flaw::Field(expected_field, _) = read(&card).unwrap_err() else { panic!("{field}") };
                assert_eq!(expected_field, field);
            }
        }
    }
    let mut card_without_url = legacy_card();
    card_without_url.as_object_mut().unwrap().remove("url");
    assert!(
        matches!(read(&card_without_url), Err(Flaw::Field(expected_field, _)) if expected_field == "supportedInterfaces")
    );
}

#[test]
fn each_invalid_field_is_named_with_its_path() {
    let long = "x".repeat(600);
    for (pointer, value, expected_field) in [
        ("/name", json!(""), "name"),
        ("/name", json!("red\u{1b}[31m"), "name"),
        ("/name", json!(long), "name"),
        ("/description", json!(7), "description"),
        ("/version", json!(2), "version"),
        ("/supportedInterfaces", json!([]), "supportedInterfaces"),
        ("/supportedInterfaces", json!({}), "supportedInterfaces"),
        ("/supportedInterfaces/1", json!("https://a.test"), "supportedInterfaces"),
        ("/supportedInterfaces/1/url", json!("/relative"), "supportedInterfaces[1].url"),
        ("/supportedInterfaces/0/url", json!("ftp://a.test/"), "supportedInterfaces[0].url"),
        ("/supportedInterfaces/0/url", json!("https://user:canary@a.test/"), "supportedInterfaces[0].url"),
        ("/supportedInterfaces/0/protocolBinding", Value::Null, "supportedInterfaces[0].protocolBinding"),
        ("/supportedInterfaces/0/protocolVersion", json!(1.0), "supportedInterfaces[0].protocolVersion"),
        ("/capabilities", json!([]), "capabilities"),
        ("/capabilities/streaming", json!("yes"), "capabilities.streaming"),
        ("/capabilities/extensions/0/uri", json!(1), "capabilities.extensions[0].uri"),
        ("/defaultInputModes", json!("text/plain"), "defaultInputModes"),
        ("/defaultOutputModes", json!([1]), "defaultOutputModes"),
        ("/skills", json!({}), "skills"),
        ("/skills/0", json!("find"), "skills"),
        ("/skills/0/id", json!(""), "skills[0].id"),
        ("/skills/0/tags", json!(null), "skills[0].tags"),
        ("/skills/0/inputModes", json!("image/png"), "skills[0].inputModes"),
    ] {
        let mut card = current_card();
        *card.pointer_mut(pointer).unwrap() = value;
        match read(&card) {
            Err(Flaw::Field(field, _)) => assert_eq!(field, expected_field, "{pointer}"),
            other => panic!("{pointer}: {other:?}"),
        }
    }
    let mut card = current_card();
    card["skills"] = json!(vec![card["skills"][0].clone(); MAX_SKILLS + 1]);
    assert_eq!(read(&card).unwrap_err(), Flaw::Field("skills".to_owned(), "a shorter list"));
}

#[test]
fn interface_at_another_origin_is_refused() {
    let mut card = current_card();
    card["supportedInterfaces"][1]["url"] = json!("https://evil.test:8443/rest?token=canary");
    let expected = Flaw::Origin("supportedInterfaces[1].url".to_owned(), "https://evil.test:8443".to_owned());
    assert_eq!(read(&card).unwrap_err(), expected);
    let mut card = legacy_card();
    card["additionalInterfaces"][1]["url"] = json!("http://evil.test/");
    assert!(matches!(read(&card), Err(Flaw::Origin(path, _)) if path == "additionalInterfaces[1].url"));
}

#[test]
fn documents_that_are_not_cards_are_refused() {
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(500), "]".repeat(500));
    for body in ["", "{", "[]", "null", "\"card\"", "<html>", &deep] {
        assert!(matches!(parse(body.as_bytes(), |_| None), Err(Flaw::Document(_))), "{body}");
    }
}
