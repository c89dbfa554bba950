use std::time::{Duration, SystemTime};

/// The interval between two lines.
const PERIOD: Duration = Duration::from_secs(60);

/// A timer for the next line.
#[derive(Debug)]
pub(super) struct LineTimer {
    last_line: SystemTime,
}

impl LineTimer {
    pub(super) fn new(now: SystemTime) -> Self {
        Self { last_line: now }
    }

    /// Returns true at most once per period. A clock that is set back starts a new period.
    pub(super) fn is_due(&mut self, now: SystemTime) -> bool {
        match now.duration_since(self.last_line) {
            Ok(elapsed) if elapsed < PERIOD => false,
            Ok(_) => {
                self.last_line = now;
                true
            }
            Err(_) => {
                self.last_line = now;
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_is_due_once_per_period() {
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let mut timer = LineTimer::new(start);
        let due_seconds: Vec<_> = [0, 59, 60, 61, 119, 120, 30, 89, 90, 500]
            .into_iter()
            .filter(|seconds| timer.is_due(start + Duration::from_secs(*seconds)))
            .collect();
        assert_eq!(due_seconds, [60, 120, 90, 500]);
    }
}
