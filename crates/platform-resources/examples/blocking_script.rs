//! A program without an asynchronous runtime: `cargo run --features login --example blocking_script`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example prints")]

use auth_core::error_chain;
use platform_resources::{Client, RunOutcome, blocking};
use std::process::ExitCode;

fn run() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let client = blocking::Client::new(Client::from_env()?)?;
    println!("{:?}", client.health()?);
    for run in client.runs().list().limit(10) {
        let run = run?;
        println!("{} {} {}", run.run_id, run.application_id, RunOutcome::of(&run));
    }
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", error_chain(&*error));
            ExitCode::FAILURE
        }
    }
}
