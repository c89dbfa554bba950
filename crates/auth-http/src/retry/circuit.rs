//! The circuit breaker of one host. Its methods only make decisions; the time is an argument.
//!
//! - **Closed**: all requests are sent. Several consecutive transient failures, of any requests, open the circuit
//!   breaker. A `Retry-After` opens it immediately.
//! - **Open**: no request is sent until `probe_at`. Then one request is sent as a probe, and the others wait. A response
//!   that is not a transient failure closes the circuit breaker. Each failed probe sets a later `probe_at`.
//!
//! Failures are forgotten after [`FAILURE_LIFETIME`] without another failure.

use std::time::Duration;

use tokio::time::Instant;

/// The number of consecutive failures that open the circuit breaker. It is more than one, because occasional failures of
/// one request must not delay the others.
const FAILURE_THRESHOLD: u32 = 5;
/// The time after the last failure at which all failures are forgotten.
const FAILURE_LIFETIME: Duration = Duration::from_secs(120);

#[derive(Debug, Default)]
pub(super) struct Circuit {
    /// True if the host has responded since the process started, with any status.
    pub(super) has_answered: bool,
    failing: Option<Failing>,
    /// The start of the outage that the observer was notified of.
    announced: Option<Instant>,
}

/// A sequence of failures without a success.
#[derive(Debug)]
struct Failing {
    /// The time of the first failure.
    since: Instant,
    /// The time of the last failure.
    last: Instant,
    /// The number of consecutive failures of all requests.
    failures: u32,
    /// The number of consecutive failed probes. The failure that opened the circuit breaker counts as one.
    probes: u32,
    /// The earliest time of the next probe.
    probe_at: Instant,
    /// True if the server requested the pause until `probe_at` with `Retry-After`.
    is_retry_after: bool,
    /// True while a probe is in flight.
    is_probing: bool,
    is_open: bool,
    cause: String,
}

/// The decision of the circuit breaker about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    Send,
    /// Send the request, and report its result, because other requests wait for it.
    Probe,
    /// Wait until this time or, if there is none, for the result of the probe in flight.
    Wait {
        until: Option<Instant>,
        /// True if the server requested the pause with `Retry-After`.
        is_retry_after: bool,
    },
}

/// The outage of a host whose circuit breaker is open.
#[derive(Clone, Debug)]
pub(super) struct Outage {
    /// The time of the first failure.
    pub(super) since: Instant,
    /// The time of the last failure.
    pub(super) last: Instant,
    /// The message of the last failure.
    pub(super) cause: String,
}

/// The state that a success has ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    /// True if requests have failed since the last success.
    pub(super) was_failing: bool,
    /// The start of the outage that the observer was notified of.
    pub(super) announced: Option<Instant>,
}

impl Circuit {
    /// Decides whether a request may be sent. With `ignores_pause`, it may be sent as a probe before `probe_at`.
    pub(super) fn admit(&mut self, now: Instant, ignores_pause: bool) -> Admission {
        self.failing.take_if(|failing| !failing.is_probing && now.duration_since(failing.last) > FAILURE_LIFETIME);
        let Some(failing) = self.failing.as_mut().filter(|failing| failing.is_open) else { return Admission::Send };
        if failing.is_probing {
            return Admission::Wait { until: None, is_retry_after: false };
        }
        if now < failing.probe_at && !ignores_pause {
            return Admission::Wait { until: Some(failing.probe_at), is_retry_after: failing.is_retry_after };
        }
        failing.is_probing = true;
        Admission::Probe
    }

    /// Records a response that is not a transient failure.
    pub(super) fn succeeded(&mut self) -> Ended {
        self.has_answered = true;
        Ended { was_failing: self.failing.take().is_some(), announced: self.announced.take() }
    }

    /// Records a transient failure. `pause` returns the pause before the next probe, given the number of failed probes.
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
            is_retry_after: false,
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
            failing.is_retry_after = false;
        }
        if let Some(until) = retry_after.map(|retry_after| now + retry_after).filter(|until| *until > failing.probe_at)
        {
            (failing.probe_at, failing.is_retry_after) = (until, true);
        }
    }

    /// Records that the probe was dropped without a result.
    pub(super) fn abandoned(&mut self) {
        if let Some(failing) = &mut self.failing {
            failing.is_probing = false;
        }
    }

    /// Returns the outage, or `None` if the circuit breaker is closed.
    pub(super) fn outage(&self) -> Option<Outage> {
        let failing = self.failing.as_ref().filter(|failing| failing.is_open)?;
        Some(Outage { since: failing.since, last: failing.last, cause: failing.cause.clone() })
    }

    /// Records that the observer is notified of the outage that began at `since`. Returns false if it was already notified.
    pub(super) fn announce(&mut self, since: Instant) -> bool {
        let is_new = self.announced.is_none();
        self.announced.get_or_insert(since);
        is_new
    }

    /// Returns true if the observer was notified of the outage.
    pub(super) fn is_announced(&self) -> bool {
        self.announced.is_some()
    }
}

#[cfg(test)]
#[path = "circuit/tests.rs"]
mod tests;
