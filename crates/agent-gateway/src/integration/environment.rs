use std::env;
use std::ffi::OsString;

use async_trait::async_trait;

use super::document::{self, Document};
use crate::credentials::{CredentialError, CredentialSource, Credentials};
use crate::server::{DirectoryError, Server, ServerDirectory};

pub(super) const CLIENT_ID: &str = "INTEGRATION_CLIENT_ID";
const TOKEN_URL: &str = "INTEGRATION_AUTH_URL";
const GATEWAY_URL: &str = "INTEGRATION_GATEWAY_URL";
const DEPENDENCIES: &str = "INTEGRATION_DEPENDENCIES";
/// The location of the variables, in errors.
const LOCATION: &str = "the environment";

/// Credentials and servers in environment variables, for agents behind a sidecar that provides mutual TLS:
///
/// | variable | meaning |
/// |---|---|
/// | `INTEGRATION_CLIENT_ID` | the client id |
/// | `INTEGRATION_AUTH_URL` | the URL of the token endpoint |
/// | `INTEGRATION_GATEWAY_URL` | the base URL of the gateway |
/// | `INTEGRATION_DEPENDENCIES` | a list of servers in JSON, each with its `ordId` and `globalTenantId` |
#[derive(Clone, Debug)]
pub struct Environment {
    credentials: Credentials,
    servers: Vec<Server>,
}

impl Environment {
    /// Reads the environment variables.
    ///
    /// # Errors
    ///
    /// A variable is not set or not valid; the error names it.
    pub fn read() -> Result<Self, CredentialError> {
        Self::from_variables(|name| env::var_os(name))
    }

    /// Returns true if the variable with the client id is set.
    pub(crate) fn is_configured() -> bool {
        env::var_os(CLIENT_ID).is_some_and(|name| !name.is_empty())
    }

    /// Reads the variables with `variable`, which returns the value of a variable.
    pub(crate) fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, CredentialError> {
        let text = |name: &'static str| {
            let text = variable(name).and_then(|text| text.into_string().ok()).filter(|text| !text.trim().is_empty());
            text.ok_or(CredentialError::variable(name))
        };
        let url = |name: &'static str| document::url(LOCATION, name, &text(name)?);
        let credentials = super::credentials(url(TOKEN_URL)?, &text(CLIENT_ID)?).with_gateway_url(url(GATEWAY_URL)?);
        let dependencies = Document::parse(format!("the variable {DEPENDENCIES}"), text(DEPENDENCIES)?.as_bytes())?;
        let servers = document::servers(LOCATION, DEPENDENCIES, Some(dependencies.value()), &url(GATEWAY_URL)?)?;
        Ok(Self { credentials, servers })
    }
}

#[async_trait]
impl CredentialSource for Environment {
    async fn credentials(&self) -> Result<Credentials, CredentialError> {
        Ok(self.credentials.clone())
    }
}

#[async_trait]
impl ServerDirectory for Environment {
    async fn servers(&self) -> Result<Vec<Server>, DirectoryError> {
        Ok(self.servers.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads an environment with these variables.
    fn read(variables: &[(&str, &str)]) -> Result<Environment, CredentialError> {
        let variable = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into());
        Environment::from_variables(variable)
    }

    const VALID_VARIABLES: [(&str, &str); 4] = [
        (CLIENT_ID, "client-1"),
        (TOKEN_URL, "https://tokens.test/oauth2/token"),
        (GATEWAY_URL, "https://gateway.test"),
        (DEPENDENCIES, r#"[{ "ordId": "orders", "globalTenantId": "1" }]"#),
    ];

    #[test]
    fn environment_contains_client_and_servers() {
        let environment = read(&VALID_VARIABLES).unwrap();
        assert_eq!(environment.servers[0].url().as_str(), "https://gateway.test/v1/mcp/orders/1");
        let token_url = "https://tokens.test/oauth2/token".parse().unwrap();
        let expected = crate::integration::credentials(token_url, "client-1");
        assert_eq!(environment.credentials, expected.with_gateway_url("https://gateway.test".parse().unwrap()));
    }

    #[test]
    fn missing_or_invalid_variable_is_named() {
        for name in [CLIENT_ID, TOKEN_URL, GATEWAY_URL, DEPENDENCIES] {
            let others: Vec<_> = VALID_VARIABLES.into_iter().filter(|(known, _)| *known != name).collect();
            assert!(read(&others).unwrap_err().to_string().contains(name));
            for value in [" ", "no", r#"{ "ordId": "canary" }"#, r#"[{ "ordId": "canary" }]"#] {
                let mut variables = others.clone();
                variables.push((name, value));
                match read(&variables) {
                    Ok(_) => assert_eq!(name, CLIENT_ID),
                    Err(error) => {
                        let message = error.to_string();
                        assert!(message.contains(name) && !message.contains("canary"), "{message}");
                    }
                }
            }
        }
        let mut without_ord_id = VALID_VARIABLES;
        without_ord_id[3].1 = r#"[{ "globalTenantId": "1" }]"#;
        assert!(
            read(&without_ord_id)
                .unwrap_err()
                .to_string()
                .contains("`INTEGRATION_DEPENDENCIES[0].ordId` in the environment")
        );
    }
}
