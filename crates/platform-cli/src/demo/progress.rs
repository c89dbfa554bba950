use crate::bars::{Bars, Screen};

use indicatif::ProgressBar;

/// How many steps the demo has.
const STEPS: u8 = 8;

/// What is going on, on stderr: a line for each step, and bars if it is a terminal.
#[derive(Clone, Debug)]
pub(super) struct Progress(Screen);

impl Progress {
    pub(super) fn new(bars: bool) -> Self {
        Self(Screen::new(bars))
    }

    pub(super) fn step(&self, number: u8, text: &str) {
        self.0.line(&format!("[{number}/{STEPS}] {text}"));
    }

    /// A bar for so many bytes.
    pub(super) fn upload(&self, bytes: u64) -> ProgressBar {
        self.0.upload(bytes)
    }

    pub(super) fn follow(&self) -> Bars {
        self.0.follow()
    }
}
