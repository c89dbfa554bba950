//! The metadata of an authorization server (RFC 8414; `OpenID` Connect Discovery 1.0).

use auth_core::Authority;
use auth_oauth::Endpoints;
use url::Url;

use super::document::DocumentClient;
use super::error::AuthorizationError;
use super::members::JsonDocument;

/// The maximum length of the identifier of an authorization server, in bytes.
const MAX_ISSUER_BYTES: usize = 2048;
/// The description of the URL in errors.
const URL_DESCRIPTION: &str = "the authorization server";

/// The metadata of an authorization server.
#[derive(Debug)]
pub(super) struct Issuer {
    pub(super) endpoints: Endpoints,
    /// The endpoint for the registration of clients (RFC 7591).
    pub(super) registration_endpoint: Option<Url>,
    /// True if the URL of the client's metadata can be its id.
    pub(super) accepts_client_metadata: bool,
    /// True if the scope `offline_access` requests a refresh token.
    pub(super) offers_offline_access: bool,
    /// The methods by which clients can authenticate themselves, if the metadata names them.
    authentication_methods: Option<Vec<String>>,
}

/// Fetches the metadata of `issuer`. The issuer in the metadata must match exactly (RFC 8414, section 3.3).
///
/// The locations are tried in the order of MCP (2025-11-25, authorization server metadata discovery).
pub(super) async fn discover(documents: &DocumentClient, issuer: &str) -> Result<Issuer, AuthorizationError> {
    let mut unusable = None;
    for url in locations(documents, issuer)? {
        match documents.get(URL_DESCRIPTION, &url).await {
            Ok(document) => return validate(documents, &document, issuer),
            Err(error) if error.is_not_found() => {}
            Err(error) if error.may_be_elsewhere() => unusable = Some(error),
            Err(error) => return Err(error),
        }
    }
    Err(unusable.unwrap_or_else(|| AuthorizationError::no_issuer_metadata(issuer)))
}

/// Returns the locations of the metadata.
fn locations(documents: &DocumentClient, issuer: &str) -> Result<Vec<Url>, AuthorizationError> {
    // The identifier becomes part of token keys and of messages.
    if issuer.len() > MAX_ISSUER_BYTES || !issuer.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(AuthorizationError::no_issuer_metadata(issuer));
    }
    let url: Url = issuer.parse().map_err(|_| AuthorizationError::no_issuer_metadata(issuer))?;
    documents.check_url(URL_DESCRIPTION, &url)?;
    // RFC 8414, section 2.
    if url.query().is_some() || url.fragment().is_some() || url.cannot_be_a_base() {
        return Err(AuthorizationError::no_issuer_metadata(issuer));
    }
    let with_path = |path: &str| {
        let mut location = url.clone();
        location.set_path(path);
        location
    };
    let path = url.path().trim_end_matches('/');
    let names = ["oauth-authorization-server", "openid-configuration"];
    let mut locations: Vec<_> = names.map(|name| with_path(&format!("/.well-known/{name}{path}"))).into();
    if !path.is_empty() {
        locations.push(with_path(&format!("{path}/.well-known/openid-configuration")));
    }
    Ok(locations)
}

fn validate(documents: &DocumentClient, document: &JsonDocument, issuer: &str) -> Result<Issuer, AuthorizationError> {
    let published_issuer = document.optional_string("issuer")?.unwrap_or_default();
    if published_issuer != issuer {
        return Err(AuthorizationError::issuer(&document.url, published_issuer, issuer));
    }
    if !document.optional_strings("code_challenge_methods_supported")?.is_some_and(|methods| methods.contains(&"S256"))
    {
        return Err(AuthorizationError::pkce(issuer));
    }
    let (authorization, token) =
        (document.required_url("authorization_endpoint")?, document.required_url("token_endpoint")?);
    documents.check_url("the authorization endpoint", &authorization)?;
    documents.check_url("the token endpoint", &token)?;
    let sends_issuer = document.is_true("authorization_response_iss_parameter_supported");
    // Without the issuer in the response, the code of one server could be sent to the token endpoint of another.
    // Separate redirect URLs prevent that an authorization server redirects the user to another one: see `client`.
    if !sends_issuer && Authority::of(&authorization) != Authority::of(&token) {
        return Err(AuthorizationError::mix_up(issuer));
    }
    let mut endpoints = Endpoints::new(issuer, token);
    (endpoints.authorization, endpoints.sends_issuer) = (Some(authorization), sends_issuer);
    let scopes = document.optional_strings("scopes_supported")?.unwrap_or_default();
    let authentication_methods = document.optional_strings("token_endpoint_auth_methods_supported")?;
    Ok(Issuer {
        endpoints,
        registration_endpoint: document.optional_url("registration_endpoint")?,
        accepts_client_metadata: document.is_true("client_id_metadata_document_supported"),
        offers_offline_access: scopes.contains(&"offline_access"),
        authentication_methods: authentication_methods.map(|methods| methods.into_iter().map(str::to_owned).collect()),
    })
}

impl Issuer {
    /// Returns the identifier.
    pub(super) fn id(&self) -> &str {
        &self.endpoints.issuer
    }

    /// Returns true if clients may authenticate themselves by `method`. The default is `client_secret_basic` (RFC 8414,
    /// section 2).
    pub(super) fn accepts_authentication(&self, method: &str) -> bool {
        let methods = self.authentication_methods.as_deref();
        methods.map_or(method == "client_secret_basic", |methods| methods.iter().any(|known| known == method))
    }
}

#[cfg(test)]
mod tests {
    use auth_http::HttpClient;

    use super::*;

    #[test]
    fn locations_insert_the_path_and_append_it_last() {
        let http = HttpClient::builder().with_plain_loopback().build().unwrap();
        let documents = DocumentClient::new(http, false, false);
        let locations = |issuer: &str| -> Vec<String> {
            locations(&documents, issuer).into_iter().flatten().map(String::from).collect()
        };
        let well_known = "https://a.test/.well-known";
        let root = [format!("{well_known}/oauth-authorization-server"), format!("{well_known}/openid-configuration")];
        assert_eq!(locations("https://a.test"), root);
        assert_eq!(locations("https://a.test/"), root);
        let appended = "https://a.test/t/1/.well-known/openid-configuration".to_owned();
        let [oauth, openid] = root.map(|url| url + "/t/1");
        assert_eq!(locations("https://a.test/t/1"), [oauth, openid, appended]);
        let long = format!("https://a.test/{}", "x".repeat(2034));
        assert_eq!(locations(&long[..2048]).len(), 3);
        for issuer in [
            &long,
            "https://a.test/ä",
            "https://a.test/\t",
            " https://a.test",
            "",
            "a.test",
            "http://a.test",
            "https://a.test?x",
            "https://a.test#x",
            "https://10.0.0.1",
            "urn:a",
        ] {
            assert!(locations(issuer).is_empty(), "{issuer}");
        }
    }
}
