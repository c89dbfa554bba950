//! Signed policies of forms, which restrict the fields and the size of an upload.

use std::collections::{BTreeMap, HashMap};
use std::time::SystemTime;

use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::Deserialize;

use super::StorageError;
use super::length_range::LengthRange;
use super::signature::{MAX_CLOCK_SKEW, SCHEMES, Scheme, check_owner};
use crate::platform::Platform;

/// The fields of a form, by their names in lower case.
pub(super) type Fields = BTreeMap<String, String>;

#[derive(Deserialize)]
struct Policy {
    expiration: Timestamp,
    conditions: Vec<Condition>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Condition {
    /// Field names with their exact values.
    Equal(HashMap<String, String>),
    /// The operator, the field name with a leading `$`, and the value.
    Matches(String, String, String),
    /// `content-length-range`, and the minimum and maximum number of bytes.
    Length(String, u64, u64),
}

/// Checks the signature and the conditions of the policy, and returns the permitted sizes of the file.
pub(super) fn verify_policy(platform: &Platform, bucket: &str, fields: &Fields) -> Result<LengthRange, StorageError> {
    let field = |name: &str| fields.get(name).map(String::as_str);
    let parameter_name = |scheme: &Scheme, name: &str| format!("{}{name}", scheme.parameters.to_ascii_lowercase());
    let algorithm = SCHEMES.iter().find_map(|scheme| field(&parameter_name(scheme, "algorithm")));
    let scheme = algorithm.and_then(Scheme::find);
    let scheme = scheme.ok_or_else(|| StorageError::denied("the form does not name a known signature algorithm"))?;
    let required = |name: &str| {
        let name = parameter_name(scheme, name);
        field(&name).ok_or_else(|| StorageError::denied(format!("{name} is missing")))
    };
    let encoded_policy = field("policy").ok_or_else(|| StorageError::denied("the form has no policy"))?;
    let signature = hex::decode(required("signature")?).unwrap_or_default();
    let string_to_sign = |_: &str| encoded_policy.to_owned();
    let (owner, start) =
        scheme.signer(platform, required("credential")?, required("date")?, &signature, string_to_sign)?;
    check_owner(platform, owner, bucket)?;
    let policy = STANDARD.decode(encoded_policy).ok().and_then(|policy| serde_json::from_slice::<Policy>(&policy).ok());
    let policy =
        policy.ok_or_else(|| StorageError::new(StatusCode::BAD_REQUEST, "InvalidPolicyDocument", "invalid policy"))?;
    let now = platform.now();
    if now + MAX_CLOCK_SKEW < start || SystemTime::from(policy.expiration) <= now {
        return Err(StorageError::denied("the policy has expired or is not valid yet"));
    }
    policy.check(scheme, fields)
}

impl Policy {
    /// Checks the fields against the conditions. Each field must have a condition. Returns the permitted sizes of the
    /// file.
    fn check(&self, scheme: &Scheme, fields: &Fields) -> Result<LengthRange, StorageError> {
        let field = |name: &str| fields.get(&name.to_ascii_lowercase()).map_or("", String::as_str);
        let unsupported =
            |kind: &str| StorageError::not_implemented(format!("the condition `{kind}` is not supported"));
        let violation = |name: &str| StorageError::denied(format!("the policy does not permit this value of `{name}`"));
        let (mut covered_fields, mut range) = (Vec::new(), LengthRange::unlimited());
        for condition in &self.conditions {
            match condition {
                Condition::Equal(values) => {
                    for (name, value) in values {
                        if field(name) != value {
                            return Err(violation(name));
                        }
                        covered_fields.push(name.to_ascii_lowercase());
                    }
                }
                Condition::Matches(kind, name, value) => {
                    let name = name.strip_prefix('$').unwrap_or(name);
                    let is_match = match kind.as_str() {
                        "eq" => field(name) == value,
                        "starts-with" => field(name).starts_with(value.as_str()),
                        _ => return Err(unsupported(kind)),
                    };
                    if !is_match {
                        return Err(violation(name));
                    }
                    covered_fields.push(name.to_ascii_lowercase());
                }
                Condition::Length(kind, minimum, maximum) if kind == "content-length-range" => {
                    range = range.intersect(*minimum, *maximum);
                }
                Condition::Length(kind, ..) => return Err(unsupported(kind)),
            }
        }
        let signature = format!("{}signature", scheme.parameters.to_ascii_lowercase());
        let is_exempt =
            |name: &str| matches!(name, "policy" | "bucket") || name == signature || name.starts_with("x-ignore-");
        match fields.keys().find(|name| !is_exempt(name) && !covered_fields.contains(name)) {
            Some(name) => Err(StorageError::denied(format!("the policy has no condition for the field `{name}`"))),
            None => Ok(range),
        }
    }
}
