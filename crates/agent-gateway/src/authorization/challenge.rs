use auth_core::Challenge as HttpChallenge;
use auth_http::{Response, is_internal_address};

use super::error::AuthorizationError;
use super::scopes::Scopes;

/// The bearer challenge of a server (RFC 6750, section 3; RFC 9728, section 5.1).
#[derive(Debug, Default)]
pub(super) struct Challenge {
    /// The URL of the metadata of the server.
    pub(super) resource_metadata: Option<String>,
    scope: Option<String>,
    error: Option<String>,
    /// True if the response came from an internal address. `None` without a response, or if it came through a proxy.
    pub(super) is_internal: Option<bool>,
}

impl Challenge {
    /// Returns the bearer challenge of a response, or an empty challenge if there is none.
    pub(super) fn from_response(response: &Response) -> Self {
        let is_internal = response.peer_address().map(|address| is_internal_address(address.ip()));
        Self { is_internal, ..Self::parse(response.headers("www-authenticate")) }
    }

    fn parse<'a>(headers: impl Iterator<Item = &'a str>) -> Self {
        let mut challenges = headers.flat_map(HttpChallenge::parse).filter(|challenge| challenge.is("bearer"));
        let Some(challenge) = challenges.next() else { return Self::default() };
        let parameter = |name| challenge.parameter(name).map(str::to_owned);
        let (scope, error) = (parameter("scope"), parameter("error"));
        Self { resource_metadata: parameter("resource_metadata"), scope, error, is_internal: None }
    }

    /// Returns the requested scopes, or `None` if the challenge names none.
    pub(super) fn scopes(&self) -> Result<Option<Scopes>, AuthorizationError> {
        let scopes = self.scope.as_deref().map(|scope| Scopes::parse(scope.split(' '))).transpose()?;
        Ok(scopes.filter(|scopes| !scopes.is_empty()))
    }

    /// Returns true if the token has fewer scopes than required.
    pub(super) fn is_insufficient_scope(&self) -> bool {
        self.error.as_deref() == Some("insufficient_scope")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bearer_challenge_is_found_among_others() {
        let headers = [
            r#"Basic realm="x""#,
            r#"Negotiate abc=, bearer error="insufficient_scope", scope="b a", resource_metadata="https://a.test/m""#,
        ];
        let challenge = Challenge::parse(headers.into_iter());
        assert_eq!(challenge.resource_metadata.as_deref(), Some("https://a.test/m"));
        assert!(challenge.is_insufficient_scope());
        assert_eq!(challenge.scopes().unwrap().unwrap().iter().collect::<Vec<_>>(), ["a", "b"]);
        let empty = Challenge::parse(["Bearer"].into_iter());
        assert!(empty.scopes().unwrap().is_none() && !empty.is_insufficient_scope());
    }
}
