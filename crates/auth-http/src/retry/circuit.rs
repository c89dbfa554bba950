//! The circuit breaker of one host. Its methods only make decisions, and get the current time as an argument.
//!
//! - **Closed**: all requests are sent. Several consecutive transient failures, of any requests, open the circuit
//!   breaker. A `Retry-After` opens it immediately.
//! - **Open**: no request is sent until `probe_at`. Then one request is sent as a probe, and the others wait. A
//!   response that is not a transient failure closes the circuit breaker. Each failed probe sets a later `probe_at`.
//!
//! Failures are forgotten after [`FAILURE_LIFETIME`] without another failure.

use std::time::Duration;

use tokio::time::Instant;

/// The number of consecutive failures that open the circuit breaker. It is more than one, so that an occasional failure
/// of one request does not delay the other requests.
const FAILURE_THRESHOLD: u32 = 5;
/// The time after which all failures are forgotten if no other failure occurs.
const FAILURE_LIFETIME: Duration = Duration::from_secs(120);

#[derive(Debug, Default)]
pub(super) struct Circuit {
    /// True if the host has responded since the process started, with any status.
    pub(super) has_responded: bool,
    failure_sequence: Option<FailureSequence>,
    /// The start of the outage that the observer was notified of.
    announced_outage_start: Option<Instant>,
}

/// A sequence of failures without a success.
#[derive(Debug)]
struct FailureSequence {
    /// The time of the first failure.
    first_failure_at: Instant,
    /// The time of the last failure.
    last_failure_at: Instant,
    /// The number of consecutive failures of all requests.
    failures: u32,
    /// The number of consecutive failed probes. The failure that opened the circuit breaker counts as one.
    failed_probes: u32,
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
    pub(super) first_failure_at: Instant,
    /// The time of the last failure.
    pub(super) last_failure_at: Instant,
    /// The message of the last failure.
    pub(super) cause: String,
}

/// The failures that a success has ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct EndedFailures {
    /// True if requests have failed since the last success.
    pub(super) was_failing: bool,
    /// The start of the outage that the observer was notified of.
    pub(super) announced_outage_start: Option<Instant>,
}

impl Circuit {
    /// Decides whether a request may be sent. With `ignores_pause`, it may be sent as a probe before `probe_at`.
    pub(super) fn admit(&mut self, now: Instant, ignores_pause: bool) -> Admission {
        self.failure_sequence.take_if(|sequence| {
            !sequence.is_probing && now.duration_since(sequence.last_failure_at) > FAILURE_LIFETIME
        });
        let Some(sequence) = self.failure_sequence.as_mut().filter(|sequence| sequence.is_open) else {
            return Admission::Send;
        };
        if sequence.is_probing {
            return Admission::Wait { until: None, is_retry_after: false };
        }
        if now < sequence.probe_at && !ignores_pause {
            return Admission::Wait { until: Some(sequence.probe_at), is_retry_after: sequence.is_retry_after };
        }
        sequence.is_probing = true;
        Admission::Probe
    }

    /// Records a response that is not a transient failure.
    pub(super) fn record_success(&mut self) -> EndedFailures {
        self.has_responded = true;
        EndedFailures {
            was_failing: self.failure_sequence.take().is_some(),
            announced_outage_start: self.announced_outage_start.take(),
        }
    }

    /// Records a transient failure. `pause` returns the pause before the next probe, given the number of failed probes.
    pub(super) fn record_failure(
        &mut self,
        now: Instant,
        was_probe: bool,
        cause: String,
        retry_after: Option<Duration>,
        pause: impl FnOnce(u32) -> Duration,
    ) {
        let sequence = self.failure_sequence.get_or_insert_with(|| FailureSequence {
            first_failure_at: now,
            last_failure_at: now,
            failures: 0,
            failed_probes: 0,
            probe_at: now,
            is_retry_after: false,
            is_probing: false,
            is_open: false,
            cause: String::new(),
        });
        sequence.failures = sequence.failures.saturating_add(1);
        (sequence.last_failure_at, sequence.cause) = (now, cause);
        let opens = !sequence.is_open && (sequence.failures >= FAILURE_THRESHOLD || retry_after.is_some());
        if was_probe {
            sequence.is_probing = false;
        }
        if opens || was_probe {
            sequence.is_open = true;
            sequence.failed_probes = sequence.failed_probes.saturating_add(1);
            sequence.probe_at = now + pause(sequence.failed_probes);
            sequence.is_retry_after = false;
        }
        if let Some(until) = retry_after.map(|retry_after| now + retry_after).filter(|until| *until > sequence.probe_at)
        {
            (sequence.probe_at, sequence.is_retry_after) = (until, true);
        }
    }

    /// Records that the probe was dropped without a result.
    pub(super) fn record_dropped_probe(&mut self) {
        if let Some(sequence) = &mut self.failure_sequence {
            sequence.is_probing = false;
        }
    }

    /// Returns the outage, or `None` if the circuit breaker is closed.
    pub(super) fn outage(&self) -> Option<Outage> {
        let sequence = self.failure_sequence.as_ref().filter(|sequence| sequence.is_open)?;
        let FailureSequence { first_failure_at, last_failure_at, .. } = *sequence;
        Some(Outage { first_failure_at, last_failure_at, cause: sequence.cause.clone() })
    }

    /// Records that the observer is notified of the outage that began at `first_failure_at`. Returns false if the
    /// observer was already notified.
    pub(super) fn announce(&mut self, first_failure_at: Instant) -> bool {
        let is_new = self.announced_outage_start.is_none();
        self.announced_outage_start.get_or_insert(first_failure_at);
        is_new
    }

    /// Returns true if the observer was notified of the outage.
    pub(super) fn is_announced(&self) -> bool {
        self.announced_outage_start.is_some()
    }
}

#[cfg(test)]
#[path = "circuit/tests.rs"]
mod tests;
