//! The metadata of a protected resource (RFC 9728): its identifier, its authorization servers and its scopes.

use auth_core::Authority;
use url::Url;

use super::document::DocumentClient;
use super::error::AuthorizationError;
use super::scopes::Scopes;

/// The well-known path (RFC 9728, section 3).
const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";
/// The description of the URL in errors.
const URL_DESCRIPTION: &str = "the metadata of the server";

/// The validated metadata of a server.
#[derive(Debug)]
pub(super) struct Resource {
    /// The identifier, exactly as published. It is the `resource` of all requests (RFC 8707).
    pub(super) id: String,
    /// The issuers of its tokens; there is at least one.
    pub(super) issuers: Vec<String>,
    pub(super) scopes: Scopes,
}

/// Fetches the metadata of `server`. `challenge_url` is the URL in the challenge of the server. Without it, the
/// well-known locations are tried: first the location for the path of the server, then the location for its origin.
///
/// Only the metadata of the origin may have a resource whose path is a prefix of the server's path. Otherwise, one of
/// several servers at the same origin could obtain tokens for all of them.
pub(super) async fn discover(
    documents: &DocumentClient,
    server: &Url,
    challenge_url: Option<&str>,
) -> Result<Resource, AuthorizationError> {
    if let Some(challenge_url) = challenge_url {
        let url = server.join(challenge_url).map_err(|_| AuthorizationError::origin(challenge_url))?;
        if Authority::of(&url) != Authority::of(server) {
            return Err(AuthorizationError::origin(challenge_url));
        }
        return fetch(documents, server, &url).await;
    }
    let mut unusable = None;
    for url in locations(server) {
        match fetch(documents, server, &url).await {
            Err(error) if error.is_not_found() => {}
            Err(error) if error.may_be_elsewhere() => unusable = Some(error),
            outcome => return outcome,
        }
    }
    Err(unusable.unwrap_or_else(AuthorizationError::no_metadata))
}

/// Returns the well-known locations, without duplicates.
fn locations(server: &Url) -> Vec<Url> {
    let well_known_url = |path: &str| {
        let mut url = server.clone();
        url.set_path(&format!("{WELL_KNOWN}{path}"));
        url.set_fragment(None);
        url
    };
    let (path, mut root) = (server.path().trim_end_matches('/'), well_known_url(""));
    root.set_query(None);
    if path.is_empty() { vec![root] } else { vec![well_known_url(server.path()), root] }
}

async fn fetch(documents: &DocumentClient, server: &Url, url: &Url) -> Result<Resource, AuthorizationError> {
    let document = documents.get(URL_DESCRIPTION, url).await?;
    let id = document.required_string("resource")?;
    let is_origin_metadata = url.path() == WELL_KNOWN && url.query().is_none();
    if !is_resource_of(id, server) || !(is_origin_metadata || is_same_resource(id, server)) {
        return Err(AuthorizationError::resource(url, id));
    }
    let issuers: Vec<_> = document.optional_strings("authorization_servers")?.unwrap_or_default();
    if issuers.is_empty() {
        return Err(AuthorizationError::document(url, "it names no authorization server"));
    }
    let scopes = Scopes::parse(document.optional_strings("scopes_supported")?.unwrap_or_default())?;
    Ok(Resource { id: id.to_owned(), issuers: issuers.into_iter().map(str::to_owned).collect(), scopes })
}

/// Returns true if `resource` has the path and the query of `server`. A slash at the end of the path is ignored.
fn is_same_resource(resource: &str, server: &Url) -> bool {
    let path = |url: &Url| url.path().trim_end_matches('/').to_owned();
    resource.parse::<Url>().is_ok_and(|url| path(&url) == path(server) && url.query() == server.query())
}

/// Returns true if tokens for `resource` may be sent to `server`: the origins are equal, and the path of `resource` is
/// equal to the path of `server` or a prefix of it.
fn is_resource_of(resource: &str, server: &Url) -> bool {
    let Ok(resource) = resource.parse::<Url>() else { return false };
    let has_user = !resource.username().is_empty() || resource.password().is_some();
    let is_same_query = resource.query().is_none_or(|query| server.query() == Some(query));
    if has_user || !is_same_query || resource.fragment().is_some() || Authority::of(&resource) != Authority::of(server)
    {
        return false;
    }
    let remaining_path = server.path().trim_end_matches('/').strip_prefix(resource.path().trim_end_matches('/'));
    remaining_path.is_some_and(|remaining_path| remaining_path.is_empty() || remaining_path.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_insert_the_path_before_the_root() {
        let locations = |server: &str| -> Vec<String> {
            locations(&server.parse().unwrap()).into_iter().map(String::from).collect()
        };
        let root = "https://a.test:8443/.well-known/oauth-protected-resource";
        assert_eq!(locations("https://a.test:8443"), [root]);
        assert_eq!(locations("https://a.test:8443/mcp/x?y#z"), [&format!("{root}/mcp/x?y"), root]);
    }

    #[test]
    fn same_resource_differs_only_in_a_slash() {
        let server: Url = "https://a.test/mcp/orders?x=1".parse().unwrap();
        for (resource, expected) in [
            ("https://a.test/mcp/orders?x=1", true),
            ("https://a.test/mcp/orders/?x=1", true),
            ("https://a.test/mcp/orders", false),
            ("https://a.test/mcp?x=1", false),
            ("https://a.test", false),
        ] {
            assert_eq!(is_same_resource(resource, &server), expected, "{resource}");
        }
    }

    #[test]
    fn resource_has_the_origin_and_a_path_prefix_of_the_server() {
        let server: Url = "https://a.test/mcp/orders?x=1".parse().unwrap();
        for resource in [
            "https://a.test",
            "https://A.test:443/",
            "https://a.test/mcp",
            "https://a.test/mcp/",
            "https://a.test/mcp/orders",
            "https://a.test/mcp/orders?x=1",
        ] {
            assert!(is_resource_of(resource, &server), "{resource}");
        }
        for resource in [
            "",
            "a.test",
            "http://a.test/mcp",
            "https://b.test/mcp",
            "https://a.test:8443/mcp",
            "https://a.test/mc",
            "https://a.test/mcp/orders/1",
            "https://a.test/mcp/orders?x=2",
            "https://a.test/#x",
            "https://a.test@b.test/mcp",
            "https://u@a.test/mcp",
            "https://a.test.b.test/",
            "urn:a.test",
        ] {
            assert!(!is_resource_of(resource, &server), "{resource}");
        }
    }
}
