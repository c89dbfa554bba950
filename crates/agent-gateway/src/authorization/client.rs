//! The client at an authorization server: registered in advance, identified by a metadata document, or registered
//! dynamically (RFC 7591).

use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use auth_core::{Clock, Secret};
use auth_http::HttpClient;
use auth_oauth::OAuthClient;
use serde_json::json;
use sha2::{Digest, Sha256};
use url::Url;

use super::Config;
use super::document::DocumentClient;
use super::error::{AuthorizationError, sanitize};
use super::issuer::Issuer;
use super::members::JsonDocument;
use super::registration::{ClientAuthentication, ClientRegistration};

/// The maximum length of a client id and of a client secret, in bytes.
const MAX_ID_BYTES: usize = 4096;
/// The length of the digest of an issuer in its redirect URL, in bytes.
const ISSUER_DIGEST_BYTES: usize = 16;
/// The description of the URL in errors.
const URL_DESCRIPTION: &str = "the registration endpoint";

/// A client at an authorization server.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) oauth: OAuthClient,
    /// The registration of a client that was registered dynamically.
    pub(super) registration: Option<ClientRegistration>,
    /// The redirect URL of logins. Port 0 means any free port.
    pub(super) redirect: Url,
}

/// A resolver for the client at an authorization server.
pub(super) struct ClientResolver<'a> {
    pub(super) config: &'a Config,
    /// The URL of the MCP server.
    pub(super) server: &'a Url,
    pub(super) documents: &'a DocumentClient,
    pub(super) http: &'a HttpClient,
    pub(super) clock: &'a Arc<dyn Clock>,
}

impl ClientResolver<'_> {
    /// Returns the client at `issuer`. A dynamic registration is stored, and is reused only for this issuer.
    pub(super) async fn resolve(&self, issuer: &Issuer) -> Result<Client, AuthorizationError> {
        let config = self.config;
        if let Some(client) = config.configured_client(self.server, issuer.id()) {
            return Ok(Client {
                oauth: self.oauth_client(issuer, client)?,
                registration: None,
                redirect: config.redirect()?,
            });
        }
        let metadata = config.client_metadata.as_ref().filter(|_| issuer.accepts_client_metadata);
        // All issuers share the redirect URL in the document, so the response must name its issuer.
        if let Some(url) = metadata.filter(|_| issuer.endpoints.sends_issuer) {
            let client = ClientRegistration::new(issuer.id(), url.as_str());
            return Ok(Client {
                oauth: self.oauth_client(issuer, &client)?,
                registration: None,
                redirect: config.redirect()?,
            });
        }
        let endpoint = issuer.registration_endpoint.as_ref().filter(|_| config.is_registration_allowed);
        let endpoint = endpoint.ok_or_else(|| match metadata {
            Some(_) => AuthorizationError::shared_redirect(issuer.id()),
            None => AuthorizationError::unregistered(issuer.id()),
        })?;
        let listener_redirect = issuer_redirect(config.redirect()?, issuer.id());
        let redirect = registered_redirect(&listener_redirect);
        // Servers with the same issuer share one registration.
        let lock = config.registration_locks.get_with_by_ref(issuer.id(), Arc::default);
        let _guard = lock.lock().await;
        let stored = config.registrations.load(issuer.id()).await.map_err(AuthorizationError::store)?;
        let is_usable = |stored: &ClientRegistration| {
            let is_expired = stored.expires_at().is_some_and(|end| end <= self.clock.now());
            stored.issuer() == issuer.id() && stored.redirect() == Some(redirect.as_str()) && !is_expired
        };
        let registration = match stored.filter(is_usable) {
            Some(stored) => stored,
            None => self.register(issuer, endpoint, &redirect).await?,
        };
        let oauth = self.oauth_client(issuer, &registration)?;
        Ok(Client { oauth, registration: Some(registration), redirect: listener_redirect })
    }

    /// Registers the client (RFC 7591, section 3.1), and stores the registration.
    async fn register(
        &self,
        issuer: &Issuer,
        endpoint: &Url,
        redirect: &Url,
    ) -> Result<ClientRegistration, AuthorizationError> {
        let mut methods = ClientAuthentication::ALL.into_iter();
        let method = methods.find(|method| issuer.accepts_authentication(method.name()));
        let method = method.ok_or_else(|| AuthorizationError::authentication(issuer.id()))?;
        let metadata = json!({
            "client_name": self.config.client_name,
            "redirect_uris": [redirect],
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "application_type": "native",
            "token_endpoint_auth_method": method.name(),
        });
        let (status, response) = self.documents.post(URL_DESCRIPTION, endpoint, &metadata).await?;
        let registration = read_registration(issuer, status, &response, method)?.with_redirect(redirect.as_str());
        tracing::info!(issuer = %sanitize(issuer.id()), "registered a client");
        if let Err(error) = self.config.registrations.save(&registration).await {
            tracing::warn!(error, "the registration of the client cannot be stored");
        }
        Ok(registration)
    }

    /// Returns the OAuth client of a registration.
    fn oauth_client(&self, issuer: &Issuer, client: &ClientRegistration) -> Result<OAuthClient, AuthorizationError> {
        let oauth = OAuthClient::new(self.http.clone(), issuer.endpoints.clone(), client.client_id());
        let oauth = oauth.with_clock(self.clock.clone());
        let Some(secret) = client.secret() else { return Ok(oauth) };
        let accepted_method = || {
            ClientAuthentication::ALL.into_iter().skip(1).find(|method| issuer.accepts_authentication(method.name()))
        };
        match client.authentication().or_else(accepted_method) {
            Some(ClientAuthentication::None) => Ok(oauth),
            Some(ClientAuthentication::SecretBasic) => Ok(oauth.with_secret_basic(secret.clone())),
            Some(ClientAuthentication::SecretPost) => Ok(oauth.with_secret_post(secret.clone())),
            None => Err(AuthorizationError::authentication(issuer.id())),
        }
    }
}

