use std::error::Error;

use async_trait::async_trait;
use auth_http::{HttpClient, Method, Request};
use auth_oauth::{DeviceAuthorization, Prompt};
use terminal::ProgressBars;

use super::step;

/// A simulated user who approves the login: opens the verification page with the filled-in code, and submits it over
/// HTTP.
#[derive(Debug)]
pub(super) struct DemoUser {
    http: HttpClient,
    progress: ProgressBars,
}

impl DemoUser {
    pub(super) fn new(http: HttpClient, progress: ProgressBars) -> Self {
        Self { http, progress }
    }
}

#[async_trait]
impl Prompt for DemoUser {
    async fn show(&self, device: &DeviceAuthorization) -> Result<(), Box<dyn Error + Send + Sync>> {
        let url = device.verification_url_complete.as_ref().unwrap_or(&device.verification_url);
        step(&self.progress, 2, &format!("simulating a user who opens {url} and approves the login"));
        let page = self.http.send(Request::get(url.parse()?)).await?;
        let page = String::from_utf8(page.bytes(64 * 1024).await?.to_vec())?;
        if !page.contains(&device.user_code) {
            return Err("the verification page does not show the code of the login".into());
        }
        let form = format!("user_code={}&decision=approve", device.user_code);
        let approve = Request::new(Method::Post, device.verification_url.parse()?)
            .with_body("application/x-www-form-urlencoded", form);
        match self.http.send(approve).await?.status() {
            200 => Ok(()),
            status => Err(format!("the verification page responded with {status}").into()),
        }
    }
}
