use auth_core::TokenKey;

use crate::error::BuildError;

/// The prefix of the names of all Redis keys of a cache.
#[derive(Clone, Debug)]
pub(crate) struct Namespace(String);

/// The Redis keys of one token key. All three have the same hash tag (the part in braces), so that a cluster stores
/// them on one node.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    /// A hash: the sealed token, its fingerprints, its fence.
    pub(crate) entry: String,
    /// The owner of the lease.
    pub(crate) lease: String,
    /// A number that increases with every lease and every write.
    pub(crate) fence: String,
    /// The data that a sealed value is bound to.
    pub(crate) binding: Vec<u8>,
}

impl Namespace {
    pub(crate) fn new(name: &str) -> Result<Self, BuildError> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-:".contains(&byte);
        if name.is_empty() || name.len() > 64 || !name.bytes().all(is_allowed) {
            return Err(BuildError::namespace(name));
        }
        Ok(Self(name.to_owned()))
    }

    pub(crate) fn names(&self, key: &TokenKey) -> Names {
        self.names_of_digest(&key.digest_hex())
    }

    /// Returns a pattern for `SCAN` that matches the keys of this namespace and of no other. A namespace contains no brace,
    /// so `lab` does not match keys of `lab:tokens`.
    pub(crate) fn pattern(&self) -> String {
        format!("{}:{{*}}:*", self.0)
    }

    /// Returns the keys of the token key that the Redis key `name` belongs to, or `None` if `name` is not a key of this
    /// namespace.
    pub(crate) fn parse(&self, name: &[u8]) -> Option<Names> {
        let rest = std::str::from_utf8(name).ok()?.strip_prefix(&self.0)?.strip_prefix(":{")?;
        let (digest, kind) = rest.split_once("}:")?;
        let is_digest = digest.len() == 64 && digest.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        (is_digest && ["token", "lease", "fence"].contains(&kind)).then(|| self.names_of_digest(digest))
    }

    fn names_of_digest(&self, digest: &str) -> Names {
        let name = |kind: &str| format!("{}:{{{digest}}}:{kind}", self.0);
        let binding = format!("{digest}{}", self.0).into_bytes();
        Names { entry: name("token"), lease: name("lease"), fence: name("fence"), binding }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespace_parses_its_own_keys_and_no_others() {
        let namespace = Namespace::new("lab:tokens").unwrap();
        let names = namespace.names(&TokenKey::new("issuer"));
        for name in [&names.entry, &names.lease, &names.fence] {
            assert_eq!(namespace.parse(name.as_bytes()).unwrap().entry, names.entry);
        }
        let shorter = Namespace::new("lab").unwrap();
        assert!(shorter.parse(names.entry.as_bytes()).is_none());
        for foreign in ["lab:tokens:{x}:token", "lab:tokens", "lab:tokens:{", &names.entry.replace("token", "other")] {
            assert!(namespace.parse(foreign.as_bytes()).is_none(), "{foreign}");
        }
        assert!(namespace.parse(&[0xff]).is_none());
    }

    #[test]
    fn namespace_with_invalid_characters_or_length_is_rejected() {
        for name in ["", "a*", "a{b}", "a b", "ä", &"x".repeat(65)] {
            assert!(Namespace::new(name).unwrap_err().to_string().contains("namespace"), "{name}");
        }
    }
}
