//! Parsing of the output of a token command.

use std::time::{Duration, SystemTime};

use auth_core::{AccessToken, lenient_seconds};
use serde_json::Value;

use crate::exchange::sanitized;
use crate::external::error::{CredentialError, Origin};
use crate::external::text::token_from_text;

const REMEDY: &str = "it must print a token, or JSON in one of the documented forms";
/// The JSON members that may contain the token, in order of precedence.
const TOKEN_MEMBERS: [&str; 4] = ["access_token", "accessToken", "id_token", "token"];
/// The JSON members that may contain the expiry, in order of precedence.
const EXPIRY_MEMBERS: [&str; 5] = ["expires_at", "expiration_time", "expires_on", "expiration", "expirationTimestamp"];

/// Returns the token in the output of the program.
pub(super) fn parse_token(origin: &Origin, stdout: &[u8], now: SystemTime) -> Result<AccessToken, CredentialError> {
    let text = std::str::from_utf8(stdout).map_err(|_| origin.unusable("its output is not text", REMEDY))?.trim();
    if text.is_empty() {
        return Err(origin.unusable("it printed nothing", REMEDY));
    }
    if !text.starts_with('{') {
        return token_from_text(origin, text, now, None);
    }
    let json: Value =
        serde_json::from_str(text).map_err(|_| origin.unusable("its output is not valid JSON", REMEDY))?;
    let (token, expiry) = if json["kind"] == "ExecCredential" {
        exec_credential(origin, &json)?
    } else if json["success"].is_boolean() {
        executable_sourced(origin, &json)?
    } else if !json["Version"].is_null() {
        credential_process(origin, &json)?
    } else {
        token_response(&json)
    };
    let token = token.ok_or_else(|| origin.unusable("its JSON contains no token", REMEDY))?;
    let token = token_from_text(origin, token, now, None)?;
    let expiry = match expiry {
        None => json.get("expires_in").and_then(|seconds| now.checked_add(parse_duration(seconds)?)),
        Some(expiry) => {
            Some(parse_time(expiry).ok_or_else(|| origin.unusable("the expiry in its JSON is not a time", REMEDY))?)
        }
    };
    Ok(expiry.into_iter().fold(token, AccessToken::with_expires_at))
}

/// The token and its expiry in JSON, if they are present.
type TokenAndExpiry<'a> = (Option<&'a str>, Option<&'a Value>);

/// Reads an `ExecCredential` of `client.authentication.k8s.io`, of any version.
fn exec_credential<'a>(origin: &Origin, json: &'a Value) -> Result<TokenAndExpiry<'a>, CredentialError> {
    let version = json["apiVersion"].as_str().unwrap_or_default();
    if !version.starts_with("client.authentication.k8s.io/") {
        let reason = format!("its ExecCredential has the unknown apiVersion '{}'", sanitized(version));
        return Err(origin.unusable(reason, REMEDY));
    }
    let status = &json["status"];
    Ok((status["token"].as_str(), non_null(&status["expirationTimestamp"])))
}

/// Reads the response of an executable of Google's workload identity federation, version 1.
fn executable_sourced<'a>(origin: &Origin, json: &'a Value) -> Result<TokenAndExpiry<'a>, CredentialError> {
    if json["success"] == false {
        let code = json["code"].as_str().map_or_else(|| json["code"].to_string(), sanitized);
        let message = super::message::redacted_message(json["message"].as_str().unwrap_or_default());
        return Err(
            origin.refused(format!("it reports the error {code}: {message}"), "correct the cause that it reports")
        );
    }
    if json["version"] != 1 {
        return Err(origin.unusable("the version of its JSON is not 1", REMEDY));
    }
    let token = ["id_token", "access_token"].iter().find_map(|name| json[name].as_str());
    Ok((token, non_null(&json["expiration_time"])))
}

/// Reads the output of a `credential_process` of AWS tools, version 1. The token is the session token.
fn credential_process<'a>(origin: &Origin, json: &'a Value) -> Result<TokenAndExpiry<'a>, CredentialError> {
    if json["Version"] != 1 {
        return Err(origin.unusable("the Version of its JSON is not 1", REMEDY));
    }
    Ok((json["SessionToken"].as_str(), non_null(&json["Expiration"])))
}

