//! A corpus of hostile responses to requests for agent cards.

use serde_json::{Value, json};

use crate::cases::GZIP_BOMB;
use crate::server::{ReceivedRequest, Reply};

/// All cases.
pub(crate) const CASES: &[&str] = &[
    // Responses.
    "silent",
    "closed",
    "status",
    "status-long",
    "created",
    "empty",
    "unchanged",
    "redirect-elsewhere",
    "redirect-here",
    "redirect-no-url",
    "redirect-cookie",
    "type-html",
    "type-none",
    "type-events",
    "type-long",
    // Sizes.
    "size-card",
    "size-gzip",
    "size-endless",
    "size-header",
    "size-shorter",
    "size-deep",
    "size-objects",
    "size-skills",
    "size-interfaces",
    "size-name",
    // Documents.
    "document-text",
    "document-list",
    "document-null",
    "document-cut",
    "document-not-utf8",
    "document-twice",
    // Fields.
    "field-name",
    "field-description",
    "field-version",
    "field-capabilities",
    "field-defaultInputModes",
    "field-defaultOutputModes",
    "field-skills",
    "field-supportedInterfaces",
    "name-control",
    "name-object",
    "skill-id",
    "skill-tags",
    "skill-text",
    // Interfaces.
    "origin-host",
    "origin-port",
    "origin-scheme",
    "origin-user",
    "origin-suffix",
    "origin-second",
    "origin-legacy",
    "origin-additional",
    "url-relative",
    "url-data",
    "url-file",
    "url-empty",
    "url-number",
    "url-long",
];

const JSON: &str = "content-type: application/json\r\n";

/// Returns the response of the agent of a case.
pub(crate) fn reply(request: &ReceivedRequest<'_>) -> Reply {
    let case_group = request.case.split('-').next().unwrap_or_default();
    match (case_group, request.method) {
        (_, "token") => Reply::Nothing,
        ("good", _) => {
            let mut card = valid_card(request);
            card["name"] = json!("Good");
            Reply::Json(card)
        }
        ("size", _) => oversized_response(request),
        ("document", _) => malformed_document(request),
        ("origin" | "url" | "field" | "name" | "skill", _) => Reply::Json(flawed_card(request)),
        _ => unexpected_response(request),
    }
}

/// Returns a valid card.
fn valid_card(request: &ReceivedRequest<'_>) -> Value {
    let url = format!("http://{}/", request.headers["host"]);
    json!({
        "name": "canary", "description": "canary", "version": "1", "capabilities": {},
        "supportedInterfaces": [{ "url": url, "protocolBinding": "JSONRPC", "protocolVersion": "1.0" }],
        "defaultInputModes": ["text/plain"], "defaultOutputModes": ["text/plain"],
        "skills": [{ "id": "i", "name": "n", "description": "d", "tags": ["t"] }],
    })
}

