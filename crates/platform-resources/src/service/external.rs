//! Credentials other than a login of a user.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use auth_core::{
    AccessToken, AsyncTokenProvider, ExpiryPolicy, TokenError, TokenKey, TokenRequest, TokenSource, error_chain,
};
use auth_http::HttpClientBuilder;
use auth_oauth::{
    AssertionAudience, ClientCredentials, ClientFiles, CommandProvider, CredentialError, EnvToken, FileClient,
    FileToken, FileTokenStore, KnownExpiryStore, OAuthClient, TokenType, WorkloadIdentity, command_line,
};

use super::keys::bound;
use crate::error::BuildError;
use crate::settings::Settings;
use crate::settings::{
    ClientAuthentication, ClientCredential, CredentialSource, WorkloadCredential, WorkloadGrant, WorkloadSource,
};
use url::Url;

/// The variable by which a program learns that a token command started it.
const IN_TOKEN_COMMAND: &str = "AIGNOSTICS_IN_TOKEN_COMMAND";
/// Variables that a token command does not inherit, because it would start itself again.
const COMMAND: &str = "AIGNOSTICS_TOKEN_COMMAND";

/// A provider of tokens other than a login, and the key of its tokens.
#[derive(Clone, Debug)]
pub(super) struct External {
    provider: Arc<dyn AsyncTokenProvider>,
    pub(super) key: TokenKey,
    sharing: Sharing,
}

/// The processes that use a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sharing {
    /// This process: another one reads the same variable or file.
    None,
    /// All processes of the user.
    All,
    /// All processes of the user, if the expiry of the token is known.
    KnownExpiry,
}

/// The connections and the client of the platform's identity provider.
pub(super) struct Connections<'a> {
    pub(super) prepared: &'a HttpClientBuilder,
    /// The client without an id, an authentication and scopes.
    pub(super) client: OAuthClient,
}

impl External {
    /// Returns the provider that the settings name; `None` for logins.
    pub(super) fn of(settings: &Settings, connections: &Connections<'_>) -> Result<Option<Self>, BuildError> {
        let credential = &settings.credential;
        let audience = &settings.audience;
        let key = bound(settings, connections.client.clone().token_key());
        if credential.is_in_token_command
            && matches!(credential.source, CredentialSource::StoredLogin | CredentialSource::TokenCommand(_))
        {
            return Ok(Some(Self { provider: Arc::new(Recursion), key, sharing: Sharing::None }));
        }
        let name = credential.name.as_deref().unwrap_or_default();
        let (provider, sharing): (Arc<dyn AsyncTokenProvider>, _) = match &credential.source {
            CredentialSource::StoredLogin | CredentialSource::RefreshToken(_) => return Ok(None),
            CredentialSource::AccessToken(secret) => {
                let token = EnvToken::of_value(name, Some(secret.clone()));
                (Arc::new(token.with_audience(audience)), Sharing::None)
            }
            CredentialSource::TokenFile(path) => {
                (Arc::new(FileToken::new(path).with_audience(audience)), Sharing::None)
            }
            CredentialSource::TokenCommand(line) => {
                let sharing = if credential.token_cache { Sharing::KnownExpiry } else { Sharing::None };
                (Arc::new(command(settings, line)?.with_audience(audience)), sharing)
            }
            CredentialSource::Client(client) => {
                let provider = Arc::new(machine(settings, connections, client));
                (provider, Sharing::All)
            }
            CredentialSource::Workload(workload) => (exchange(connections, workload)?, Sharing::All),
        };
        let provider = Arc::new(Named { provider, kind: credential.source.kind(), name: name.to_owned() });
        Ok(Some(Self { provider, key, sharing }))
    }

    /// Returns a source of its tokens that are valid for `least` from now. Shared tokens are in `store`.
    pub(super) fn source(&self, store: &FileTokenStore, least: Duration) -> TokenSource {
        let Self { provider, key, .. } = self.clone();
        // Without an identity, a shared token could be that of another principal.
        let sharing = if provider.identity().is_some() { self.sharing } else { Sharing::None };
        let source = match sharing {
            Sharing::None => TokenSource::builder(key, provider),
            Sharing::All => TokenSource::builder(key, provider).with_store(Arc::new(store.clone())),
            Sharing::KnownExpiry => {
                let (store, provider) = KnownExpiryStore::new(store.clone(), provider);
                TokenSource::builder(key, provider).with_store(Arc::new(store))
            }
        };
        #[expect(clippy::expect_used, reason = "the provider names an identity, and the store is cache and lease")]
        source.with_expiry(ExpiryPolicy::default().with_min_remaining(least)).build().expect("the parts fit together")
    }

    /// Calls the provider.
    pub(super) async fn call(&self) -> Result<AccessToken, TokenError> {
        self.provider.fetch(&TokenRequest::default()).await
    }
}

/// Returns the scopes of a machine: those of the settings, except those of user logins.
fn scopes(settings: &Settings) -> impl Iterator<Item = &String> {
    settings.scopes.iter().filter(|scope| !["offline_access", "openid"].contains(&scope.as_str()))
}

fn command(settings: &Settings, line: &str) -> Result<CommandProvider, BuildError> {
    let mut words = command_line(line)?.into_iter();
    let program = words.next().unwrap_or_default();
    let command = CommandProvider::new(program).with_arguments(words);
    let command = command.with_cache_variables(&settings.credential.cache_variables);
    let command = command.without_variables(&settings.credential.secret_variables).without_variables([COMMAND]);
    Ok(command.with_variable(IN_TOKEN_COMMAND, "1"))
}

