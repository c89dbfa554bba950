use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use auth_core::error_chain;
use tokio::time::Instant;
use url::Url;

use super::circuit::{Admission, Circuit, Outage};
use super::event::{Resumed, RetryEvent, Waiting};
use super::hosts::{Host, Hosts};
use super::policy::RetryPolicy;
use super::retries_exhausted::{Reason, RetriesExhausted};
use crate::response::MAX_PAUSE;

/// The retry state of one request. The request may be sent more than once, so it must be idempotent.
///
/// ```
/// use auth_http::retry::RetryPolicy;
/// use auth_http::{HttpClient, Request};
/// # use auth_http::Response;
///
/// # async fn example(client: HttpClient, url: url::Url) -> Result<Response, Box<dyn std::error::Error>> {
/// let mut attempts = client.attempts(&url, &RetryPolicy::default());
/// loop {
///     attempts.wait_until_ready().await?;
///     match client.send(Request::get(url.clone())).await {
///         Ok(response) => {
///             attempts.record_response();
///             return Ok(response);
///         }
///         Err(error) if error.is_transient() => attempts.record_failure(&error, None)?,
///         Err(error) => return Err(error.into()),
///     }
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct Attempts {
    host: Arc<Host>,
    policy: RetryPolicy,
    /// The number of failures since the last progress.
    failures: u32,
    /// The time of the first failure since the last progress.
    first_failure_at: Option<Instant>,
    /// The message of the last failure.
    cause: String,
    /// The end of the backoff of this request, while the circuit breaker is closed.
    backoff_end: Option<Instant>,
    /// True if this request is the probe whose result the other requests to the host wait for.
    is_probe: bool,
}

/// The next step of a request.
enum Step {
    Send,
    Fail(RetriesExhausted),
    /// Wait until this time, or until the circuit breaker changes.
    Wait(Option<Instant>),
}

impl Hosts {
    /// Returns the retry state of one request to the host of `url`.
    pub fn attempts(&self, url: &Url, policy: &RetryPolicy) -> Attempts {
        Attempts::new(self.host(url), *policy)
    }
}

impl Attempts {
    fn new(host: Arc<Host>, policy: RetryPolicy) -> Self {
        let cause = String::new();
        Self { host, policy, failures: 0, first_failure_at: None, cause, backoff_end: None, is_probe: false }
    }

    /// Returns a retry state with its own circuit breaker, for an operation that is not a request to one host.
    pub fn without_host(policy: &RetryPolicy) -> Self {
        let host = Host::default();
        host.circuit().has_responded = true;
        Self::new(Arc::new(host), *policy)
    }

    /// Returns the number of failures since the last progress.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Continues an earlier sequence of failures. `elapsed` is the time since its first failure.
    #[must_use]
    pub fn with_failing_for(mut self, elapsed: Option<Duration>) -> Self {
        self.first_failure_at = elapsed.and_then(|elapsed| Instant::now().checked_sub(elapsed));
        self
    }

    /// Waits until the request may be sent. Returns immediately if neither this request nor its host has failed.
    ///
    /// # Errors
    ///
    /// [`RetriesExhausted`] if the host has been failing for longer than the limit.
    pub async fn wait_until_ready(&mut self) -> Result<(), RetriesExhausted> {
        if self.policy.is_disabled() {
            return Ok(());
        }
        let host = self.host.clone();
        loop {
            let mut changed = std::pin::pin!(host.changed.notified());
            changed.as_mut().enable();
            match self.next_step(Instant::now()) {
                Step::Send => return Ok(()),
                Step::Fail(exhausted) => return Err(exhausted),
                Step::Wait(Some(until)) => tokio::select! {
                    () = changed => {}
                    () = tokio::time::sleep_until(until) => {}
                },
                Step::Wait(None) => changed.await,
            }
        }
    }

    /// Records a response that is not a transient failure, which closes the circuit breaker.
    pub fn record_response(&mut self) {
        self.is_probe = false;
        let ended_failures = self.host.circuit().record_success();
        if ended_failures.was_failing {
            self.host.changed.notify_waiters();
        }
        if let Some(start) = ended_failures.announced_outage_start {
            let (host, elapsed) = (self.host.name.clone(), start.elapsed());
            self.host.notify_observer(&RetryEvent::Resumed(Resumed { host, elapsed }));
        }
    }

