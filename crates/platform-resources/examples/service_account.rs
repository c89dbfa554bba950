//! A service with a custom token provider: `cargo run --example service_account -- https://platform.example`.
//!
//! A provider has one method. This example reads an environment variable. In production, the method reads from a vault.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example prints")]

use async_trait::async_trait;
use auth_core::error_chain;
use auth_core::{AccessToken, AsyncTokenProvider, TokenError, TokenRequest};
use platform_resources::{Client, Settings};
use std::process::ExitCode;

#[derive(Debug)]
struct Vault;

#[async_trait]
impl AsyncTokenProvider for Vault {
    async fn fetch(&self, _request: &TokenRequest) -> Result<AccessToken, TokenError> {
        let token = std::env::var("MY_PLATFORM_TOKEN").map_err(TokenError::provider)?;
        // The expiry is read from the token, if it is a JWT.
        AccessToken::try_from(token)
    }
}

async fn run() -> Result<(), Box<dyn std::error::Error>> {
    let root = std::env::args().nth(1).unwrap_or_else(|| "https://platform.aignostics.com".to_owned());
    let client = Client::builder(Settings::at(&root.parse()?)?).with_token_provider(Vault).build()?;
    let me = client.me().await?;
    println!("{} of {}", me.user.id, me.organization.id);
    Ok(())
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", error_chain(&*error));
            ExitCode::FAILURE
        }
    }
}
