use std::sync::Arc;

use auth_oauth::{Browser, Prompt};

/// In which ways a user may be asked to log in. The browser comes first.
#[derive(Clone, Debug, Default)]
pub struct LoginWays {
    pub(super) browser: Option<Arc<dyn Browser>>,
    pub(super) device: Option<Arc<dyn Prompt>>,
}

impl LoginWays {
    /// Nobody is asked: what is logged in goes on, and nothing else does.
    pub fn none() -> Self {
        Self::default()
    }

    /// Returns true if the user can be asked.
    pub(super) fn ask(&self) -> bool {
        self.browser.is_some() || self.device.is_some()
    }

    /// With the browser of this machine.
    pub fn with_browser(mut self, browser: Arc<dyn Browser>) -> Self {
        self.browser = Some(browser);
        self
    }

    /// By another device.
    pub fn with_device(mut self, prompt: Arc<dyn Prompt>) -> Self {
        self.device = Some(prompt);
        self
    }
}
