use std::sync::Arc;

use auth_oauth::{Browser, Prompt};

/// The methods by which a user may be prompted to log in. The browser is tried first.
#[derive(Clone, Debug, Default)]
pub struct LoginMethods {
    pub(super) browser: Option<Arc<dyn Browser>>,
    pub(super) device: Option<Arc<dyn Prompt>>,
}

impl LoginMethods {
    /// Creates login ways without prompts. Only an existing login is used.
    pub fn none() -> Self {
        Self::default()
    }

    /// Returns true if the user can be prompted.
    pub(super) fn ask(&self) -> bool {
        self.browser.is_some() || self.device.is_some()
    }

    /// Enables the browser of this machine.
    pub fn with_browser(mut self, browser: Arc<dyn Browser>) -> Self {
        self.browser = Some(browser);
        self
    }

    /// Enables the device flow.
    pub fn with_device(mut self, prompt: Arc<dyn Prompt>) -> Self {
        self.device = Some(prompt);
        self
    }
}
