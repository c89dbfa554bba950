use indicatif::ProgressBar;

use crate::bars::{Bars, Screen};
use crate::output::Output;

/// The number of steps.
const STEPS: u8 = 8;

/// Progress on stderr: a line per step, and bars if it is a terminal.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    screen: Screen,
    silent: bool,
}

impl Progress {
    pub(super) fn new(output: &Output) -> Self {
        Self { screen: Screen::new(output.has_bars()), silent: output.is_silent() }
    }

    pub(super) fn step(&self, number: u8, text: &str) {
        if !self.silent {
            self.screen.line(&format!("[{number}/{STEPS}] {text}"));
        }
    }

    /// Returns a bar for uploaded bytes.
    pub(super) fn upload(&self, bytes: u64) -> ProgressBar {
        self.screen.upload(bytes)
    }

    pub(super) fn follow(&self) -> Bars {
        self.screen.follow()
    }
}
