use indicatif::ProgressBar;

use crate::bars::{Bars, Screen};
use crate::output::Output;

/// How many steps the demo has.
const STEPS: u8 = 8;

/// What is going on, on stderr: a line for each step, and bars if it is a terminal.
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

    /// A bar for so many bytes.
    pub(super) fn upload(&self, bytes: u64) -> ProgressBar {
        self.screen.upload(bytes)
    }

    pub(super) fn follow(&self) -> Bars {
        self.screen.follow()
    }
}
