//! The platform of one user: tokens with a short lifetime, and refresh tokens that rotate without a grace period.

use std::fmt;

use fastrand::Rng;
use platform_emulator::{Config, Control, Effect, Fault, Server};

use crate::variables::variables;

/// The lifetime of an access token in seconds. The client refreshes it in the last quarter.
const LIFETIME: u64 = 20;
/// The maximum of each delay, in milliseconds.
const DELAY_MS: u64 = 800;
/// The size of a response with tokens, in bytes.
const RESPONSE_BYTES: u64 = 1087;
const TOKEN_PATH: &str = "/oauth/token";

pub(crate) struct Emulator {
    inner: platform_emulator::Emulator,
    control: Control,
}

/// The delays of the token endpoint, in milliseconds.
#[derive(Clone, Copy)]
pub(crate) struct Delay {
    /// The delay before the redemption of the refresh token.
    before: u64,
    /// The delay between the redemption and the last byte of the response.
    after: u64,
}

/// The numbers of requests to the token endpoint, by their responses.
#[derive(Default)]
pub(crate) struct ResponseCounts {
    pub(crate) successful: usize,
    pub(crate) refused: usize,
    /// The requests whose client disconnected before the refresh token was redeemed.
    pub(crate) abandoned: usize,
}

impl Delay {
    pub(crate) fn draw(random: &mut Rng) -> Self {
        let (before, after) = (random.u64(..=DELAY_MS), random.u64(1..=DELAY_MS));
        match random.u8(..6) {
            0 => Self { before: 0, after: 0 },
            1 => Self { before, after: 0 },
            2 => Self { before, after },
            _ => Self { before: 0, after },
        }
    }

    pub(crate) fn total(self) -> u64 {
        self.before + self.after
    }

    fn effects(self) -> Vec<Effect> {
        let latency = (self.before > 0).then_some(Effect::Latency { milliseconds: self.before });
        let rate = (RESPONSE_BYTES * 1000).checked_div(self.after);
        let bandwidth = rate.map(|bytes_per_second| Effect::Bandwidth { bytes_per_second });
        latency.into_iter().chain(bandwidth).collect()
    }
}

impl fmt::Display for Delay {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "delayed by {} ms before the redemption, {} ms after it", self.before, self.after)
    }
}

impl Emulator {
    pub(crate) async fn start() -> Self {
        let mut config = Config::default();
        config.automatic_login = true;
        config.access_token_seconds = LIFETIME;
        config.refresh_grace_seconds = 0;
        let inner = platform_emulator::Emulator::builder().with_config(config).with_control().start().await.unwrap();
        let control = inner.control().unwrap();
        Self { inner, control }
    }

    /// Returns the variables that configure a client for this emulator.
    pub(crate) fn variables(&self) -> Vec<(&'static str, String)> {
        variables(&self.inner)
    }

    /// Delays the token endpoint from now on, and clears the journal.
    pub(crate) async fn begin(&self, delay: Delay) {
        self.control.clear_journal().await.unwrap();
        self.control.clear_faults().await.unwrap();
        for effect in delay.effects() {
            let fault = Fault::new(effect).on(Server::Identity).with_path(TOKEN_PATH);
            self.control.inject(&fault).await.unwrap();
        }
    }

    /// Returns the responses of the token endpoint since the last delay was set.
    pub(crate) async fn responses(&self) -> ResponseCounts {
        let mut responses = ResponseCounts::default();
        for request in self.control.journal(Server::Identity).await.unwrap() {
            match request.status {
                _ if request.path != TOKEN_PATH => {}
                200 => responses.successful += 1,
                0 => responses.abandoned += 1,
                _ => responses.refused += 1,
            }
        }
        responses
    }

    pub(crate) async fn clear_delay(&self) {
        self.control.clear_faults().await.unwrap();
    }
}
