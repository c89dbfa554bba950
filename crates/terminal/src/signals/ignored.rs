//! Signals that were already ignored when the process started: SIGHUP with `nohup`, SIGINT and SIGQUIT in a shell's
//! background jobs.
//!
//! They remain ignored (POSIX.1-2024, Shell Command Language, 2.12). Installing a handler would change that, so the
//! dispositions are read before the runtime starts. Only Linux exposes them without a system call that needs `unsafe`;
//! elsewhere every signal is handled.

/// The signals that were ignored at the start of the process. Bit n-1 represents signal n.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct IgnoredSignals(u64);

impl IgnoredSignals {
    /// Reads the dispositions of this process. Call it before any handler is installed.
    #[cfg(target_os = "linux")]
    pub(crate) fn at_start() -> Self {
        std::fs::read_to_string("/proc/self/status").map(|status| Self::parse(&status)).unwrap_or_default()
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn at_start() -> Self {
        Self::default()
    }

    #[cfg(any(target_os = "linux", test))]
    fn parse(status: &str) -> Self {
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        Self(mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default())
    }

    /// Returns true if the signal was ignored.
    #[cfg_attr(not(unix), expect(dead_code, reason = "other systems have no such signals"))]
    pub(crate) fn contains(self, number: u8) -> bool {
        (1..=64).contains(&number) && self.0 >> (number - 1) & 1 == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_signals_are_read_from_the_mask() {
        let status =
            "Name:\taignostics\nSigBlk:\t0000000000000002\nSigIgn:\t0000000000001007\nSigCgt:\t0000000000000000\n";
        let ignored = IgnoredSignals::parse(status);
        let ignored_numbers: Vec<_> = (0..=255).filter(|number| ignored.contains(*number)).collect();
        assert_eq!(ignored_numbers, [1, 2, 3, 13]);
        assert_eq!(IgnoredSignals::parse("Name:\taignostics\n"), IgnoredSignals::default());
    }
}