/// Returns the files with which a client authenticates.
fn files(client: &ClientCredential) -> ClientFiles {
    let files = match &client.authentication {
        ClientAuthentication::Secret(path) => ClientFiles::secret(path),
        ClientAuthentication::PrivateKeyJwt { key, certificate } => {
            certificate.iter().fold(ClientFiles::private_key(key), ClientFiles::with_key_certificate)
        }
        ClientAuthentication::Tls { certificate, key } => ClientFiles::certificate(certificate, key.clone()),
    };
    client.key_id.iter().fold(files, ClientFiles::with_key_id)
}

fn file_client(connections: &Connections<'_>, client: OAuthClient, credential: &ClientCredential) -> FileClient {
    let client = client.for_client(&credential.id);
    let client = if credential.asserts_to_token_endpoint {
        client.with_assertion_audience(AssertionAudience::TokenEndpoint)
    } else {
        client
    };
    FileClient::new(client, connections.prepared.clone(), files(credential))
}

fn machine(
    settings: &Settings,
    connections: &Connections<'_>,
    credential: &ClientCredential,
) -> impl AsyncTokenProvider + use<> {
    let client = connections.client.clone().with_scopes(scopes(settings));
    file_client(connections, client, credential).provider(ClientCredentials::new)
}

fn exchange(
    connections: &Connections<'_>,
    workload: &WorkloadCredential,
) -> Result<Arc<dyn AsyncTokenProvider>, BuildError> {
    // Plain http is for a server on this machine only. Its connections use no proxy.
    let local = |url: &Url| {
        if url.scheme() == "http" {
            connections.prepared.clone().with_plain_loopback()
        } else {
            connections.prepared.clone()
        }
    };
    let identity = match &workload.source {
        WorkloadSource::File(path) => WorkloadIdentity::file(path),
        WorkloadSource::GitHub(url, token) => {
            let parsed = url.as_deref().and_then(|url| url.parse().ok());
            let http = parsed.as_ref().map_or_else(|| connections.prepared.clone(), local).build()?;
            WorkloadIdentity::github_with(http, url.as_deref(), token.clone())
        }
        WorkloadSource::Variable(name, value) => WorkloadIdentity::of_variable(name, value.clone()),
        WorkloadSource::Url(url) => WorkloadIdentity::url(local(url).build()?, url.clone()),
    };
    let identity = workload.audience.iter().fold(identity, WorkloadIdentity::with_audience);
    let kind = match workload.subject_token_type.as_str() {
        "access_token" => TokenType::AccessToken,
        "id_token" => TokenType::IdToken,
        "refresh_token" => TokenType::RefreshToken,
        _ => TokenType::Jwt,
    };
    let client = connections.client.clone().with_scopes(&workload.scopes);
    let client = client.for_client(workload.client_id.as_deref().unwrap_or_default());
    let client = workload.token_url.iter().cloned().fold(client, OAuthClient::with_token_url);
    Ok(match (&workload.client, workload.grant) {
        (None, WorkloadGrant::TokenExchange) => Arc::new(identity.exchanged(client, kind)),
        (None, WorkloadGrant::JwtBearer) => Arc::new(identity.asserted(client)),
        (Some(credential), WorkloadGrant::TokenExchange) => {
            let exchanged = move |client| identity.clone().exchanged(client, kind);
            Arc::new(file_client(connections, client, credential).provider(exchanged))
        }
        (Some(credential), WorkloadGrant::JwtBearer) => {
            let asserted = move |client| identity.clone().asserted(client);
            Arc::new(file_client(connections, client, credential).provider(asserted))
        }
    })
}

/// A provider whose errors name the credential.
#[derive(Debug)]
struct Named {
    provider: Arc<dyn AsyncTokenProvider>,
    kind: &'static str,
    /// The setting that names the credential.
    name: String,
}

impl Named {
    fn named(&self, error: TokenError) -> TokenError {
        if CredentialError::of(&error).is_some() {
            return error;
        }
        let reason = error.source().map_or_else(|| error.to_string(), error_chain);
        let (kind, name, retry_after) = (self.kind, &self.name, error.retry_after());
        let named = match &error {
            _ if error.is_refused() => {
                CredentialError::refused(kind, name, &reason, "replace the credential, or correct its registration")
            }
            _ if error.is_transient() => {
                CredentialError::unreachable(kind, name, &reason, "check the network, or retry later")
            }
            _ => CredentialError::unusable(kind, name, &reason, "check the settings of the credential"),
        };
        retry_after.into_iter().fold(named.because(error).into(), TokenError::with_retry_after)
    }
}

#[async_trait]
impl AsyncTokenProvider for Named {
    async fn fetch(&self, request: &TokenRequest) -> Result<AccessToken, TokenError> {
        self.provider.fetch(request).await.map_err(|error| self.named(error))
    }

    fn identity(&self) -> Option<String> {
        self.provider.identity()
    }

    fn credential_version(&self) -> u64 {
        self.provider.credential_version()
    }
}

/// The provider of a program that a token command started, and that has no credential of its own. The stored login or
/// the settings would otherwise start the same command again.
#[derive(Debug)]
struct Recursion;

#[async_trait]
impl AsyncTokenProvider for Recursion {
    async fn fetch(&self, _request: &TokenRequest) -> Result<AccessToken, TokenError> {
        let reason = "this program was started by a token command and has no credential of its own";
        let remedy = "name one with --token-file, or let the token command obtain the token without this program";
        Err(CredentialError::unusable("environment variable", IN_TOKEN_COMMAND, reason, remedy).into())
    }
}
