use std::time::Duration;

use super::Settings;

/// The retry limit of a program that only reads and runs at a terminal.
const READING_LIMIT: Duration = Duration::from_secs(30);
/// The retry limit at a terminal for a host that has not responded yet, because the host name may be wrong.
const UNANSWERED_LIMIT: Duration = Duration::from_secs(10);

/// The activity of a program, which determines how long it retries ([`Settings::limit_retries`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activity {
    /// Reports the current state, and never retries.
    Diagnosing,
    /// Only reads, and can be repeated.
    Reading,
    /// Changes something.
    #[default]
    Changing,
    /// Follows a run, or transfers files.
    Transferring,
}

impl Settings {
    /// Sets the limits of transient failures for an activity. `is_interactive` is true if a user waits at a terminal.
    ///
    /// - [`Diagnosing`](Activity::Diagnosing) never retries.
    /// - [`Transferring`](Activity::Transferring) uses the limit for transfers for all requests. The other activities
    ///   use the limit for requests, also for transfers.
    /// - `chosen` replaces these limits, except for `Diagnosing`.
    /// - At a terminal, [`Reading`](Activity::Reading) retries for 30 s, and any activity retries a host that has not
    ///   responded yet for 10 s. Settings of the user take precedence.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use platform_resources::{Activity, Settings};
    ///
    /// let mut settings = Settings::at(&"https://platform.aignostics.com".parse()?)?;
    /// settings.limit_retries(Activity::Reading, true, None);
    /// assert_eq!(settings.retry.limit, Duration::from_secs(30));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn limit_retries(&mut self, activity: Activity, is_interactive: bool, chosen: Option<Duration>) {
        let is_default = |name: &str| !self.sources.contains_key(name);
        let (is_request_limit_default, is_unanswered_limit_default) =
            (is_default("AIGNOSTICS_RETRY_FOR"), is_default("AIGNOSTICS_RETRY_FOR_UNANSWERED"));
        let retry = &mut self.retry;
        match activity {
            Activity::Diagnosing => (retry.limit, retry.transfer_limit) = (Duration::ZERO, Duration::ZERO),
            Activity::Transferring => retry.limit = retry.transfer_limit,
            Activity::Reading if is_interactive && is_request_limit_default => retry.limit = READING_LIMIT,
            Activity::Reading | Activity::Changing => {}
        }
        if matches!(activity, Activity::Reading | Activity::Changing) {
            // Requests of these activities to a bucket are not transfers.
            retry.transfer_limit = retry.limit;
        }
        if let Some(limit) = chosen.filter(|_| activity != Activity::Diagnosing) {
            (retry.limit, retry.transfer_limit) = (limit, limit);
        }
        if is_interactive && is_unanswered_limit_default {
            retry.unanswered_limit = UNANSWERED_LIMIT;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the limits for requests, for transfers and for hosts that have not responded, in seconds.
    fn limits(activity: Activity, is_interactive: bool, chosen: Option<u64>, variables: &[(&str, &str)]) -> [u64; 3] {
        let (_, root) = Settings::environments().next().unwrap();
        let settings = Settings::builder().with_home("/nowhere").with_variables([("AIGNOSTICS_API_ROOT", root)]);
        let settings = settings.with_variables(variables.iter().copied());
        let mut settings = settings.build().unwrap();
        settings.limit_retries(activity, is_interactive, chosen.map(Duration::from_secs));
        let retry = &settings.retry;
        [retry.limit, retry.transfer_limit, retry.unanswered_limit].map(|limit| limit.as_secs())
    }

    #[test]
    fn limits_are_shorter_at_a_terminal() {
        for (activity, terminal, elsewhere) in [
            (Activity::Reading, [30, 30, 10], [300, 300, 60]),
            (Activity::Changing, [300, 300, 10], [300, 300, 60]),
            (Activity::Transferring, [1800, 1800, 10], [1800, 1800, 60]),
            (Activity::Diagnosing, [0, 0, 10], [0, 0, 60]),
        ] {
            assert_eq!(limits(activity, true, None, &[]), terminal, "{activity:?}");
            assert_eq!(limits(activity, false, None, &[]), elsewhere, "{activity:?}");
        }
    }

    #[test]
    fn settings_and_the_option_replace_the_limits_of_a_terminal() {
        let variables = [("AIGNOSTICS_RETRY_FOR", "70"), ("AIGNOSTICS_RETRY_FOR_UNANSWERED", "20")];
        assert_eq!(limits(Activity::Reading, true, None, &variables), [70, 70, 20]);
        assert_eq!(limits(Activity::Reading, true, Some(40), &variables), [40, 40, 20]);
        assert_eq!(limits(Activity::Transferring, true, Some(40), &[]), [40, 40, 10]);
        assert_eq!(limits(Activity::Diagnosing, true, Some(40), &[]), [0, 0, 10], "never retried");
    }
}
