//! A filter for results: no signed URL and no credential leaves the server.

use serde_json::Value;

/// The replacement of a text that grants access to something.
const REMOVED: &str = "(removed: it grants access)";
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
/// Parts of the query of a signed URL.
const SIGNED: [&str; 6] = ["signature=", "x-goog-", "x-amz-", "sig=", "token=", "credential="];

/// Removes all texts that grant access to something.
pub(crate) fn cleaned(mut value: Value) -> Value {
    clean(&mut value);
    value
}

fn clean(value: &mut Value) {
    match value {
        Value::String(text) => *text = clean_text(text),
        Value::Array(values) => values.iter_mut().for_each(clean),
        Value::Object(members) => {
            members.retain(|name, _| !SECRET_MEMBERS.contains(&name.as_str()));
            members.values_mut().for_each(clean);
        }
        _ => {}
    }
}

/// Returns a text without the URLs and tokens in it.
pub(crate) fn clean_text(text: &str) -> String {
    let is_secret = |word: &str| {
        let lower = word.to_ascii_lowercase();
        let is_signed = lower.contains("://") && lower.contains('?') && SIGNED.iter().any(|part| lower.contains(part));
        // The beginning of a JWT: `{"` in base64. It may follow a name, such as `token=`.
        let is_jwt = |(at, _)| word.len() - at > 40 && word[at..].matches('.').count() >= 2;
        is_signed || word.match_indices("eyJ").any(is_jwt)
    };
    let separates = |character: char| character.is_whitespace() || matches!(character, '"' | '\'' | '<' | '>' | '`');
    if !text.split(separates).any(is_secret) {
        return text.to_owned();
    }
    text.split_inclusive(separates)
        .map(|part| {
            let word = part.trim_end_matches(separates);
            if is_secret(word) { part.replacen(word, REMOVED, 1) } else { part.to_owned() }
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
        let cleaned = cleaned(value).to_string();
        assert!(!cleaned.contains("canary") && cleaned.contains("https://docs.test/page?x=1"), "{cleaned}");
        assert!(cleaned.contains("see (removed") && cleaned.contains("\"name\":\"a\""), "{cleaned}");
    }
}
