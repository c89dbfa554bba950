//! Streams the events of a run: `cargo run --features login --example watch_run -- RUN`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example prints")]

use auth_core::error_chain;
use std::pin::pin;
use std::process::ExitCode;

use futures_util::TryStreamExt;
use platform_resources::{Client, ItemOutcome, RunEvent, RunOutcome};

async fn run() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let run = std::env::args().nth(1).ok_or("a run is needed")?;
    let client = Client::from_env()?;
    let mut events = pin!(client.run(run).watch());
    while let Some(event) = events.try_next().await? {
        match event {
            RunEvent::ItemEnded(item) => println!("{}: {}", item.external_id, ItemOutcome::of(&item)),
            RunEvent::Ended(run) => println!("{}: {}", run.run_id, RunOutcome::of(&run)),
            // Events of newer library versions.
            _ => {}
        }
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
