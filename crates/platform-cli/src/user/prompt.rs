//! Login prompts for a user at a terminal, on stderr.

use std::error::Error;
use std::io::{self, Write};

use async_trait::async_trait;
use auth_oauth::{Browser, DeviceAuthorization, Prompt};
use terminal::sanitize;
use url::Url;

type PromptResult = Result<(), Box<dyn Error + Send + Sync>>;

/// The browser of this machine.
#[derive(Debug)]
pub(super) struct SystemBrowser {
    opens_window: bool,
}

impl SystemBrowser {
    /// Creates a browser. If `opens_window` is false, it only prints the URL.
    pub(super) fn new(opens_window: bool) -> Self {
        Self { opens_window }
    }
}

#[async_trait]
impl Browser for SystemBrowser {
    async fn open(&self, url: &Url) -> PromptResult {
        // The URL is shown first, because an opened browser may be invisible.
        writeln!(io::stderr(), "to log in, open {url}")?;
        if self.opens_window {
            let url = url.clone();
            let opened = tokio::task::spawn_blocking(move || webbrowser::open(url.as_str())).await?;
            if let Err(error) = opened {
                tracing::info!(error = &error as &dyn Error, "cannot open a browser");
            }
        }
        Ok(())
    }
}

/// A prompt that shows the verification URL and the user code.
#[derive(Debug)]
pub(super) struct DevicePrompt;

#[async_trait]
impl Prompt for DevicePrompt {
    async fn show(&self, device: &DeviceAuthorization) -> PromptResult {
        let (url, code) = (sanitize(&device.verification_url), sanitize(&device.user_code));
        writeln!(io::stderr(), "to log in, open {url} on any device and enter {code}")?;
        if let Some(complete_url) = &device.verification_url_complete {
            writeln!(io::stderr(), "or open {}", sanitize(complete_url))?;
        }
        Ok(())
    }
}
