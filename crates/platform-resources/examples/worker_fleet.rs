//! A worker of a fleet that shares tokens in Redis: `cargo run --example worker_fleet -- https://platform.example`.
//!
//! One worker requests a token from the token service, and all other workers read it from Redis.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example prints")]

use auth_core::error_chain;
use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;

use async_trait::async_trait;
use auth_core::{AccessToken, AsyncTokenProvider, Secret, TokenError, TokenRequest};
use auth_redis::{RedisTokenCache, SealingKey};
use futures_util::TryStreamExt;
use platform_resources::{Client, RunOutcome, Settings};

/// A client of a custom token service. This example reads an environment variable. In production, it sends a request.
#[derive(Debug)]
struct TokenService;

#[async_trait]
impl AsyncTokenProvider for TokenService {
    async fn fetch(&self, _request: &TokenRequest) -> Result<AccessToken, TokenError> {
        // The expiry is read from the token, if it is a JWT.
        AccessToken::try_from(std::env::var("MY_PLATFORM_TOKEN").map_err(TokenError::provider)?)
    }
}

fn secret(variable: &str) -> Result<Secret, Box<dyn Error>> {
    Ok(Secret::new(std::env::var(variable).map_err(|error| format!("{variable}: {error}"))?))
}

async fn run() -> Result<(), Box<dyn Error>> {
    let root = std::env::args().nth(1).unwrap_or_else(|| "https://platform.aignostics.com".to_owned());
    let redis = std::env::var("REDIS_URL").unwrap_or_else(|_| "redis://localhost".to_owned());
    let mut cache = RedisTokenCache::builder(&redis.parse()?)
        .with_namespace("slide-workers")
        .with_sealing_key(SealingKey::from_base64(&secret("SEALING_KEY")?)?);
    if std::env::var_os("REDIS_PASSWORD").is_some() {
        cache = cache.with_user("slide-workers", secret("REDIS_PASSWORD")?);
    }
    let cache = Arc::new(cache.connect().await?);
    let client = Client::builder(Settings::at(&root.parse()?)?)
        .with_token_provider(TokenService)
        // All workers with this identity share a token. Use a different identity for each service account.
        .with_identity("slide-workers")
        .with_token_store(cache)
        .build()?;
    let runs: Vec<_> = client.runs().list().limit(10).try_collect().await?;
    for run in runs {
        println!("{} {}", run.run_id, RunOutcome::of(&run));
    }
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
