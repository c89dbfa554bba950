//! Concurrent commands of one user around the expiry of the token.

use std::fmt::Write;

use fastrand::Rng;
use futures_util::future::join_all;
use tokio::time::Instant;

use crate::attempt::{Attempt, Ended};
use crate::emulator::Delay;
use crate::kind::Exit;
use crate::report::Report;
use crate::user::User;

/// The number of commands that one user runs at the same time.
pub(crate) const PARALLEL: usize = 4;
/// The possible times until the token expires after the start of a round, in milliseconds. With the short one, the
/// token expires during the round. With the long one, the token is in its refresh window, or enters it.
const LEFT_MS: [u64; 2] = [1_500, 5_500];

pub(crate) struct Round {
    delay: Delay,
    left: u64,
    attempts: Vec<Attempt>,
}

impl Round {
    pub(crate) fn draw(random: &mut Rng, size: usize, kills: bool) -> Self {
        let delay = Delay::draw(random);
        let attempts = (0..size).map(|_| Attempt::draw(random, kills, delay.total())).collect();
        let longest = LEFT_MS[random.usize(..LEFT_MS.len())];
        Self { delay, left: random.u64(..longest), attempts }
    }

    pub(crate) fn size(&self) -> usize {
        self.attempts.len()
    }

    /// Runs all commands and reports them. Logs in again if the login is lost afterwards.
    pub(crate) async fn run(self, user: &User, report: &mut Report) {
        let Self { delay, left, attempts } = self;
        user.emulator.begin(delay).await;
        user.expire_in(left);
        let begin = Instant::now();
        let ended = join_all(attempts.into_iter().map(|attempt| attempt.run(user, begin))).await;
        report.add_responses(&user.emulator.responses().await);

        user.emulator.clear_delay().await;
        let alive = user.refresh().await && user.emulator.responses().await.refused == 0;
        for ended in &ended {
            report.add_command(ended);
            // Once the login is lost, the commands after it require a new one.
            let refused = !alive && ended.exit == Exit::Code(4);
            if !refused && !ended.kind.explains(ended.exit, ended.error.as_deref()) {
                report.unexplained.push(format!("{}\n{}", line(ended), ended.stderr));
            }
        }
        if !alive {
            let heading = format!("user {}, token expires after {left} ms, {delay}", user.number);
            report.add_loss(&ended, heading + &suspects(&ended));
            user.log_in().await;
            user.refresh().await;
        }
    }
}

/// Returns the commands that have sent a refresh token, or all commands if none of these is known.
fn suspects(all: &[Ended]) -> String {
    let known = all.iter().any(|ended| ended.renewed);
    let lines = all.iter().filter(|ended| ended.renewed || !known).map(|ended| format!("\n    {}", line(ended)));
    lines.collect()
}

fn line(Ended { kind, exit, error, time: (start, end), signals, .. }: &Ended) -> String {
    let mut line = format!("{kind}: {} to {} ms, exit {exit}", start.as_millis(), end.as_millis());
    for signal in signals {
        write!(line, ", signal {} ms later", signal.as_millis()).unwrap();
    }
    if let Some(error) = error {
        write!(line, ", {error}").unwrap();
    }
    line
}
