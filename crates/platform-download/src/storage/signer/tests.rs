//! Comparison with URLs that were signed by the official libraries. `tests/vectors/make.py` creates these vectors.

use std::time::{Duration, SystemTime};

use platform_testkit::ManualClock;
use serde::Deserialize;

use super::*;

const VECTORS: &str = include_str!("../../../tests/vectors/signed-urls.json");
const ACCOUNT: &str = include_str!("../../../tests/vectors/service-account.json");

#[derive(Deserialize)]
struct Vector {
    signer: String,
    method: String,
    endpoint: String,
    key: String,
    at: u64,
    lifetime: u64,
    headers: Vec<(String, String)>,
    query: Vec<(String, String)>,
    url: String,
}

fn signer(kind: &str, endpoint: &Url, at: u64) -> UrlSigner {
    let clock = Arc::new(ManualClock::new(SystemTime::UNIX_EPOCH + Duration::from_secs(at)));
    match kind {
        "rsa" => UrlSigner::service_account(endpoint, ServiceAccountKey::from_json(ACCOUNT.as_bytes()).unwrap(), clock),
        "hmac" => {
            let secret = Secret::new("a secret that opens nothing");
            UrlSigner::hmac(endpoint, "EUROPE-WEST3", "GOOG1EXAMPLEKEY", &secret, clock)
        }
        other => panic!("{other}"),
    }
    .unwrap()
}

fn method(name: &str) -> Method {
    [Method::Get, Method::Head, Method::Post, Method::Put, Method::Delete]
        .into_iter()
        .find(|method| method.to_string() == name)
        .unwrap()
}

/// Returns the URL without its parameters, and the sorted parameters, because their order has no meaning.
fn path_and_parameters(url: &Url) -> (String, Vec<String>) {
    let mut query: Vec<_> = url.query().unwrap().split('&').map(str::to_owned).collect();
    query.sort();
    (url[..url::Position::AfterPath].to_owned(), query)
}

#[test]
fn signatures_match_the_official_libraries() {
    let vectors: Vec<Vector> = serde_json::from_str(VECTORS).unwrap();
    for kind in ["rsa", "hmac"] {
        assert!(vectors.iter().filter(|vector| vector.signer == kind).count() >= 25, "{kind}");
    }
    for vector in vectors {
        fn sorted_pairs(pairs: &[(String, String)]) -> Vec<(&str, &str)> {
            let mut pairs: Vec<_> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            pairs.sort_unstable();
            pairs
        }
        let request = UnsignedRequest {
            method: method(&vector.method),
            bucket: "slides",
            key: Some(vector.key.as_str()).filter(|key| !key.is_empty()),
            query: &sorted_pairs(&vector.query),
            headers: &sorted_pairs(&vector.headers),
        };
        let signer = signer(&vector.signer, &vector.endpoint.parse().unwrap(), vector.at);
        let url = signer.sign(&request, Duration::from_secs(vector.lifetime)).unwrap();
        assert_eq!(path_and_parameters(url.expose()), path_and_parameters(&vector.url.parse().unwrap()));
    }
}

#[test]
fn lifetime_out_of_range_is_rejected() {
    let object = "gs://slides/slide".parse().unwrap();
    for kind in ["rsa", "hmac"] {
        let signer = signer(kind, &"https://storage.googleapis.com".parse().unwrap(), 1_800_000_000);
        for (seconds, is_valid) in [(59, false), (60, true), (604_800, true), (604_801, false)] {
            let url = signer.get_url(&object, Duration::from_secs(seconds));
            assert_eq!(url.is_ok(), is_valid, "{kind} {seconds} s");
            assert!(url.is_ok() || url.unwrap_err().is_lifetime());
        }
    }
}

#[test]
fn default_lifetime_applies_without_an_explicit_lifetime() {
    let signer = signer("rsa", &"https://storage.googleapis.com".parse().unwrap(), 1_800_000_000);
    let object = "gs://slides/slide".parse().unwrap();
    let lifetime = |url: SignedUrl| {
        let (_, value) = url.expose().query_pairs().find(|(name, _)| name == "X-Goog-Expires").unwrap();
        value.parse::<u64>().unwrap()
    };
    assert_eq!(lifetime(signer.get_url(&object, None).unwrap()), 21_600);
    let signer = signer.with_get_lifetime(Duration::from_secs(61)).with_put_lifetime(Duration::from_secs(62));
    assert_eq!(lifetime(signer.get_url(&object, None).unwrap()), 61);
    assert_eq!(lifetime(signer.put_url(&object, None).unwrap()), 62);
    assert_eq!(lifetime(signer.put_url(&object, Duration::from_secs(63)).unwrap()), 63);
}

