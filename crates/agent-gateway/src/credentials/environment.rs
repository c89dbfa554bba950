use std::env;
use std::ffi::OsString;

use async_trait::async_trait;

use super::document::{self, Document};
use super::{CredentialError, CredentialSource, Credentials};
use crate::{DirectoryError, Server, ServerDirectory};

pub(super) const CLIENT_ID: &str = "INTEGRATION_CLIENT_ID";
const TOKEN_URL: &str = "INTEGRATION_AUTH_URL";
const GATEWAY_URL: &str = "INTEGRATION_GATEWAY_URL";
const DEPENDENCIES: &str = "INTEGRATION_DEPENDENCIES";

/// Credentials and servers in the environment, where what stands before the agent does the mutual TLS for it:
///
/// | variable | what it is |
/// |---|---|
/// | `INTEGRATION_CLIENT_ID` | the client |
/// | `INTEGRATION_AUTH_URL` | the token endpoint |
/// | `INTEGRATION_GATEWAY_URL` | the gateway |
/// | `INTEGRATION_DEPENDENCIES` | a list of servers in JSON, each with its `ordId` and `globalTenantId` |
#[derive(Clone, Debug)]
pub struct Environment {
    credentials: Credentials,
    servers: Vec<Server>,
}

impl Environment {
    /// What the environment says now.
    ///
    /// # Errors
    ///
    /// A variable is not set, or is not what it must be; the error names it.
    pub fn read() -> Result<Self, CredentialError> {
        Self::of(|name| env::var_os(name))
    }

    /// Whether it names a client.
    pub(crate) fn is_there() -> bool {
        env::var_os(CLIENT_ID).is_some_and(|name| !name.is_empty())
    }

    /// The same in another environment.
    pub(crate) fn of(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, CredentialError> {
        let text = |name: &'static str| {
            let text = variable(name).and_then(|text| text.into_string().ok()).filter(|text| !text.trim().is_empty());
            text.ok_or(CredentialError::variable(name))
        };
        let url = |name: &'static str| document::url("the environment", name, &text(name)?);
        let credentials = Credentials::new(url(TOKEN_URL)?, text(CLIENT_ID)?);
        let dependencies = Document::parse(format!("the variable {DEPENDENCIES}"), &text(DEPENDENCIES)?)?;
        Ok(Self { credentials, servers: dependencies.servers(None, &url(GATEWAY_URL)?)? })
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
