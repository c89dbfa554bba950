//! Token providers for credentials other than user logins.

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

use super::keys::for_platform;
use crate::error::BuildError;
use crate::settings::Settings;
use crate::settings::{
    ClientAuthentication, ClientCredential, CredentialSource, WorkloadCredential, WorkloadGrant, WorkloadSource,
};
use url::Url;

/// The environment variable that is set for a token command and the programs that it starts.
const IN_TOKEN_COMMAND: &str = "AIGNOSTICS_IN_TOKEN_COMMAND";
/// The environment variable with the token command. A token command does not inherit it, because it could otherwise
/// start itself again.
const TOKEN_COMMAND: &str = "AIGNOSTICS_TOKEN_COMMAND";

/// A token provider for a credential other than a user login.
#[derive(Clone, Debug)]
pub(super) struct ExternalProvider {
    provider: Arc<dyn AsyncTokenProvider>,
    pub(super) key: TokenKey,
    sharing: Sharing,
}

/// The processes that share a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sharing {
    /// Only this process. Other processes read the same variable or file.
    None,
    /// All processes of the user.
    All,
    /// All processes of the user, but only tokens whose expiry is known.
    KnownExpiry,
}

/// The HTTP client builder, and the OAuth client of the platform's identity provider.
pub(super) struct Connections<'a> {
    pub(super) http_builder: &'a HttpClientBuilder,
    /// The OAuth client without a client id, authentication and scopes.
    pub(super) client: OAuthClient,
}

impl ExternalProvider {
    /// Returns the token provider for the credential in the settings, or `None` if the settings select a user login.
    pub(super) fn of(settings: &Settings, connections: &Connections<'_>) -> Result<Option<Self>, BuildError> {
        let credential = &settings.credential;
        let audience = &settings.audience;
        let key = for_platform(settings, connections.client.clone().token_key());
        if credential.is_in_token_command
            && matches!(credential.source, CredentialSource::StoredLogin | CredentialSource::TokenCommand(_))
        {
            return Ok(Some(Self { provider: Arc::new(RecursiveCommand), key, sharing: Sharing::None }));
        }
        let name = credential.name.as_deref().unwrap_or_default();
        let (provider, sharing): (Arc<dyn AsyncTokenProvider>, _) = match &credential.source {
            CredentialSource::StoredLogin | CredentialSource::RefreshToken(_) => return Ok(None),
            CredentialSource::AccessToken(secret) => {
                let token = EnvToken::from_value(name, Some(secret.clone()));
                (Arc::new(token.with_audience(audience)), Sharing::None)
            }
            CredentialSource::TokenFile(path) => {
                (Arc::new(FileToken::new(path).with_audience(audience)), Sharing::None)
            }
            CredentialSource::TokenCommand(line) => {
                let sharing = if credential.token_cache { Sharing::KnownExpiry } else { Sharing::None };
                (Arc::new(token_command(settings, line)?.with_audience(audience)), sharing)
            }
            CredentialSource::Client(client) => {
                let provider = Arc::new(client_credentials(settings, connections, client));
                (provider, Sharing::All)
            }
            CredentialSource::Workload(workload) => (workload_exchange(connections, workload)?, Sharing::All),
        };
        let provider = Arc::new(NamedProvider { provider, kind: credential.source.kind(), name: name.to_owned() });
        Ok(Some(Self { provider, key, sharing }))
    }

    /// Returns a source of tokens that are valid for at least `min_remaining`. Shared tokens are stored in `store`.
    pub(super) fn new_source(&self, store: &FileTokenStore, min_remaining: Duration) -> TokenSource {
        let Self { provider, key, .. } = self.clone();
        // Without an identity, a token of another principal could be returned from the store.
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
        source
            .with_expiry(ExpiryPolicy::default().with_min_remaining(min_remaining))
            .build()
            .expect("the parts fit together")
    }

    /// Calls the token provider, without a cache.
    pub(super) async fn call(&self) -> Result<AccessToken, TokenError> {
        self.provider.fetch(&TokenRequest::default()).await
    }
}

/// Returns the scopes for client credentials: the scopes of the settings, except those that only user logins can
/// request.
fn scopes(settings: &Settings) -> impl Iterator<Item = &String> {
    settings.scopes.iter().filter(|scope| !["offline_access", "openid"].contains(&scope.as_str()))
}

fn token_command(settings: &Settings, line: &str) -> Result<CommandProvider, BuildError> {
    let mut words = command_line(line)?.into_iter();
    let program = words.next().unwrap_or_default();
    let command = CommandProvider::new(program).with_arguments(words);
    let command = command.with_cache_variables(&settings.credential.cache_variables);
    let command = command.without_variables(&settings.credential.secret_variables).without_variables([TOKEN_COMMAND]);
    Ok(command.with_variable(IN_TOKEN_COMMAND, "1"))
}

/// Returns the files by which an OAuth client authenticates.
fn client_files(client: &ClientCredential) -> ClientFiles {
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
    let client = client.as_public_client(&credential.id);
    let client = if credential.asserts_to_token_endpoint {
        client.with_assertion_audience(AssertionAudience::TokenEndpoint)
    } else {
        client
    };
    FileClient::new(client, connections.http_builder.clone(), client_files(credential))
}