#[test]
fn ambiguous_object_address_is_rejected() {
    let unusual = ["gs://slides/folder/", "gs://slides//a", "gs://slides/a//b"];
    for text in ["gs://slides/a", "gs://slides/a b/ü+%2F..~", "s3://s.l-i_des/..a/b.."].into_iter().chain(unusual) {
        assert_eq!(text.parse::<ObjectAddress>().unwrap().to_string(), text);
    }
    for text in [
        "",
        "slides/a",
        "gs:/slides/a",
        "://slides/a",
        "gs://",
        "gs:///a",
        "gs://slides",
        "gs://slides/",
        "gs://../a",
        "gs://slides/..",
        "gs://slides/a/../../b",
        "gs://slides/./a",
        "gs://a@b/c",
        "gs://a?b/c",
        "g s://a/b",
    ] {
        assert!(text.parse::<ObjectAddress>().unwrap_err().is_address(), "{text}");
    }
}

#[test]
fn error_of_an_invalid_key_file_does_not_show_its_content() {
    let account: Map = serde_json::from_str(ACCOUNT).unwrap();
    let pem = account["private_key"].as_str().unwrap();
    let body = pem.lines().nth(3).unwrap();
    let elliptic_pem = rcgen::KeyPair::generate().unwrap().serialize_pem();
    for (field, value, expected_field) in [
        ("type", Some("authorized_user"), Some("type")),
        ("client_email", None, Some("client_email")),
        ("client_email", Some(""), Some("client_email")),
        ("private_key", None, Some("private_key")),
        ("private_key", Some(&pem[..200]), Some("private_key")),
        ("private_key", Some(body), Some("private_key")),
        ("private_key", Some(&elliptic_pem), Some("private_key")),
        ("project_id", Some("anything"), None),
    ] {
        let mut fields = account.clone();
        match value {
            Some(value) => fields.insert(field.to_owned(), value.into()),
            None => fields.remove(field),
        };
        let outcome = ServiceAccountKey::from_json(&serde_json::to_vec(&fields).unwrap());
        let Some(expected_field) = expected_field else {
            assert_eq!(format!("{:?}", outcome.unwrap()), DEBUG_OUTPUT);
            continue;
        };
        let error = outcome.unwrap_err();
        let output = format!("{error} {error:?}");
        assert!(error.field() == Some(expected_field) && error.to_string().contains(expected_field), "{output}");
        assert!(!output.contains(body) && !output.contains(&elliptic_pem[30..60]), "{output}");
    }
    for json in [serde_json::to_string(pem).unwrap(), format!("{{\"private_key\": {body}"), String::new()] {
        let error = ServiceAccountKey::from_json(json.as_bytes()).unwrap_err();
        let output = format!("{error} {error:?}");
        assert!(error.field().is_none() && output.contains("JSON") && !output.contains(&body[..20]), "{output}");
    }
}

type Map = serde_json::Map<String, serde_json::Value>;
const DEBUG_OUTPUT: &str = "ServiceAccountKey { client_email: \"nobody@vectors.iam.gserviceaccount.com\", .. }";

#[test]
fn error_of_a_missing_key_file_names_the_file() {
    let error = ServiceAccountKey::from_file("/nowhere/key.json").unwrap_err();
    assert!(error.to_string().contains("/nowhere/key.json"), "{error}");
    assert!(std::error::Error::source(&error).is_some());
}

#[test]
fn debug_output_of_a_signer_contains_no_key() {
    for kind in ["rsa", "hmac"] {
        let output = format!("{:?}", signer(kind, &"https://storage.googleapis.com".parse().unwrap(), 0));
        assert!(
            !output.contains("opens nothing") && !output.contains("PRIVATE") && output.contains("storage"),
            "{output}"
        );
    }
}
