//! Tokens in the forms that other tools read from a command.

use std::time::SystemTime;

use auth_core::AccessToken;
use jiff::Timestamp;
use serde_json::{Value, json};

/// A form in which a command prints a token for another tool. [`CommandProvider`](super::CommandProvider) reads each
/// form.
///
/// ```
/// use auth_core::{AccessToken, Secret};
/// use auth_oauth::PrintedToken;
///
/// let token = AccessToken::new(Secret::new("token"))?;
/// let value = PrintedToken::ExecCredential.value(&token);
/// assert_eq!(value["status"]["token"], "token");
/// # Ok::<(), auth_core::TokenError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PrintedToken {
    /// The response of a token endpoint, with the expiry as a time.
    Response,
    /// The `ExecCredential` of kubectl (`client.authentication.k8s.io/v1`).
    ExecCredential,
    /// Google's executable-sourced credentials, version 1.
    Google,
    /// The output of a `credential_process` of AWS tools, version 1. The token is the session token. The tools also
    /// require an access key id, which is the value of this variant.
    Aws(&'static str),
}

impl PrintedToken {
    /// Returns the token in this form. The value is secret. If the expiry is unknown, it is `null` in
    /// [`Response`](Self::Response), and the other forms omit it.
    pub fn value(self, token: &AccessToken) -> Value {
        let secret = token.secret().expose();
        let (mut value, parent_pointer, expiry_member) = match self {
            Self::Response => {
                return json!({
                    "access_token": secret,
                    "token_type": token.token_type(),
                    "expires_at": expiry_rfc3339(token),
                    "scopes": token.scopes().collect::<Vec<_>>(),
                });
            }
            Self::ExecCredential => {
                let value = json!({
                    "apiVersion": "client.authentication.k8s.io/v1",
                    "kind": "ExecCredential",
                    "status": { "token": secret },
                });
                (value, "/status", ("expirationTimestamp", expiry_rfc3339(token).map(Value::from)))
            }
            Self::Google => {
                let value = json!({
                    "version": 1,
                    "success": true,
                    "token_type": "urn:ietf:params:oauth:token-type:jwt",
                    "id_token": secret,
                });
                (value, "", ("expiration_time", expiry_seconds(token).map(Value::from)))
            }
            Self::Aws(id) => {
                let value = json!({
                    "Version": 1,
                    "AccessKeyId": id,
                    "SecretAccessKey": "unused",
                    "SessionToken": secret,
                });
                (value, "", ("Expiration", expiry_rfc3339(token).map(Value::from)))
            }
        };
        if let ((name, Some(time)), Some(Value::Object(members))) = (expiry_member, value.pointer_mut(parent_pointer)) {
            members.insert(name.to_owned(), time);
        }
        value
    }
}

/// Returns the specified expiry of a token (RFC 3339).
fn expiry_rfc3339(token: &AccessToken) -> Option<String> {
    Some(Timestamp::from_second(expiry_seconds(token)?).ok()?.to_string())
}

/// Returns the specified expiry of a token in seconds since 1970.
fn expiry_seconds(token: &AccessToken) -> Option<i64> {
    let since_epoch = token.specified_expiry()?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    i64::try_from(since_epoch.as_secs()).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use auth_core::Secret;

    use super::super::output;
    use super::*;
    use crate::external::error::Origin;

    #[test]
    fn command_provider_reads_every_form() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let token = AccessToken::new(Secret::new("text")).unwrap().with_expires_at(now + Duration::from_secs(60));
        for form in
            [PrintedToken::Response, PrintedToken::ExecCredential, PrintedToken::Google, PrintedToken::Aws("unused")]
        {
            let output_text = form.value(&token).to_string();
            let parsed_token = output::parse_token(&Origin::new("token command", "x"), output_text.as_bytes(), now);
            let parsed_token = parsed_token.unwrap_or_else(|error| panic!("{form:?}: {error}"));
            assert_eq!(
                (parsed_token.secret().expose(), parsed_token.specified_expiry()),
                ("text", token.specified_expiry()),
                "{form:?}"
            );
        }
    }

    #[test]
    fn unknown_expiry_is_left_out_of_the_forms_of_tools() {
        let token = AccessToken::new(Secret::new("text")).unwrap();
        assert_eq!(PrintedToken::ExecCredential.value(&token)["status"], json!({ "token": "text" }));
        assert_eq!(PrintedToken::Google.value(&token).get("expiration_time"), None);
        assert_eq!(PrintedToken::Response.value(&token)["expires_at"], Value::Null);
    }
}
