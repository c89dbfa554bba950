use crate::output::Output;
use crate::progress::{Bar, ProgressBars, RunBars};

/// The number of steps.
const STEPS: u8 = 8;

/// Progress on stderr: a line per step, and bars if it is a terminal.
#[derive(Clone, Debug)]
pub(super) struct DemoProgress {
    bars: ProgressBars,
    silent: bool,
}

impl DemoProgress {
    pub(super) fn new(output: &Output) -> Self {
        Self { bars: ProgressBars::new(output), silent: output.is_silent() }
    }

    pub(super) fn step(&self, number: u8, text: &str) {
        if !self.silent {
            self.bars.line(&format!("[{number}/{STEPS}] {text}"));
        }
    }

    /// Returns a bar for uploaded bytes.
    pub(super) fn upload(&self, bytes: u64) -> Bar {
        self.bars.upload(bytes)
    }

    pub(super) fn follow(&self) -> RunBars {
        self.bars.follow()
    }
}