fn client_credentials(
    settings: &Settings,
    connections: &Connections<'_>,
    credential: &ClientCredential,
) -> impl AsyncTokenProvider + use<> {
    let client = connections.client.clone().with_scopes(scopes(settings));
    file_client(connections, client, credential).provider(ClientCredentials::new)
}

fn workload_exchange(
    connections: &Connections<'_>,
    workload: &WorkloadCredential,
) -> Result<Arc<dyn AsyncTokenProvider>, BuildError> {
    // Unencrypted http is permitted only for servers on this machine. Connections to them use no proxy.
    let http_builder_for = |url: &Url| {
        if url.scheme() == "http" {
            connections.http_builder.clone().with_plain_loopback()
        } else {
            connections.http_builder.clone()
        }
    };
    let identity = match &workload.source {
        WorkloadSource::File(path) => WorkloadIdentity::file(path),
        WorkloadSource::GitHub(url, token) => {
            let parsed_url = url.as_deref().and_then(|url| url.parse().ok());
            let http =
                parsed_url.as_ref().map_or_else(|| connections.http_builder.clone(), http_builder_for).build()?;
            WorkloadIdentity::github_with(http, url.as_deref(), token.clone())
        }
        WorkloadSource::Variable(name, value) => WorkloadIdentity::from_variable_value(name, value.clone()),
        WorkloadSource::Url(url) => WorkloadIdentity::url(http_builder_for(url).build()?, url.clone()),
    };
    let identity = workload.audience.iter().fold(identity, WorkloadIdentity::with_audience);
    let token_type = match workload.subject_token_type.as_str() {
        "access_token" => TokenType::AccessToken,
        "id_token" => TokenType::IdToken,
        "refresh_token" => TokenType::RefreshToken,
        _ => TokenType::Jwt,
    };
    let client = connections.client.clone().with_scopes(&workload.scopes);
    let client = client.as_public_client(workload.client_id.as_deref().unwrap_or_default());
    let client = workload.token_url.iter().cloned().fold(client, OAuthClient::with_token_url);
    Ok(match (&workload.client, workload.grant) {
        (None, WorkloadGrant::TokenExchange) => Arc::new(identity.into_token_exchange(client, token_type)),
        (None, WorkloadGrant::JwtBearer) => Arc::new(identity.into_jwt_bearer(client)),
        (Some(credential), WorkloadGrant::TokenExchange) => {
            let token_exchange = move |client| identity.clone().into_token_exchange(client, token_type);
            Arc::new(file_client(connections, client, credential).provider(token_exchange))
        }
        (Some(credential), WorkloadGrant::JwtBearer) => {
            let jwt_bearer = move |client| identity.clone().into_jwt_bearer(client);
            Arc::new(file_client(connections, client, credential).provider(jwt_bearer))
        }
    })
}

/// A token provider that adds the credential and a remedy to errors.
#[derive(Debug)]
struct NamedProvider {
    provider: Arc<dyn AsyncTokenProvider>,
    kind: &'static str,
    /// The name of the setting that selects the credential.
    name: String,
}

impl NamedProvider {
    /// Adds the credential and a remedy to an error.
    fn describe(&self, error: TokenError) -> TokenError {
        if CredentialError::of(&error).is_some() {
            return error;
        }
        let reason = error.source().map_or_else(|| error.to_string(), error_chain);
        let (kind, name, retry_after) = (self.kind, &self.name, error.retry_after());
        let credential_error = match &error {
            _ if error.is_refused() => {
                CredentialError::refused(kind, name, &reason, "replace the credential, or correct its registration")
            }
            _ if error.is_transient() => {
                CredentialError::unavailable(kind, name, &reason, "check the network, or retry later")
            }
            _ => CredentialError::unusable(kind, name, &reason, "check the settings of the credential"),
        };
        retry_after.into_iter().fold(credential_error.with_source(error).into(), TokenError::with_retry_after)
    }
}

#[async_trait]
impl AsyncTokenProvider for NamedProvider {
    async fn fetch(&self, request: &TokenRequest) -> Result<AccessToken, TokenError> {
        self.provider.fetch(request).await.map_err(|error| self.describe(error))
    }

    fn identity(&self) -> Option<String> {
        self.provider.identity()
    }

    fn credential_version(&self) -> u64 {
        self.provider.credential_version()
    }
}

/// The token provider of a program that a token command started without another credential. It always fails, because
/// the settings would otherwise start the same command again.
#[derive(Debug)]
struct RecursiveCommand;

#[async_trait]
impl AsyncTokenProvider for RecursiveCommand {
    async fn fetch(&self, _request: &TokenRequest) -> Result<AccessToken, TokenError> {
        let reason = "this program was started by a token command, and no other credential is set";
        let remedy =
            "set a credential with --token-file, or let the token command obtain the token without this program";
        Err(CredentialError::unusable("environment variable", IN_TOKEN_COMMAND, reason, remedy).into())
    }
}
