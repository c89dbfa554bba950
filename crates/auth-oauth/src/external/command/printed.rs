//! Tokens in the forms that other tools read from a command.

use std::time::SystemTime;

use auth_core::AccessToken;
use jiff::Timestamp;
use serde_json::{Value, json};

/// A form in which a command prints a token for another tool. [`CommandProvider`](super::CommandProvider) reads all of them.
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
    /// The response of a token endpoint, with the time of expiry.
    Response,
    /// The `ExecCredential` of kubectl (`client.authentication.k8s.io/v1`).
    ExecCredential,
    /// Google's executable-sourced credentials, version 1.
    Google,
    /// The output of a `credential_process` of AWS tools, version 1: the token as session token, with this access key id,
    /// which the tools require.
    Aws(&'static str),
}

impl PrintedToken {
    /// Returns the token in this form, which is a secret. An unknown expiry is left out of the forms of tools, because it
    /// would be a guess.
    pub fn value(self, token: &AccessToken) -> Value {
        let text = token.secret().expose();
        let (mut value, path, end) = match self {
            Self::Response => {
                return json!({
                    "access_token": text,
                    "token_type": token.token_type(),
                    "expires_at": moment(token),
                    "scopes": token.scopes().collect::<Vec<_>>(),
                });
            }
            Self::ExecCredential => {
                let value = json!({
                    "apiVersion": "client.authentication.k8s.io/v1",
                    "kind": "ExecCredential",
                    "status": { "token": text },
                });
                (value, "/status", ("expirationTimestamp", moment(token).map(Value::from)))
            }
            Self::Google => {
                let value = json!({
                    "version": 1,
                    "success": true,
                    "token_type": "urn:ietf:params:oauth:token-type:jwt",
                    "id_token": text,
                });
                (value, "", ("expiration_time", seconds(token).map(Value::from)))
            }
            Self::Aws(id) => {
                let value = json!({
                    "Version": 1,
                    "AccessKeyId": id,
                    "SecretAccessKey": "unused",
                    "SessionToken": text,
                });
                (value, "", ("Expiration", moment(token).map(Value::from)))
            }
        };
        if let ((name, Some(end)), Some(Value::Object(members))) = (end, value.pointer_mut(path)) {
            members.insert(name.to_owned(), end);
        }
        value
    }
}

/// Returns the stated expiry of a token (RFC 3339).
fn moment(token: &AccessToken) -> Option<String> {
    Some(Timestamp::from_second(seconds(token)?).ok()?.to_string())
}

/// Returns the stated expiry of a token in seconds since 1970.
fn seconds(token: &AccessToken) -> Option<i64> {
    let since = token.specified_expiry()?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_secs()).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use auth_core::Secret;

    use super::super::output;
    use super::*;
    use crate::external::error::Origin;

    #[test]
    fn every_form_is_read_again() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let token = AccessToken::new(Secret::new("text")).unwrap().with_expires_at(now + Duration::from_secs(60));
        for form in
            [PrintedToken::Response, PrintedToken::ExecCredential, PrintedToken::Google, PrintedToken::Aws("unused")]
        {
            let printed = form.value(&token).to_string();
            let read = output::token(&Origin::new("token command", "x"), printed.as_bytes(), now);
            let read = read.unwrap_or_else(|error| panic!("{form:?}: {error}"));
            assert_eq!(
                (read.secret().expose(), read.specified_expiry()),
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
