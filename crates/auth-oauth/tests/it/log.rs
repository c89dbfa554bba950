//! The log of this process.

use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// All that this process logs. There is one, and it is there before the first store: a log of one
/// thread would miss what another thread has logged first.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub(crate) fn of_this_process() -> &'static Self {
        static LOG: OnceLock<Log> = OnceLock::new();
        LOG.get_or_init(|| {
            let log = Self::default();
            let ours = EnvFilter::new("auth_core=trace,auth_http=trace,auth_oauth=trace");
            tracing_subscriber::fmt().with_env_filter(ours).with_ansi(false).with_writer(log.clone()).init();
            log
        })
    }

    pub(crate) fn lines_about(&self, path: &Path) -> Vec<String> {
        let path = path.to_str().unwrap();
        self.text().lines().filter(|line| line.contains(path)).map(str::to_owned).collect()
    }

    /// Panics if a line says `text`.
    pub(crate) fn lacks(&self, text: &str) {
        let log = self.text();
        let line = log.lines().find(|line| line.contains(text));
        assert!(line.is_none(), "{line:?}");
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
