//! Faults: effects on requests. A fault selects requests, and limits how often and how long they are affected.

mod effect;
mod faults;

use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::server_name::Server;

pub use effect::Effect;
pub(crate) use faults::Faults;

/// An injected fault. By default, a fault affects all requests until the faults are cleared.
///
/// ```
/// use std::time::Duration;
/// use platform_emulator::{Effect, Fault, Server};
///
/// // The second and the third request for the file of a result receive only the first 1,000 bytes.
/// let fault = Fault::new(Effect::Truncate { after_bytes: 1000 })
///     .on(Server::Storage)
///     .with_method("GET")
///     .with_path("/*/results/*")
///     .after(1)
///     .times(2);
///
/// // An outage: the API is unavailable for a minute, which begins with the next request.
/// let outage = Fault::new(Effect::Status { status: 503, body: None })
///     .on(Server::Api)
///     .with_duration(Duration::from_secs(60));
/// assert_eq!(
///     outage,
///     r#"{"effect": {"kind": "status", "status": 503}, "server": "api", "for_milliseconds": 60000}"#.parse()?,
/// );
/// # let _ = fault;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    effect: Effect,
    #[serde(default)]
    server: Option<Server>,
    #[serde(default)]
    method: Option<String>,
    #[serde(default)]
    path: Option<String>,
    #[serde(default)]
    after: u32,
    #[serde(default)]
    times: Option<u32>,
    #[serde(default)]
    for_milliseconds: Option<u64>,
    #[serde(default)]
    probability: Option<f64>,
}

impl Fault {
    /// Creates a fault with this effect.
    pub fn new(effect: Effect) -> Self {
        Self {
            effect,
            server: None,
            method: None,
            path: None,
            after: 0,
            times: None,
            for_milliseconds: None,
            probability: None,
        }
    }

    /// Affects only requests to this server.
    pub fn on(mut self, server: Server) -> Self {
        self.server = Some(server);
        self
    }

    /// Affects only requests with this method.
    pub fn with_method(mut self, method: impl Into<String>) -> Self {
        self.method = Some(method.into());
        self
    }

    /// Affects only requests whose path matches this pattern. `*` matches any text.
    pub fn with_path(mut self, path: impl Into<String>) -> Self {
        self.path = Some(path.into());
        self
    }

    /// Skips the first `requests` matching requests.
    pub fn after(mut self, requests: u32) -> Self {
        self.after = requests;
        self
    }

    /// Ends the fault after this number of occurrences.
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }

    /// Ends the fault when this time has passed since its first occurrence.
    ///
    /// The time starts with the first affected request, so that a slow client cannot miss the fault. It is measured in
    /// real time (or tokio's paused time), because clients wait in real time: shifting the platform's clock does not
    /// end an outage. Precision: milliseconds.
    pub fn with_duration(mut self, time: Duration) -> Self {
        self.for_milliseconds = Some(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        self
    }

    /// Affects a matching request with this probability, 0 to 1.
    pub fn with_probability(mut self, probability: f64) -> Self {
        self.probability = Some(probability);
        self
    }

    /// Validates the values of the fault. The error describes the problem.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.probability.is_some_and(|probability| !(0.0..=1.0).contains(&probability)) {
            return Err("the probability must be within 0 to 1".to_owned());
        }
        self.effect.check()
    }

    fn is_match(&self, server: Server, method: &str, path: &str) -> bool {
        self.server.is_none_or(|affected| affected == server)
            && self.method.as_ref().is_none_or(|affected| affected.eq_ignore_ascii_case(method))
            && self.path.as_ref().is_none_or(|pattern| matches_pattern(pattern, path))
    }
}

/// Parses the JSON format of the control routes.
impl FromStr for Fault {
    type Err = InvalidFault;

    fn from_str(text: &str) -> Result<Self, InvalidFault> {
        let fault: Self = serde_json::from_str(text).map_err(|error| InvalidFault(error.to_string()))?;
        fault.check().map_err(InvalidFault)?;
        Ok(fault)
    }
}

/// The error for a text that does not describe a [`Fault`].
#[derive(Clone, Debug, thiserror::Error)]
#[error("invalid fault: {0}")]
pub struct InvalidFault(String);

/// Returns true if `path` matches `pattern`, in which `*` matches any text.
fn matches_pattern(pattern: &str, path: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = path.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(index) => rest = &rest[index + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pattern_matches_whole_paths() {
        for (pattern, path) in
            [("/a", "/a"), ("*", "/a/b"), ("/a/*", "/a/b/c"), ("/*/c", "/a/b/c"), ("/a*b*c", "/a-b-b-c")]
        {
            assert!(matches_pattern(pattern, path), "{pattern} {path}");
        }
        for (pattern, path) in
            [("/a", "/a/b"), ("/a", "/"), ("/a/*", "/b/a/"), ("*/c", "/c/d"), ("/a*a", "/a"), ("", "/")]
        {
            assert!(!matches_pattern(pattern, path), "{pattern} {path}");
        }
    }
}
