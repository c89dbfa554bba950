//! Two accounts that share one Redis: `cargo run --example two_identities -- https://platform.example`.
//!
//! The identity is part of the cache key, so that neither account gets the token of the other account.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example prints")]

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;

use auth_core::{Secret, TokenError, async_provider_fn, error_chain};
use auth_redis::{RedisTokenCache, SealingKey};
use platform_resources::{Client, Settings};

async fn run() -> Result<(), Box<dyn Error>> {
    let root = std::env::args().nth(1).unwrap_or_else(|| "https://platform.aignostics.com".to_owned());
    let redis = std::env::var("REDIS_URL").unwrap_or_else(|_| "redis://localhost".to_owned());
    let key = Secret::new(std::env::var("SEALING_KEY").map_err(|error| format!("SEALING_KEY: {error}"))?);
    let cache = RedisTokenCache::builder(&redis.parse()?).with_sealing_key(SealingKey::from_base64(&key)?);
    let cache = Arc::new(cache.connect().await?);
    let settings = Settings::at(&root.parse()?)?;
    for (account, variable) in [("importer", "IMPORTER_TOKEN"), ("reporter", "REPORTER_TOKEN")] {
        let provider = async_provider_fn(move |_request| async move {
            std::env::var(variable).map_err(|error| TokenError::provider(format!("{variable}: {error}")))
        });
        let client = Client::builder(settings.clone()).with_token_provider(provider).with_identity(account);
        let client = client.with_token_store(cache.clone()).build()?;
        println!("{account}: {}", client.me().await?.user.id);
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
