use std::time::{Duration, SystemTime};

use platform_api::JsonValue;
use serde_json::json;

use super::Identity;

/// The members that are not secret. All other members, including new ones, are masked.
const UNMASKED_MEMBERS: [&str; 19] = [
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

impl Identity {
    /// Returns the identity as JSON without secrets: every text that may be a secret is replaced by
    /// `***MASKED(length)***`.
    pub fn describe(&self) -> JsonValue {
        mask_members(self.describe_with_secrets())
    }

    /// Returns the identity as JSON. It contains live credentials.
    pub fn describe_with_secrets(&self) -> JsonValue {
        let unix_seconds = |time: Option<SystemTime>| {
            time.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok()).as_ref().map(Duration::as_secs)
        };
        let (user, organization) = (&self.me.user, &self.me.organization);
        let (claims, credential) = (self.claims.as_ref(), &self.credential);
        let role = claims.map(|claims| &claims.role);
        json!({
            "role": role,
            "credential": {
                "source": credential.source.kind(),
                "name": credential.name,
                "level": credential.name.as_ref().map(|_| credential.level.to_string()),
            },
            "token": {
                "issuer": claims.map(|claims| &claims.issuer),
                "issued_at": claims.and_then(|claims| unix_seconds(claims.issued_at)),
                "expires_at": claims.and_then(|claims| unix_seconds(claims.expires_at)),
                "scope": claims.map(|claims| &claims.scopes),
                "audience": claims.map(|claims| [&claims.audience]),
                "authorized_party": claims.and_then(|claims| claims.client_id.as_ref()),
                "org_id": claims.and_then(|claims| claims.organization_id.as_ref()),
                "role": role,
            },
            "user": {
                "id": user.id,
                "email": user.email,
                "email_verified": user.email_verified,
                "name": user.name,
                "given_name": user.given_name,
                "family_name": user.family_name,
                "nickname": user.nickname,
                "picture": user.picture,
                "updated_at": user.updated_at.as_ref().map(ToString::to_string),
            },
            "organization": {
                "id": organization.id,
                "name": organization.name,
                "display_name": organization.display_name,
                "aignostics_bucket_hmac_access_key_id": organization.aignostics_bucket_hmac_access_key_id,
                "aignostics_bucket_hmac_secret_access_key":
                    organization.aignostics_bucket_hmac_secret_access_key.expose(),
                "aignostics_bucket_name": organization.aignostics_bucket_name,
                "aignostics_bucket_protocol": organization.aignostics_bucket_protocol,
                "aignostics_logfire_token": organization.aignostics_logfire_token.expose(),
                "aignostics_sentry_dsn": organization.aignostics_sentry_dsn.expose(),
            },
        })
    }
}

/// Replaces every text under an unknown name with `***MASKED(length)***`.
fn mask_members(value: JsonValue) -> JsonValue {
    let JsonValue::Object(members) = value else { return value };
    let members = members.into_iter().map(|(name, value)| {
        let is_unmasked = value.is_object() || UNMASKED_MEMBERS.contains(&name.as_str());
        (name, if is_unmasked { mask_members(value) } else { mask_value(value) })
    });
    JsonValue::Object(members.collect())
}

fn mask_value(value: JsonValue) -> JsonValue {
    match value {
        JsonValue::String(text) if !text.is_empty() => format!("***MASKED({})***", text.chars().count()).into(),
        JsonValue::Array(values) => values.into_iter().map(mask_value).collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_masked_unless_known_to_be_harmless() {
        let identity = json!({
            "role": "admin", "surprise": "canary", "list": ["canary"],
            "organization": { "id": "org", "aignostics_bucket_hmac_secret_access_key": "canary", "empty": "", "none": null },
        });
        assert_eq!(
            mask_members(identity),
            json!({
                "role": "admin", "surprise": "***MASKED(6)***", "list": ["***MASKED(6)***"],
                "organization": { "id": "org", "aignostics_bucket_hmac_secret_access_key": "***MASKED(6)***", "empty": "", "none": null },
            })
        );
    }
}
