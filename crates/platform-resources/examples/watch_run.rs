//! Streams the events of a run: `cargo run --features login --example watch_run -- RUN`.
#![allow(clippy::print_stdout, reason = "an example prints")]

use std::pin::pin;

use futures_util::TryStreamExt;
use platform_resources::{Client, ItemOutcome, RunEvent, RunOutcome};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
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
