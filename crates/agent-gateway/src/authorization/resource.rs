//! The metadata of a protected resource (RFC 9728): its identifier, its authorization servers and its scopes.

use auth_core::Authority;
use url::Url;

use super::document::Documents;
use super::error::AuthorizationError;
use super::scopes::Scopes;

/// The well-known path (RFC 9728, section 3).
const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";
const WHAT: &str = "the metadata of the server";

/// The metadata of a server, for the URL of that server.
#[derive(Debug)]
pub(super) struct Resource {
    /// The identifier, exactly as published. It is the `resource` of all requests (RFC 8707).
    pub(super) id: String,
    /// The issuers of its tokens; there is at least one.
    pub(super) issuers: Vec<String>,
    pub(super) scopes: Scopes,
}

/// Fetches the metadata of `server`. `stated` is the URL in the challenge of the server.
///
/// Without it, the well-known locations are used: the one for the path of the server, and then the one for its origin. Only
/// the metadata of the origin may be for a part of the path. Otherwise, one of several servers at the same origin could
/// obtain tokens for all of them.
pub(super) async fn discover(
    documents: &Documents,
    server: &Url,
    stated: Option<&str>,
) -> Result<Resource, AuthorizationError> {
    if let Some(stated) = stated {
        let url = server.join(stated).map_err(|_| AuthorizationError::origin(stated))?;
        if Authority::of(&url) != Authority::of(server) {
            return Err(AuthorizationError::origin(stated));
        }
        return fetch(documents, server, &url).await;
    }
    let mut unusable = None;
    for url in locations(server) {
        match fetch(documents, server, &url).await {
            Err(error) if error.is_absent() => {}
            Err(error) if error.is_missing() => unusable = Some(error),
            outcome => return outcome,
        }
    }
    Err(unusable.unwrap_or_else(AuthorizationError::no_metadata))
}

/// Returns the well-known locations, each once.
fn locations(server: &Url) -> Vec<Url> {
    let at = |path: &str| {
        let mut url = server.clone();
        url.set_path(&format!("{WELL_KNOWN}{path}"));
        url.set_fragment(None);
        url
    };
    let (path, mut root) = (server.path().trim_end_matches('/'), at(""));
    root.set_query(None);
    if path.is_empty() { vec![root] } else { vec![at(server.path()), root] }
}

async fn fetch(documents: &Documents, server: &Url, url: &Url) -> Result<Resource, AuthorizationError> {
    let document = documents.get(WHAT, url).await?;
    let id = document.required_text("resource")?;
    let is_of_origin = url.path() == WELL_KNOWN && url.query().is_none();
    if !is_resource_of(id, server) || !(is_of_origin || is_same(id, server)) {
        return Err(AuthorizationError::resource(url, id));
    }
    let issuers: Vec<_> = document.texts("authorization_servers")?.unwrap_or_default();
    if issuers.is_empty() {
        return Err(AuthorizationError::document(url, "it names no authorization server"));
    }
    let scopes = Scopes::read(document.texts("scopes_supported")?.unwrap_or_default())?;
    Ok(Resource { id: id.to_owned(), issuers: issuers.into_iter().map(str::to_owned).collect(), scopes })
}

/// Returns true if `resource` has the path and the query of `server`, up to a slash at the end of the path.
fn is_same(resource: &str, server: &Url) -> bool {
    let path = |url: &Url| url.path().trim_end_matches('/').to_owned();
    resource.parse::<Url>().is_ok_and(|url| path(&url) == path(server) && url.query() == server.query())
}

/// Returns true if tokens for `resource` may be sent to `server`: it has the same origin, and a path that is the path of
/// the server or begins it.
fn is_resource_of(resource: &str, server: &Url) -> bool {
    let Ok(resource) = resource.parse::<Url>() else { return false };
    let has_user = !resource.username().is_empty() || resource.password().is_some();
    let is_same_query = resource.query().is_none_or(|query| server.query() == Some(query));
    if has_user || !is_same_query || resource.fragment().is_some() || Authority::of(&resource) != Authority::of(server)
    {
        return false;
    }
    let rest = server.path().trim_end_matches('/').strip_prefix(resource.path().trim_end_matches('/'));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
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
            assert_eq!(is_same(resource, &server), expected, "{resource}");
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