/// Returns a response with an unexpected status, redirect or content type, or none.
fn unexpected_response(request: &ReceivedRequest<'_>) -> Reply {
    let raw = |status, headers, body: &[u8]| Reply::Raw(status, headers, body.to_vec());
    let body = valid_card(request).to_string().into_bytes();
    match request.case {
        "silent" => Reply::Nothing,
        "closed" => Reply::Close,
        "status" => raw(403, JSON, br#"{"error": {"message": "canary"}}"#),
        "status-long" => raw(500, "content-type: text/plain\r\n", &vec![b'x'; 20 * 1024 * 1024]),
        "created" => Reply::Raw(201, JSON, body),
        "empty" => raw(204, "", b""),
        "unchanged" => raw(304, "etag: \"x\"\r\n", b""),
        "redirect-elsewhere" => raw(307, "location: https://elsewhere.test/canary?token=canary\r\n", b""),
        "redirect-here" => raw(301, "location: /card.json\r\n", b""),
        "redirect-no-url" => raw(302, "location: https://[canary\r\n", b""),
        "redirect-cookie" => raw(303, "location: https://u:canary@elsewhere.test/\r\nset-cookie: a=b\r\n", b""),
        "type-html" => raw(200, "content-type: text/html\r\n", b"<html>canary"),
        "type-none" => Reply::Raw(200, "", body),
        "type-events" => Reply::Events(format!("data: {}\n\n", valid_card(request))),
        _ => {
            let header = Box::leak(format!("content-type: text/{}\r\n", "x".repeat(10_000)).into_boxed_str());
            Reply::Raw(200, header, body)
        }
    }
}

/// Returns a response that exceeds a limit.
fn oversized_response(request: &ReceivedRequest<'_>) -> Reply {
    let mut card = valid_card(request);
    match request.case {
        "size-card" => card["description"] = json!("x".repeat(2 * 1024 * 1024)),
        "size-gzip" => {
            return Reply::Raw(200, "content-type: application/json\r\ncontent-encoding: gzip\r\n", GZIP_BOMB.clone());
        }
        "size-endless" => return Reply::Endless("application/json", "{".to_owned(), vec![b' '; 4096]),
        "size-header" => {
            let header = Box::leak(format!("{JSON}x-much: {}\r\n", "x".repeat(2 * 1024 * 1024)).into_boxed_str());
            return Reply::Raw(200, header, b"{}".to_vec());
        }
        "size-shorter" => {
            return Reply::Raw(200, "content-type: application/json\r\ncontent-length: 9000\r\nx: ", b"{".to_vec());
        }
        "size-deep" => {
            let nested_arrays = format!("{{\"name\": {}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
            return Reply::Text(nested_arrays);
        }
        "size-objects" => return Reply::Text(format!("{{\"skills\": [{}{{}}]}}", "{\"a\":1},".repeat(120_000))),
        "size-skills" => card["skills"] = json!(vec![card["skills"][0].clone(); 5000]),
        "size-interfaces" => card["supportedInterfaces"] = json!(vec![card["supportedInterfaces"][0].clone(); 500]),
        _ => card["name"] = json!("n".repeat(100_000)),
    }
    Reply::Json(card)
}

/// Returns a response whose body is not a JSON object.
fn malformed_document(request: &ReceivedRequest<'_>) -> Reply {
    let text = valid_card(request).to_string();
    Reply::Raw(
        200,
        JSON,
        match request.case {
            "document-text" => b"\"canary\"".to_vec(),
            "document-list" => format!("[{text}]").into_bytes(),
            "document-null" => b"null".to_vec(),
            "document-cut" => text[..text.len() / 2].into(),
            "document-not-utf8" => b"{\"name\": \"canary\xff\"}".to_vec(),
            _ => format!("{text}{text}").into_bytes(),
        },
    )
}

/// Returns a card with the flaw of the case.
fn flawed_card(request: &ReceivedRequest<'_>) -> Value {
    let mut card = valid_card(request);
    let own_url = card["supportedInterfaces"][0]["url"].as_str().unwrap().to_owned();
    let mut set_interface_url = |url: Value| card["supportedInterfaces"][0]["url"] = url;
    match request.case {
        "origin-host" => set_interface_url(json!("https://elsewhere.test/canary")),
        "origin-port" => set_interface_url(json!("http://127.0.0.1:1/")),
        "origin-scheme" => set_interface_url(json!(own_url.replace("http://", "https://"))),
        "origin-user" => set_interface_url(json!(own_url.replace("http://", "http://127.0.0.1@elsewhere.test:1/"))),
        "origin-suffix" => set_interface_url(json!("http://127.0.0.1.elsewhere.test/")),
        "origin-second" => {
            let second =
                json!({ "url": "https://elsewhere.test/", "protocolBinding": "GRPC", "protocolVersion": "1.0" });
            card["supportedInterfaces"].as_array_mut().unwrap().push(second);
        }
        "origin-legacy" => card["url"] = json!("https://elsewhere.test/"),
        "origin-additional" => {
            card.as_object_mut().unwrap().remove("supportedInterfaces");
            card["url"] = json!(own_url);
            card["additionalInterfaces"] = json!([{ "url": "https://elsewhere.test/", "transport": "GRPC" }]);
        }
        "url-relative" => set_interface_url(json!("/canary")),
        "url-data" => set_interface_url(json!("data:text/plain,canary")),
        "url-file" => set_interface_url(json!("file:///etc/passwd")),
        "url-empty" => set_interface_url(json!("")),
        "url-number" => set_interface_url(json!(7)),
        "url-long" => set_interface_url(json!(format!("{own_url}{}", "x".repeat(100_000)))),
        "name-control" => card["name"] = json!("red\u{1b}[31m"),
        "name-object" => card["name"] = json!({ "canary": 1 }),
        "skill-id" => card["skills"][0]["id"] = json!(""),
        "skill-tags" => card["skills"][0]["tags"] = json!(["a", 1]),
        "skill-text" => card["skills"][0] = json!("canary"),
        field => {
            card.as_object_mut().unwrap().remove(field.strip_prefix("field-").unwrap());
        }
    }
    card
}
