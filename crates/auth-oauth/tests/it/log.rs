//! The log of this process.

#[path = "../../../../tests/support/log.rs"]
mod shared;

use std::path::Path;
use std::sync::OnceLock;

use tracing_subscriber::EnvFilter;

/// The log of the whole process.
///
/// It is installed before the first store is created, because a log of one thread would miss the events that another
/// thread logs first.
#[derive(Clone, Default)]
pub(crate) struct Log(shared::Log);

impl Log {
    pub(crate) fn of_process() -> &'static Self {
        static LOG: OnceLock<Log> = OnceLock::new();
        LOG.get_or_init(|| {
            let log = Self::default();
            let filter = EnvFilter::new("auth_core=trace,auth_http=trace,auth_oauth=trace");
            tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(log.0.clone()).init();
            log
        })
    }

    pub(crate) fn lines_about(&self, path: &Path) -> Vec<String> {
        let path = path.to_str().unwrap();
        self.text().lines().filter(|line| line.contains(path)).map(str::to_owned).collect()
    }

    /// Panics if a line contains `text`.
    pub(crate) fn assert_lacks(&self, text: &str) {
        let log = self.text();
        let line = log.lines().find(|line| line.contains(text));
        assert!(line.is_none(), "{line:?}");
    }

    pub(crate) fn text(&self) -> String {
        self.0.text()
    }
}