    /// Records that the operation has made progress, such as a part of a download. The next failure counts as the
    /// first.
    pub fn record_progress(&mut self) {
        (self.failures, self.first_failure_at, self.backoff_end) = (0, None, None);
    }

    /// Records a transient failure that is not a response of the host, such as a failed connection. `retry_after` is
    /// the pause before the next attempt that the error requires, if any.
    ///
    /// # Errors
    ///
    /// [`RetriesExhausted`] if the request must not be retried, because a limit is reached.
    pub fn record_failure(
        &mut self,
        error: &(dyn Error + 'static),
        retry_after: Option<Duration>,
    ) -> Result<(), RetriesExhausted> {
        self.add_failure(error, retry_after, false)
    }

    /// Records a response whose status is a transient failure. `retry_after` is the pause that the server requested
    /// (`Retry-After`).
    ///
    /// # Errors
    ///
    /// [`RetriesExhausted`] if the request must not be retried, because a limit is reached.
    pub fn record_failure_response(
        &mut self,
        error: &(dyn Error + 'static),
        retry_after: Option<Duration>,
    ) -> Result<(), RetriesExhausted> {
        self.add_failure(error, retry_after, true)
    }

    fn add_failure(
        &mut self,
        error: &(dyn Error + 'static),
        retry_after: Option<Duration>,
        is_response: bool,
    ) -> Result<(), RetriesExhausted> {
        let retry_after = retry_after.map(|retry_after| retry_after.min(MAX_PAUSE));
        let now = Instant::now();
        let first_failure_at = *self.first_failure_at.get_or_insert(now);
        self.failures = self.failures.saturating_add(1);
        if self.policy.is_disabled() {
            return Err(self.retries_exhausted(Reason::Disabled, now));
        }
        let was_probe = std::mem::take(&mut self.is_probe);
        self.cause = error_chain(error);
        let (backoff, failures, random) = (self.policy.backoff(), self.failures, fastrand::f64());
        let pause = |probes: u32| backoff.pause(probes.max(failures), random);
        let (outage, deadline, has_responded) = {
            let mut circuit = self.host.circuit();
            circuit.has_responded |= is_response;
            circuit.record_failure(now, was_probe, self.cause.clone(), retry_after, pause);
            let outage = circuit.outage();
            let deadline = self.deadline(&circuit, outage.as_ref());
            (outage, deadline, circuit.has_responded)
        };
        self.host.changed.notify_waiters();
        let deadline = deadline.unwrap_or(now);
        let remaining = deadline.saturating_duration_since(now);
        if self.policy.attempts().is_some_and(|attempts| failures >= attempts) {
            return Err(self.retries_exhausted(Reason::AttemptLimit, now));
        }
        if remaining.is_zero() {
            let reason = if has_responded { Reason::TimeLimit } else { Reason::NeverResponded };
            return Err(self.retries_exhausted(reason, now));
        }
        if let Some(retry_after) = retry_after.filter(|retry_after| *retry_after > remaining) {
            return Err(self.retries_exhausted(Reason::RetryAfter { retry_after, remaining }, now));
        }
        // The limit of this request also applies while the circuit breaker is open. A host may fail only for this
        // request, and without other requests, the circuit breaker would remain open.
        if now - first_failure_at >= self.policy.request_limit() {
            return Err(self.retries_exhausted(Reason::RequestLimit, now));
        }
        // While the circuit breaker is open, it determines the time of the next attempt for all requests.
        self.backoff_end = None;
        if outage.is_none() {
            self.backoff_end = Some((now + pause(failures)).min(deadline));
        }
        Ok(())
    }

    fn next_step(&mut self, now: Instant) -> Step {
        if self.is_probe {
            return Step::Send;
        }
        let mut circuit = self.host.circuit();
        let outage = circuit.outage();
        let deadline = self.deadline(&circuit, outage.as_ref());
        let backoff_end = self.backoff_end.filter(|backoff_end| now < *backoff_end);
        let (until, is_retry_after) = if backoff_end.is_some() {
            (backoff_end, false)
        } else {
            // A final request is sent when the limit is reached, because the host may have recovered since the last
            // probe.
            let has_failed_before = |end: Instant| outage.as_ref().is_some_and(|outage| outage.last_failure_at < end);
            let is_final_attempt = deadline.is_some_and(|deadline| now >= deadline && has_failed_before(deadline));
            match circuit.admit(now, is_final_attempt) {
                Admission::Send => return Step::Send,
                Admission::Probe => {
                    self.is_probe = true;
                    return Step::Send;
                }
                Admission::Wait { until, is_retry_after } => (until, is_retry_after),
            }
        };
        let (Some(deadline), Some(until)) = (deadline, until) else { return Step::Wait(None) };
        let remaining = deadline.saturating_duration_since(now);
        if remaining.is_zero() {
            let cause = outage.map(|outage| outage.cause).unwrap_or_default();
            drop(circuit);
            return Step::Fail(
                self.retries_exhausted(Reason::Unavailable { host: self.host.name.clone(), cause }, now),
            );
        }
        if is_retry_after && until > deadline {
            drop(circuit);
            let retry_after = until.saturating_duration_since(now);
            return Step::Fail(self.retries_exhausted(Reason::RetryAfter { retry_after, remaining }, now));
        }
        let next = until.min(deadline);
        let notice = self.decide_notice(&mut circuit, outage, now, next, remaining);
        drop(circuit);
        match notice {
            Notice::Later(time) => Step::Wait(Some(next.min(time))),
            Notice::Now(waiting) => {
                self.host.notify_observer(&RetryEvent::Waiting(waiting));
                Step::Wait(Some(next))
            }
            Notice::None => Step::Wait(Some(next)),
        }
    }

    /// Decides if the observer is notified of the wait until `next`. `remaining` is the time until the retry limit.
    fn decide_notice(
        &self,
        circuit: &mut Circuit,
        outage: Option<Outage>,
        now: Instant,
        next: Instant,
        remaining: Duration,
    ) -> Notice {
        let Some(observer) = &self.host.observer else { return Notice::None };
        let Some(since) = self.first_failure(outage.as_ref()).filter(|_| !circuit.is_announced()) else {
            return Notice::None;
        };
        let elapsed = now.saturating_duration_since(since);
        if elapsed < observer.threshold {
            return Notice::Later(since + observer.threshold);
        }
        circuit.announce(since);
        Notice::Now(Waiting {
            host: self.host.name.clone(),
            cause: outage.map_or_else(|| self.cause.clone(), |outage| outage.cause),
            elapsed,
            next_attempt: next.saturating_duration_since(now),
            left: remaining,
        })
    }

    /// Returns the time of the first failure of this request or, if the circuit breaker is open, of any request to its
    /// host, since the last success.
    fn first_failure(&self, outage: Option<&Outage>) -> Option<Instant> {
        self.first_failure_at.into_iter().chain(outage.map(|outage| outage.first_failure_at)).min()
    }

    /// Returns the time at which the retry limit is reached, or `None` if nothing has failed.
    fn deadline(&self, circuit: &Circuit, outage: Option<&Outage>) -> Option<Instant> {
        Some(self.first_failure(outage)? + self.policy.limit_for(circuit.has_responded))
    }

    fn retries_exhausted(&self, reason: Reason, now: Instant) -> RetriesExhausted {
        let outage = self.host.circuit().outage();
        let elapsed = self.first_failure(outage.as_ref()).map_or(Duration::ZERO, |since| now - since);
        RetriesExhausted::new(reason, self.failures, elapsed)
    }
}

/// A decision about notifying the observer of a wait.
enum Notice {
    None,
    /// Decide again at this time, when the wait reaches the threshold of the observer.
    Later(Instant),
    Now(Waiting),
}

impl Drop for Attempts {
    /// If this request was the probe, lets another request be the probe, because a dropped request has no result.
    fn drop(&mut self) {
        if self.is_probe {
            self.host.circuit().record_dropped_probe();
            self.host.changed.notify_waiters();
        }
    }
}
