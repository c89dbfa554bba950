//! Shares a run with a colleague, and with a share token: `cargo run --features login --example share_run -- RUN
//! EMAIL`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example prints")]

use auth_core::error_chain;
use futures_util::TryStreamExt;
use platform_resources::models::ShareTokenCreation;
use platform_resources::{Client, Viewer};
use std::process::ExitCode;

async fn run() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut arguments = std::env::args().skip(1);
    let (run, email) = arguments.next().zip(arguments.next()).ok_or("a run and an e-mail address are needed")?;
    let client = Client::from_env()?;
    let run = client.run(run);
    run.share_with(Viewer::UserWithEmail(email)).await?;
    let token = client.share_tokens().create(ShareTokenCreation::new()).await?;
    run.share_with(Viewer::ShareToken(token.share_token_id.to_string())).await?;
    // The platform returns the secret only once. Transfer it through a trusted channel.
    println!("{}", token.share_token.expose());
    for grant in run.grants().try_collect::<Vec<_>>().await? {
        println!("{} {} is {}", grant.subject_type, grant.subject_id, grant.relation);
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
