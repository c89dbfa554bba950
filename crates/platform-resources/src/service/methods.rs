use std::sync::Arc;

use auth_oauth::{Browser, Prompt};

/// The methods by which a user can log in interactively. If both are enabled, the browser is tried first.
#[derive(Clone, Debug, Default)]
pub struct LoginMethods {
    pub(super) browser: Option<Arc<dyn Browser>>,
    pub(super) device: Option<Arc<dyn Prompt>>,
}

impl LoginMethods {
    /// Creates an empty set of methods. The user is then never prompted.
    pub fn none() -> Self {
        Self::default()
    }

    /// Returns true if at least one method is enabled.
    pub(super) fn can_prompt(&self) -> bool {
        self.browser.is_some() || self.device.is_some()
    }

    /// Enables logins in a browser on this machine.
    pub fn with_browser(mut self, browser: Arc<dyn Browser>) -> Self {
        self.browser = Some(browser);
        self
    }

    /// Enables the device flow (RFC 8628). `prompt` shows the code to the user.
    pub fn with_device(mut self, prompt: Arc<dyn Prompt>) -> Self {
        self.device = Some(prompt);
        self
    }
}
