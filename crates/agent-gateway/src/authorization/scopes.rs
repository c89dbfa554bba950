use std::collections::BTreeSet;

use super::error::AuthorizationError;

/// The maximum number of scopes that a server may request.
const MAX_SCOPES: usize = 64;
/// The maximum length of a scope, in bytes.
const MAX_SCOPE_BYTES: usize = 256;

/// Valid scopes (RFC 6749, section 3.3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Scopes(BTreeSet<String>);

impl Scopes {
    /// Validates the scopes that a server requests.
    pub(super) fn parse<'a>(scopes: impl IntoIterator<Item = &'a str>) -> Result<Self, AuthorizationError> {
        let scopes: BTreeSet<&str> = scopes.into_iter().filter(|scope| !scope.is_empty()).collect();
        if scopes.len() > MAX_SCOPES {
            return Err(AuthorizationError::scopes("there are more than 64"));
        }
        if scopes.iter().any(|scope| scope.len() > MAX_SCOPE_BYTES) {
            return Err(AuthorizationError::scopes("one is longer than 256 bytes"));
        }
        let is_valid = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
        if !scopes.iter().all(|scope| scope.bytes().all(is_valid)) {
            return Err(AuthorizationError::scopes("one has characters that a scope cannot have"));
        }
        Ok(Self(scopes.into_iter().map(str::to_owned).collect()))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn includes(&self, other: &Self) -> bool {
        self.0.is_superset(&other.0)
    }

    /// Returns the union with other scopes.
    pub(super) fn union(&self, other: &Self) -> Self {
        Self(self.0.union(&other.0).cloned().collect())
    }

    /// Adds a scope.
    pub(super) fn with_scope(mut self, scope: &str) -> Self {
        self.0.insert(scope.to_owned());
        self
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_scopes_are_refused() {
        let parse =
            |text: &str| Scopes::parse(text.split(' ')).map(|scopes| scopes.iter().collect::<Vec<_>>().join(" "));
        assert_eq!(parse("b a  b").unwrap(), "a b");
        assert_eq!(parse("").unwrap(), "");
        let names: Vec<_> = (0..65).map(|number| number.to_string()).collect();
        for invalid in ["a\u{7}", "a\"b", "a\\b", "ä", &"x".repeat(257), &names.join(" ")] {
            let error = parse(invalid).unwrap_err().to_string();
            assert!(error.contains("scopes that are not valid"), "{error}");
        }
        assert!(parse(&names[..64].join(" ")).is_ok());
    }
}
