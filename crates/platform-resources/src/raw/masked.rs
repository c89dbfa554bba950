//! Masking of responses.

use auth_core::redacted;
use serde_json::Value;
use url::Url;

/// The fields that the platform's document declares as secret (`x-sdk-secret`).
const SECRETS: [&str; 4] =
    ["aignostics_bucket_hmac_secret_access_key", "aignostics_logfire_token", "aignostics_sentry_dsn", "share_token"];

/// Returns JSON with secret fields and the queries of URLs masked.
pub(super) fn json(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let members = members.into_iter().map(|(name, value)| match value {
                Value::String(text) if SECRETS.contains(&name.as_str()) && !text.is_empty() => {
                    (name, Value::String(format!("***MASKED({})***", text.chars().count())))
                }
                value => (name, json(value)),
            });
            Value::Object(members.collect())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(json).collect()),
        Value::String(text) => Value::String(url(text)),
        other => other,
    }
}

/// Returns the value of a header with the queries of URLs and cookies masked.
pub(super) fn header(name: &str, value: &str) -> String {
    if ["set-cookie", "www-authenticate"].iter().any(|secret| name.eq_ignore_ascii_case(secret)) {
        return "***".to_owned();
    }
    url(value.to_owned())
}

/// Returns a text, without the query, the user and the password if it is a URL.
fn url(text: String) -> String {
    match Url::parse(&text) {
        Ok(url)
            if ["http", "https"].contains(&url.scheme()) && (url.query().is_some() || !url.username().is_empty()) =>
        {
            redacted(&url).to_string()
        }
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json as value;

    use super::*;

    #[test]
    fn secrets_and_signatures_are_masked_everywhere() {
        let answer =
            value!({ "items": [{ "download_url": "https://s.test/a?X-Sig=canary", "share_token": "canary", "n": 1 }] });
        assert_eq!(
            json(answer),
            value!({ "items": [{ "download_url": "https://s.test/a?***", "share_token": "***MASKED(6)***", "n": 1 }] })
        );
        assert_eq!(header("Location", "https://u:canary@s.test/a?canary"), "https://s.test/a?***");
        assert_eq!(header("Set-Cookie", "canary"), "***");
    }

    #[test]
    fn every_secret_field_of_the_document_is_masked() {
        let document: Value = serde_json::from_str(include_str!("../../../../openapi/platform.json")).unwrap();
        let mut declared = BTreeSet::new();
        for schema in document["components"]["schemas"].as_object().unwrap().values() {
            let properties = schema["properties"].as_object().into_iter().flatten();
            let secret = properties.filter(|(_, property)| property["x-sdk-secret"] == true);
            // A URL is shown without its query.
            declared.extend(secret.filter(|(_, property)| property["format"] != "uri").map(|(name, _)| name.as_str()));
        }
        assert_eq!(declared, BTreeSet::from(SECRETS));
    }
}
