//! The circuit breaker of one host. Its functions are pure decisions with the time as an argument.
//!
//! - **Closed**: requests are sent. Several consecutive transient failures, of any requests, open the circuit; a
//!   `Retry-After` opens it at once.
//! - **Open**: nothing is sent until `probe_at`. Then one request is sent as a probe, and the others wait. Any response
//!   closes the circuit; each failed probe sets a later `probe_at`.
//!
//! Failures expire if no request follows them.

use std::time::Duration;

use tokio::time::Instant;

/// The number of consecutive failures that open the circuit. Occasional failures of one request must not block the
/// others.
const FAILURE_THRESHOLD: u32 = 5;
/// The time after which a failure expires if no attempt follows it.
const FAILURE_LIFETIME: Duration = Duration::from_secs(120);

#[derive(Debug, Default)]
pub(super) struct Circuit {
    /// The host has responded, with any status.
    pub(super) has_answered: bool,
    failing: Option<Failing>,
    /// The start of the outage that the observer was notified of.
    announced: Option<Instant>,
}

#[derive(Debug)]
struct Failing {
    since: Instant,
    last: Instant,
    /// Consecutive failures of all requests.
    failures: u32,
    /// Consecutive failed probes.
    probes: u32,
    probe_at: Instant,
    /// The server requested the pause until `probe_at`.
    is_asked: bool,
    is_probing: bool,
    is_open: bool,
    cause: String,
}

/// The decision for a request that is ready to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Send,
    /// Send the request and report its result: others wait for it.
    Probe,
    /// Wait for the result of a probe, or until this time.
    Wait {
        until: Option<Instant>,
        /// The server requested the pause.
        is_asked: bool,
    },
}

/// The outage that a request waits for.
#[derive(Clone, Debug)]
pub(super) struct Outage {
    pub(super) since: Instant,
    /// The time of the last failure.
    pub(super) last: Instant,
    pub(super) cause: String,
}

/// The outage that a response ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    pub(super) was_failing: bool,
    /// The start of the outage that the observer was notified of.
    pub(super) announced: Option<Instant>,
}

impl Circuit {
    /// Decides for a request. With `at_once`, a probe is sent before `probe_at`.
    pub(super) fn enter(&mut self, now: Instant, at_once: bool) -> Entry {
        self.failing.take_if(|failing| !failing.is_probing && now.duration_since(failing.last) > FAILURE_LIFETIME);
        let Some(failing) = self.failing.as_mut().filter(|failing| failing.is_open) else { return Entry::Send };
        if failing.is_probing {
            return Entry::Wait { until: None, is_asked: false };
        }
        if now < failing.probe_at && !at_once {
            return Entry::Wait { until: Some(failing.probe_at), is_asked: failing.is_asked };
        }
        failing.is_probing = true;
        Entry::Probe
    }

    /// Records a response that is not a transient failure.
    pub(super) fn succeeded(&mut self) -> Ended {
        self.has_answered = true;
        Ended { was_failing: self.failing.take().is_some(), announced: self.announced.take() }
    }

    /// Records a transient failure. `pause` returns the time until the next probe, given the number of failed probes.
    pub(super) fn failed(
        &mut self,
        now: Instant,
        was_probe: bool,
        cause: String,
        retry_after: Option<Duration>,
        pause: impl FnOnce(u32) -> Duration,
    ) {
        let failing = self.failing.get_or_insert_with(|| Failing {
            since: now,
            last: now,
            failures: 0,
            probes: 0,
            probe_at: now,
            is_asked: false,
            is_probing: false,
            is_open: false,
            cause: String::new(),
        });
        failing.failures = failing.failures.saturating_add(1);
        (failing.last, failing.cause) = (now, cause);
        let opens = !failing.is_open && (failing.failures >= FAILURE_THRESHOLD || retry_after.is_some());
        if was_probe {
            failing.is_probing = false;
        }
        if opens || was_probe {
            failing.is_open = true;
            failing.probes = failing.probes.saturating_add(1);
            failing.probe_at = now + pause(failing.probes);
            failing.is_asked = false;
        }
        if let Some(until) = retry_after.map(|retry_after| now + retry_after).filter(|until| *until > failing.probe_at)
        {
            (failing.probe_at, failing.is_asked) = (until, true);
        }
    }

    /// Records that a probe ended without a result.
    pub(super) fn abandoned(&mut self) {
        if let Some(failing) = &mut self.failing {
            failing.is_probing = false;
        }
    }

    /// Returns the outage, while the circuit is open.
    pub(super) fn outage(&self) -> Option<Outage> {
        let failing = self.failing.as_ref().filter(|failing| failing.is_open)?;
        Some(Outage { since: failing.since, last: failing.last, cause: failing.cause.clone() })
    }

    /// Records that the observer is notified of a wait. Returns false if it was notified before.
    pub(super) fn announce(&mut self, since: Instant) -> bool {
        let is_new = self.announced.is_none();
        self.announced.get_or_insert(since);
        is_new
    }

    pub(super) fn is_announced(&self) -> bool {
        self.announced.is_some()
    }
}

#[cfg(test)]
#[path = "circuit/tests.rs"]
mod tests;
