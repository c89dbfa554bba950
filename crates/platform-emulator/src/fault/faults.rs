//! The active faults, and their application to requests.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::{Effect, Fault};
use crate::random::Random;
use crate::server_name::Server;

/// The active faults of an emulator.
#[derive(Default)]
pub(crate) struct Faults(Mutex<Vec<ActiveFault>>);

/// An active fault, the numbers of matching and affected requests, and the time of its first occurrence.
struct ActiveFault {
    fault: Fault,
    match_count: u32,
    occurrence_count: u32,
    first_occurrence: Option<Instant>,
}

impl ActiveFault {
    fn new(fault: Fault) -> Self {
        Self { fault, match_count: 0, occurrence_count: 0, first_occurrence: None }
    }

    /// Counts a matching request, and returns the effect on the request if it is affected.
    fn effect_on_match(&mut self, random: &Random, now: Instant) -> Option<Effect> {
        self.match_count = self.match_count.saturating_add(1);
        if self.match_count <= self.fault.after
            || self.fault.probability.is_some_and(|probability| random.fraction() >= probability)
        {
            return None;
        }
        self.occurrence_count = self.occurrence_count.saturating_add(1);
        self.first_occurrence.get_or_insert(now);
        Some(self.fault.effect.clone())
    }

    fn has_ended(&self, now: Instant) -> bool {
        let is_used_up = self.fault.times.is_some_and(|times| self.occurrence_count >= times);
        let duration = self.fault.for_milliseconds.map(Duration::from_millis);
        let is_over = self
            .first_occurrence
            .zip(duration)
            .is_some_and(|(first_occurrence, duration)| now.duration_since(first_occurrence) >= duration);
        is_used_up || is_over
    }
}

impl Faults {
    pub(crate) fn new(faults: impl IntoIterator<Item = Fault>) -> Self {
        Self(Mutex::new(faults.into_iter().map(ActiveFault::new).collect()))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }

    pub(crate) fn add(&self, fault: Fault) {
        self.0.lock().push(ActiveFault::new(fault));
    }

    pub(crate) fn clear(&self) {
        self.0.lock().clear();
    }

    /// Returns the faults that can still occur.
    pub(crate) fn list(&self, now: Instant) -> Vec<Fault> {
        let mut active_faults = self.0.lock();
        active_faults.retain(|active| !active.has_ended(now));
        active_faults.iter().map(|active| active.fault.clone()).collect()
    }

    /// Counts a request, and returns the effects on it.
    pub(crate) fn effects_on(
        &self,
        (server, method, path): (Server, &str, &str),
        random: &Random,
        now: Instant,
    ) -> Vec<Effect> {
        let mut active_faults = self.0.lock();
        active_faults.retain(|active| !active.has_ended(now));
        let matching = active_faults.iter_mut().filter(|active| active.fault.is_match(server, method, path));
        matching.filter_map(|active| active.effect_on_match(random, now)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: (Server, &str, &str) = (Server::Api, "GET", "/");

    fn outage() -> Fault {
        Fault::new(Effect::Status { status: 503, body: None })
    }

    /// Returns true if a request this long after `start` is affected by a fault.
    fn is_affected(faults: &Faults, start: Instant, seconds: f64) -> bool {
        let now = start + Duration::from_secs_f64(seconds);
        !faults.effects_on(REQUEST, &Random::new(Some(1), 0), now).is_empty()
    }

    #[tokio::test(start_paused = true)]
    async fn duration_begins_with_the_first_affected_request() {
        let start = Instant::now();
        let faults = Faults::new([outage().after(1).with_duration(Duration::from_secs(60))]);
        let moments = [0.0, 100.0, 159.9, 160.0, 1000.0];
        assert_eq!(moments.map(|moment| is_affected(&faults, start, moment)), [false, true, true, false, false]);
    }

    #[tokio::test(start_paused = true)]
    async fn duration_and_times_both_end_a_fault() {
        let start = Instant::now();
        let faults = Faults::new([outage().times(2).with_duration(Duration::from_secs(60))]);
        assert_eq!([0.0, 1.0, 2.0].map(|moment| is_affected(&faults, start, moment)), [true, true, false]);
        let faults = Faults::new([outage().times(9).with_duration(Duration::from_secs(60))]);
        assert_eq!([0.0, 1.0, 60.0].map(|moment| is_affected(&faults, start, moment)), [true, true, false]);
        assert!(faults.list(start + Duration::from_secs(60)).is_empty());
    }
}
