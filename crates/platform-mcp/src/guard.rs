//! A filter for results: no signed URL and no credential leaves the server.

use serde_json::Value;

/// The replacement for a signed URL or a token.
const REDACTED: &str = "(removed: it grants access)";
/// The members that may contain a URL or a credential that grants access.
const SECRET_MEMBERS: [&str; 8] = [
    "download_url",
    "upload_url",
    "signed_download_url",
    "signed_url",
    "token",
    "access_token",
    "refresh_token",
    "secret",
];
/// Parts of query parameters that occur only in signed URLs, in lower case.
const SIGNATURE_PARAMETERS: [&str; 6] = ["signature=", "x-goog-", "x-amz-", "sig=", "token=", "credential="];

/// Removes the secrets from a result.
pub(crate) fn redact(mut value: Value) -> Value {
    redact_value(&mut value);
    value
}

fn redact_value(value: &mut Value) {
    match value {
        Value::String(text) => *text = redact_text(text),
        Value::Array(values) => values.iter_mut().for_each(redact_value),
        Value::Object(members) => {
            members.retain(|name, _| !SECRET_MEMBERS.contains(&name.as_str()));
            members.values_mut().for_each(redact_value);
        }
        _ => {}
    }
}

/// Replaces the signed URLs and the tokens in a text.
pub(crate) fn redact_text(text: &str) -> String {
    let is_secret = |word: &str| {
        let lower = word.to_ascii_lowercase();
        let is_signed = lower.contains("://")
            && lower.contains('?')
            && SIGNATURE_PARAMETERS.iter().any(|part| lower.contains(part));
        // A JWT begins with `{"` in base64, which is `eyJ`. It may follow a name, such as `token=`.
        let is_jwt = |(start, _)| word.len() - start > 40 && word[start..].matches('.').count() >= 2;
        is_signed || word.match_indices("eyJ").any(is_jwt)
    };
    let is_separator = |character: char| character.is_whitespace() || matches!(character, '"' | '\'' | '<' | '>' | '`');
    if !text.split(is_separator).any(is_secret) {
        return text.to_owned();
    }
    text.split_inclusive(is_separator)
        .map(|part| {
            let word = part.trim_end_matches(is_separator);
            if is_secret(word) { part.replacen(word, REDACTED, 1) } else { part.to_owned() }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn signed_urls_and_credentials_are_removed() {
        let secret = "https://storage.test/bucket/a.tiff?X-Goog-Signature=canary";
        let token = format!("eyJhbGciOiJSUzI1NiJ9.{}.canary", "x".repeat(40));
        let value = json!({
            "text": format!("see {secret} and \"{token}\"."), "named": format!("token={token}, ({token})"), "plain": "https://docs.test/page?x=1",
            "output_artifacts": [{ "name": "a", "download_url": "canary" }],
            "deep": { "token": "canary", "list": [secret] },
        });
        let redacted = redact(value).to_string();
        assert!(!redacted.contains("canary") && redacted.contains("https://docs.test/page?x=1"), "{redacted}");
        assert!(redacted.contains("see (removed") && redacted.contains("\"name\":\"a\""), "{redacted}");
    }
}
