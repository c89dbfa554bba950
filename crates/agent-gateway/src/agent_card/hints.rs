//! The hints of HTTP for the cache of a client (RFC 9111), which A2A recommends for cards (A2A 1.0, section 8.6).

use std::time::Duration;

use auth_http::Response;

/// The maximum length of an entity tag, in bytes. It is sent back to the server.
const MAX_TAG_BYTES: usize = 1024;

/// The hints of one response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hints {
    /// The lifetime of the response, if the server specifies it.
    pub(super) lifetime: Option<Duration>,
    /// False if the response must not be stored.
    pub(super) may_store: bool,
    /// The entity tag, for conditional requests.
    pub(super) entity_tag: Option<String>,
}

impl Hints {
    pub(super) fn from_response(response: &Response) -> Self {
        let age = response.header("age").and_then(|age| age.trim().parse().ok()).map(Duration::from_secs);
        let mut hints = Self::parse(response.headers("cache-control"), age.unwrap_or_default());
        hints.entity_tag = response.header("etag").filter(|tag| tag.len() <= MAX_TAG_BYTES).map(str::to_owned);
        hints
    }

    /// Returns the hints of a 304 response, completed by the hints of the stored response (RFC 9111, section 3.2).
    pub(super) fn with_missing_from(self, stored: Self) -> Self {
        Self {
            lifetime: self.lifetime.or(stored.lifetime),
            may_store: self.may_store,
            entity_tag: self.entity_tag.or(stored.entity_tag),
        }
    }

    /// Parses the values of `Cache-Control`. Ignores `s-maxage`, which applies to shared caches: this cache separates
    /// principals.
    fn parse<'a>(values: impl Iterator<Item = &'a str>, age: Duration) -> Self {
        let mut hints = Self { lifetime: None, may_store: true, entity_tag: None };
        let mut must_revalidate = false;
        for directive in values.flat_map(|value| value.split(',')) {
            let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
            match name.trim().to_ascii_lowercase().as_str() {
                "no-store" => hints.may_store = false,
                "no-cache" => must_revalidate = true,
                "max-age" => {
                    // An invalid lifetime is treated as 0 (RFC 9111, section 4.2.1). The shortest of several lifetimes
                    // applies.
                    let seconds = value.trim().trim_matches('"').parse().unwrap_or(0);
                    let lifetime = Duration::from_secs(seconds).saturating_sub(age);
                    hints.lifetime = Some(hints.lifetime.map_or(lifetime, |other| other.min(lifetime)));
                }
                _ => {}
            }
        }
        if must_revalidate {
            hints.lifetime = Some(Duration::ZERO);
        }
        hints
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_determine_lifetime_and_storage() {
        let parse = |values: &[&str], age| {
            let hints = Hints::parse(values.iter().copied(), Duration::from_secs(age));
            (hints.lifetime.map(|lifetime| lifetime.as_secs()), hints.may_store)
        };
        assert_eq!(parse(&[], 0), (None, true));
        assert_eq!(parse(&["public, max-age=60"], 0), (Some(60), true));
        assert_eq!(parse(&["Max-Age=\"60\" , private"], 20), (Some(40), true));
        assert_eq!(parse(&["max-age=60"], 100), (Some(0), true));
        assert_eq!(parse(&["max-age=60", "max-age=5"], 0), (Some(5), true));
        assert_eq!(parse(&["s-maxage=600"], 0), (None, true));
        assert_eq!(parse(&["max-age=soon"], 0), (Some(0), true));
        assert_eq!(parse(&["max-age=-1"], 0), (Some(0), true));
        assert_eq!(parse(&["max-age=99999999999999999999"], 0), (Some(0), true));
        assert_eq!(parse(&["no-cache, max-age=60"], 0), (Some(0), true));
        assert_eq!(parse(&["max-age=60, no-store"], 0), (Some(60), false));
        assert_eq!(parse(&["NO-STORE"], 0), (None, false));
    }
}