/// Returns the redirect URL for one issuer. Each issuer has its own path, so that the code of one issuer cannot arrive
/// at the login of another (RFC 9700, section 4.4.2.2).
fn issuer_redirect(mut redirect: Url, issuer: &str) -> Url {
    let mut path = redirect.path().trim_end_matches('/').to_owned() + "/";
    for byte in &Sha256::digest(issuer)[..ISSUER_DIGEST_BYTES] {
        // Writing to a string cannot fail.
        let _ = write!(path, "{byte:02x}");
    }
    redirect.set_path(&path);
    redirect
}

/// Returns the redirect URL for a registration. If any free port may be used, the URL has no port, because servers
/// ignore the port of a loopback redirect (RFC 8252, section 7.3).
fn registered_redirect(redirect: &Url) -> Url {
    let mut redirect = redirect.clone();
    if redirect.port() == Some(0) {
        // Setting the port of a URL with a host cannot fail.
        let _ = redirect.set_port(None);
    }
    redirect
}

/// Reads the response to a registration (RFC 7591, section 3.2).
fn read_registration(
    issuer: &Issuer,
    status: u16,
    response: &JsonDocument,
    requested: ClientAuthentication,
) -> Result<ClientRegistration, AuthorizationError> {
    let registration_error = |problem: &str| AuthorizationError::registration(issuer.id(), problem);
    if !(200..300).contains(&status) {
        let code = response.optional_string("error")?.unwrap_or("it gives no reason");
        let description =
            response.optional_string("error_description")?.map(|text| format!(" ({text})")).unwrap_or_default();
        return Err(registration_error(&format!("{code}{description}")));
    }
    let is_valid = |text: &str| text.len() <= MAX_ID_BYTES && text.bytes().all(|byte| matches!(byte, 0x20..=0x7e));
    let id = response.required_string("client_id")?;
    let secret = response.optional_string("client_secret")?;
    if !is_valid(id) || !secret.is_none_or(is_valid) {
        return Err(registration_error("the id or the secret is too long, or has characters that they cannot have"));
    }
    let method = match response.optional_string("token_endpoint_auth_method")? {
        Some(name) => ClientAuthentication::from_name(name)
            .ok_or_else(|| registration_error("it requires another authentication"))?,
        None => requested,
    };
    if method != ClientAuthentication::None && secret.is_none() {
        return Err(registration_error("it requires a secret, and issues none"));
    }
    let registration = ClientRegistration::new(issuer.id(), id).with_authentication(method);
    let registration = secret.map(Secret::new).into_iter().fold(registration, ClientRegistration::with_secret);
    // 0 means that the secret does not expire.
    let expiry = response.optional_integer("client_secret_expires_at")?.filter(|seconds| *seconds > 0);
    let expiry = expiry.and_then(|seconds| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)));
    Ok(expiry.into_iter().fold(registration, ClientRegistration::with_expires_at))
}
