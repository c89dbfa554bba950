//! What goes wrong, where, and how often.

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::Server;
use crate::random::Random;

/// Something that goes wrong with some requests. Without further words it happens to every request.
///
/// ```
/// use platform_emulator::{Effect, Fault, Server};
///
/// // The second and the third request for a file of a result get the first 1,000 bytes, and then nothing more.
/// let fault = Fault::new(Effect::Truncate { after_bytes: 1000 })
///     .on(Server::Storage)
///     .with_method("GET")
///     .with_path("/*/results/*")
///     .after(1)
///     .times(2);
/// # let _ = fault;
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
    probability: Option<f64>,
}

/// What goes wrong with a request.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Effect {
    /// The answer comes so much later.
    Latency {
        /// In milliseconds.
        milliseconds: u64,
    },
    /// The answer is this one, and nothing is done.
    Status {
        /// 200 to 599.
        status: u16,
        /// The body; none unless something is said.
        #[serde(default)]
        body: Option<String>,
    },
    /// The connection is reset before more than so many bytes of the body are sent.
    Reset {
        /// Bytes of the body.
        after_bytes: u64,
    },
    /// The connection is closed after so many bytes of the body.
    Truncate {
        /// Bytes of the body.
        after_bytes: u64,
    },
    /// Nothing more comes after so many bytes of the body, and the connection stays open.
    Stall {
        /// Bytes of the body.
        after_bytes: u64,
    },
    /// One bit of the body is another.
    Corrupt {
        /// The byte that it is in, from 0.
        at_byte: u64,
    },
    /// The body comes no faster than this.
    Bandwidth {
        /// At least 1.
        bytes_per_second: u64,
    },
    /// The storage says that the signature of the URL has expired.
    ExpiredSignature,
    /// The storage says that the bytes begin one later than they do.
    WrongContentRange,
    /// The object is replaced by another of the same size, right before it is served.
    ReplacedObject,
    /// The API answers with fields and with values of enumerations that no document lists, as a newer one would.
    Novelty,
}

impl Fault {
    /// Something that goes wrong.
    pub fn new(effect: Effect) -> Self {
        Self { effect, server: None, method: None, path: None, after: 0, times: None, probability: None }
    }

    /// Only with requests to this server.
    pub fn on(mut self, server: Server) -> Self {
        self.server = Some(server);
        self
    }

    /// Only with requests of this method.
    pub fn with_method(mut self, method: impl Into<String>) -> Self {
        self.method = Some(method.into());
        self
    }

    /// Only with requests for a path of this form, in which `*` stands for anything.
    pub fn with_path(mut self, path: impl Into<String>) -> Self {
        self.path = Some(path.into());
        self
    }

    /// Not before so many requests that it could have happened to.
    pub fn after(mut self, requests: u32) -> Self {
        self.after = requests;
        self
    }

    /// So many times, and then no more.
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }

    /// With this probability, 0 to 1.
    pub fn with_probability(mut self, probability: f64) -> Self {
        self.probability = Some(probability);
        self
    }

    /// What is wrong with the fault itself.
    pub(super) fn check(&self) -> Result<(), String> {
        match self.effect {
            // RFC 9110, sections 15.3.5 and 15.4.5.
            Effect::Status { status: status @ (204 | 205 | 304), body: Some(_) } => {
                Err(format!("an answer with the status {status} has no body"))
            }
            Effect::Status { status, .. } if !(200..600).contains(&status) => {
                Err(format!("the status {status} is not within 200 to 599"))
            }
            Effect::Bandwidth { bytes_per_second: 0 } => Err("the bandwidth must be at least 1".to_owned()),
            _ if self.probability.is_some_and(|probability| !(0.0..=1.0).contains(&probability)) => {
                Err("the probability must be within 0 to 1".to_owned())
            }
            _ => Ok(()),
        }
    }

    fn fits(&self, server: Server, method: &str, path: &str) -> bool {
        self.server.is_none_or(|wanted| wanted == server)
            && self.method.as_ref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(method))
            && self.path.as_ref().is_none_or(|form| matches(form, path))
    }
}

/// Whether `path` is of a form in which `*` stands for anything.
fn matches(form: &str, path: &str) -> bool {
    let mut parts = form.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = path.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// The faults of a platform.
#[derive(Default)]
pub(crate) struct Faults(Mutex<Vec<Armed>>);

/// A fault, and to how many requests it could have happened and did.
struct Armed {
    fault: Fault,
    met: u32,
    happened: u32,
}

impl Faults {
    pub(super) fn add(&self, fault: Fault) {
        self.0.lock().push(Armed { fault, met: 0, happened: 0 });
    }

    pub(super) fn clear(&self) {
        self.0.lock().clear();
    }

    /// Those that can still happen.
    pub(super) fn list(&self) -> Vec<Fault> {
        self.0.lock().iter().map(|armed| armed.fault.clone()).collect()
    }

    /// What goes wrong with this request.
    pub(crate) fn strike(&self, server: Server, method: &str, path: &str, random: &Random) -> Vec<Effect> {
        let mut all = self.0.lock();
        let mut effects = Vec::new();
        for armed in all.iter_mut().filter(|armed| armed.fault.fits(server, method, path)) {
            armed.met = armed.met.saturating_add(1);
            if armed.met <= armed.fault.after || armed.fault.probability.is_some_and(|part| random.part() >= part) {
                continue;
            }
            armed.happened += 1;
            effects.push(armed.fault.effect.clone());
        }
        all.retain(|armed| armed.fault.times.is_none_or(|times| armed.happened < times));
        effects
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_fits_whole_paths() {
        for (form, path) in
            [("/a", "/a"), ("*", "/a/b"), ("/a/*", "/a/b/c"), ("/*/c", "/a/b/c"), ("/a*b*c", "/a-b-b-c")]
        {
            assert!(matches(form, path), "{form} {path}");
        }
        for (form, path) in [("/a", "/a/b"), ("/a", "/"), ("/a/*", "/b/a/"), ("*/c", "/c/d"), ("/a*a", "/a"), ("", "/")]
        {
            assert!(!matches(form, path), "{form} {path}");
        }
    }
}
