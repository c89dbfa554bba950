//! A service that authenticates with OAuth client credentials: `cargo run --example client_credentials -- ID
//! SECRET_FILE`.
//!
//! The file with the secret is read again after it has been replaced.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example prints")]

use std::process::ExitCode;

use auth_core::error_chain;
use auth_http::HttpClient;
use auth_oauth::{ClientCredentials, ClientFiles, Endpoints, FileClient, OAuthClient};
use platform_resources::{Client, Settings};

async fn run() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (id, file) = arguments.next().zip(arguments.next()).ok_or("the id of a client and a file are needed")?;
    let settings = Settings::from_env()?;
    let http = HttpClient::builder();
    let http = if settings.is_plain_loopback() { http.with_plain_loopback() } else { http };
    let endpoints = Endpoints::new(&settings.issuer, settings.token_url.clone());
    let client = OAuthClient::new(http.clone().build()?, endpoints, id).with_audience(&settings.audience);
    let provider = FileClient::new(client, http, ClientFiles::secret(file)).provider(ClientCredentials::new);
    let client = Client::builder(settings).with_token_provider(provider).build()?;
    println!("{}", client.me().await?.user.id);
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
