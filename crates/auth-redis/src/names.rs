use auth_core::TokenKey;

use crate::error::BuildError;

/// The prefix of the names of all Redis keys of a cache.
#[derive(Clone, Debug)]
pub(crate) struct Namespace(String);

/// The names of the Redis keys of one token key. All three have the same hash tag (the part in braces), so that a
/// cluster stores them on one node.
#[derive(Clone, Debug)]
pub(crate) struct KeyNames {
    /// The entry, a hash with the sealed token, its fingerprints and its fence.
    pub(crate) entry: String,
    /// The lease. Its value is the random id of its owner.
    pub(crate) lease: String,
    /// The fence, a number that increases with every lease and every write.
    pub(crate) fence: String,
    /// The authenticated data that bind a sealed value to its entry: the digest of the token key and the namespace.
    pub(crate) binding: Vec<u8>,
}

impl Namespace {
    pub(crate) fn new(name: &str) -> Result<Self, BuildError> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-:".contains(&byte);
        if name.is_empty() || name.len() > 64 || !name.bytes().all(is_allowed) {
            return Err(BuildError::invalid_namespace(name));
        }
        Ok(Self(name.to_owned()))
    }

    pub(crate) fn key_names(&self, key: &TokenKey) -> KeyNames {
        self.key_names_of_digest(&key.digest_hex())
    }

    /// Returns a pattern for `SCAN` that matches only the Redis keys of this namespace. A namespace cannot contain
    /// braces, so the pattern of `lab` does not match the keys of `lab:tokens`.
    pub(crate) fn pattern(&self) -> String {
        format!("{}:{{*}}:*", self.0)
    }

    /// Parses a Redis key and returns the names of all Redis keys of its token key, or `None` if `name` is not a key of
    /// this namespace.
    pub(crate) fn parse(&self, name: &[u8]) -> Option<KeyNames> {
        let rest = std::str::from_utf8(name).ok()?.strip_prefix(&self.0)?.strip_prefix(":{")?;
        let (digest, kind) = rest.split_once("}:")?;
        let is_digest = digest.len() == 64 && digest.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        (is_digest && ["token", "lease", "fence"].contains(&kind)).then(|| self.key_names_of_digest(digest))
    }

    fn key_names_of_digest(&self, digest: &str) -> KeyNames {
        let name = |kind: &str| format!("{}:{{{digest}}}:{kind}", self.0);
        let binding = format!("{digest}{}", self.0).into_bytes();
        KeyNames { entry: name("token"), lease: name("lease"), fence: name("fence"), binding }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespace_parses_its_own_keys_and_no_others() {
        let namespace = Namespace::new("lab:tokens").unwrap();
        let names = namespace.key_names(&TokenKey::new("issuer"));
        for name in [&names.entry, &names.lease, &names.fence] {
            assert_eq!(namespace.parse(name.as_bytes()).unwrap().entry, names.entry);
        }
        let shorter_namespace = Namespace::new("lab").unwrap();
        assert!(shorter_namespace.parse(names.entry.as_bytes()).is_none());
        for foreign_name in
            ["lab:tokens:{x}:token", "lab:tokens", "lab:tokens:{", &names.entry.replace("token", "other")]
        {
            assert!(namespace.parse(foreign_name.as_bytes()).is_none(), "{foreign_name}");
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
