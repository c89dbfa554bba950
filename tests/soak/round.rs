//! Concurrent commands of one user around the expiry of the token.

use std::fmt::Write;

use fastrand::Rng;
use futures_util::future::join_all;
use tokio::time::Instant;

use crate::attempt::{Attempt, EndedCommand};
use crate::emulator::Delay;
use crate::kind::Exit;
use crate::report::Report;
use crate::user::User;

/// The number of commands that one user runs at the same time.
pub(crate) const PARALLEL: usize = 4;
/// The possible maxima of the lifetime of the token at the start of a round, in milliseconds. With the short maximum,
/// the token expires during the round. With the long one, the token can also be in its refresh window or enter it.
const MAX_LIFETIMES_MS: [u64; 2] = [1_500, 5_500];

pub(crate) struct Round {
    delay: Delay,
    lifetime_ms: u64,
    attempts: Vec<Attempt>,
}

impl Round {
    pub(crate) fn draw(random: &mut Rng, size: usize, kills: bool) -> Self {
        let delay = Delay::draw(random);
        let attempts = (0..size).map(|_| Attempt::draw(random, kills, delay.total())).collect();
        let max_lifetime_ms = MAX_LIFETIMES_MS[random.usize(..MAX_LIFETIMES_MS.len())];
        Self { delay, lifetime_ms: random.u64(..max_lifetime_ms), attempts }
    }

    pub(crate) fn size(&self) -> usize {
        self.attempts.len()
    }

    /// Runs all commands and reports them. Logs in again if the login is lost afterwards.
    pub(crate) async fn run(self, user: &User, report: &mut Report) {
        let Self { delay, lifetime_ms, attempts } = self;
        user.emulator.begin(delay).await;
        user.expire_in(lifetime_ms);
        let round_start = Instant::now();
        let ended = join_all(attempts.into_iter().map(|attempt| attempt.run(user, round_start))).await;
        report.add_responses(&user.emulator.responses().await);

        user.emulator.clear_delay().await;
        let is_logged_in = user.refresh().await && user.emulator.responses().await.refused == 0;
        for ended in &ended {
            report.add_command(ended);
            // After the loss of the login, the other commands require a new login.
            let refused = !is_logged_in && ended.exit == Exit::Code(4);
            if !refused && !ended.kind.allows(ended.exit, ended.error.as_deref()) {
                report.unexpected_ends.push(format!("{}\n{}", describe(ended), ended.stderr));
            }
        }
        if !is_logged_in {
            let heading = format!("user {}, token expires after {lifetime_ms} ms, {delay}", user.number);
            report.add_loss(&ended, heading + &suspects(&ended));
            user.log_in().await;
            user.refresh().await;
        }
    }
}

/// Returns the commands that have started a refresh, or else all commands.
fn suspects(all: &[EndedCommand]) -> String {
    let any_refreshed = all.iter().any(|ended| ended.has_refreshed);
    let lines = all
        .iter()
        .filter(|ended| ended.has_refreshed || !any_refreshed)
        .map(|ended| format!("\n    {}", describe(ended)));
    lines.collect()
}

fn describe(EndedCommand { kind, exit, error, time: (start, end), signals, .. }: &EndedCommand) -> String {
    let mut line = format!("{kind}: {} to {} ms, exit {exit}", start.as_millis(), end.as_millis());
    for signal in signals {
        write!(line, ", signal {} ms later", signal.as_millis()).unwrap();
    }
    if let Some(error) = error {
        write!(line, ", {error}").unwrap();
    }
    line
}