/// Reads a token response (RFC 6749, section 5.1), or similar JSON.
fn token_response(json: &Value) -> TokenAndExpiry<'_> {
    let token = TOKEN_MEMBERS.iter().find_map(|name| json[name].as_str());
    (token, EXPIRY_MEMBERS.iter().find_map(|name| non_null(&json[name])))
}

fn non_null(value: &Value) -> Option<&Value> {
    (!value.is_null()).then_some(value)
}

/// Parses a time, which is given in seconds since 1970 or in RFC 3339.
fn parse_time(value: &Value) -> Option<SystemTime> {
    if let Some(since_epoch) = parse_duration(value) {
        return SystemTime::UNIX_EPOCH.checked_add(since_epoch);
    }
    Some(SystemTime::from(value.as_str()?.parse::<jiff::Timestamp>().ok()?))
}

fn parse_duration(value: &Value) -> Option<Duration> {
    Duration::try_from_secs_f64(lenient_seconds(value)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<AccessToken, CredentialError> {
        parse_token(
            &Origin::new("token command", "x"),
            text.as_bytes(),
            SystemTime::UNIX_EPOCH + Duration::from_secs(1000),
        )
    }

    #[test]
    fn all_documented_formats_are_read() {
        let exec = r#"{"apiVersion":"client.authentication.k8s.io/v1beta1","kind":"ExecCredential",
            "status":{"token":"t","expirationTimestamp":"1970-01-01T01:00:00Z"}}"#;
        let google = r#"{"version":1,"success":true,"token_type":"urn:ietf:params:oauth:token-type:id_token",
            "id_token":"t","expiration_time":3600}"#;
        let aws = r#"{"Version":1,"AccessKeyId":"a","SecretAccessKey":"s","SessionToken":"t",
            "Expiration":"1970-01-01T02:00:00+01:00"}"#;
        for text in [
            exec,
            google,
            aws,
            r#"{"access_token":"t","expires_in":2600}"#,
            r#"{"access_token":"t","expires_in":"2600"}"#,
            r#"{"accessToken":"t","expires_on":3600}"#,
            r#"{"token":"t","expires_at":"1970-01-01T01:00:00Z"}"#,
        ] {
            let token = parse(text).unwrap();
            assert_eq!(token.secret().expose(), "t");
            assert_eq!(token.expires_at(), Some(SystemTime::UNIX_EPOCH + Duration::from_secs(3600)), "{text}");
        }
        assert_eq!(parse(" t\n").unwrap().expires_at(), None);
        assert_eq!(parse(r#"{"access_token":"t"}"#).unwrap().expires_at(), None);
    }

    #[test]
    fn other_output_is_an_error_that_does_not_contain_it() {
        for (text, expected) in [
            ("", "printed nothing"),
            ("<html>canary</html>", "HTML"),
            ("canary canary", "cannot be used"),
            ("{canary", "not valid JSON"),
            (r#"{"canary":1}"#, "contains no token"),
            (r#"{"kind":"ExecCredential","apiVersion":"v2","status":{"token":"canary"}}"#, "unknown apiVersion 'v2'"),
            (r#"{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1"}"#, "contains no token"),
            (r#"{"success":true,"version":2,"id_token":"canary"}"#, "version of its JSON is not 1"),
            (r#"{"Version":2,"SessionToken":"canary"}"#, "Version of its JSON is not 1"),
            (r#"{"access_token":"canary","expires_at":"tomorrow"}"#, "expiry in its JSON is not a time"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.to_string().contains(expected) && !format!("{error:?}").contains("canary"), "{error}");
        }
        assert!(parse_token(&Origin::new("token command", "x"), b"\xff", SystemTime::UNIX_EPOCH).is_err());
        let refused = parse(r#"{"success":false,"version":1,"code":"401","message":"no\nbody"}"#).unwrap_err();
        assert!(refused.is_refused() && refused.to_string().contains("error 401: no / body"), "{refused}");
    }
}
