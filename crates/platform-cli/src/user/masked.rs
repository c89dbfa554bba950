//! Masking of identities.

use serde_json::Value;

/// Fields that are not secret. All others, including new ones, are masked.
const SHOWN: [&str; 19] = [
    "role",
    "source",
    "level",
    "issuer",
    "issued_at",
    "expires_at",
    "scope",
    "audience",
    "authorized_party",
    "org_id",
    "id",
    "email_verified",
    "name",
    "given_name",
    "family_name",
    "nickname",
    "display_name",
    "aignostics_bucket_name",
    "aignostics_bucket_protocol",
];

/// Replaces every text under an unknown name with `***MASKED(length)***`.
pub(super) fn masked(value: Value) -> Value {
    match value {
        Value::Object(members) => Value::Object(
            members
                .into_iter()
                .map(|(name, value)| {
                    let value =
                        if value.is_object() || SHOWN.contains(&name.as_str()) { masked(value) } else { hidden(value) };
                    (name, value)
                })
                .collect(),
        ),
        other => other,
    }
}

fn hidden(value: Value) -> Value {
    match value {
        Value::String(text) if !text.is_empty() => Value::String(format!("***MASKED({})***", text.chars().count())),
        Value::Array(values) => Value::Array(values.into_iter().map(hidden).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_masked_unless_known_to_be_harmless() {
        let identity = json!({
            "role": "admin", "surprise": "canary", "list": ["canary"],
            "organization": { "id": "org", "aignostics_bucket_hmac_secret_access_key": "canary", "empty": "", "none": null },
        });
        assert_eq!(
            masked(identity),
            json!({
                "role": "admin", "surprise": "***MASKED(6)***", "list": ["***MASKED(6)***"],
                "organization": { "id": "org", "aignostics_bucket_hmac_secret_access_key": "***MASKED(6)***", "empty": "", "none": null },
            })
        );
    }
}
