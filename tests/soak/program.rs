//! A program that uses the library and returns from `main` while requests are in flight. The test runs itself as this
//! program.

use std::env;
use std::error::Error;
use std::io;
use std::process::ExitCode;

use platform_resources::{Client, blocking};

/// The environment variable that selects the variant of the program.
pub(crate) const VARIABLE: &str = "AIGNOSTICS_SOAK_PROGRAM";

/// The interface that the program uses.
#[derive(Clone, Copy)]
pub(crate) enum Variant {
    Async,
    Blocking,
}

impl Variant {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Async => "library",
            Self::Blocking => "library (blocking)",
        }
    }
}

/// Returns the variant that this process must run, or `None` in the test itself.
pub(crate) fn requested_variant() -> Option<Variant> {
    let name = env::var(VARIABLE).ok()?;
    [Variant::Async, Variant::Blocking].into_iter().find(|variant| variant.name() == name)
}

pub(crate) fn run(variant: Variant) -> ExitCode {
    let log = tracing_subscriber::fmt().with_env_filter("auth_core=debug").with_writer(io::stderr);
    log.with_ansi(false).init();
    let outcome = match variant {
        Variant::Async => call(),
        Variant::Blocking => call_blocking(),
    };
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    let login = error.downcast_ref().is_some_and(platform_resources::Error::is_login_required);
    // The exit codes are those of the command.
    ExitCode::from(if login { 4 } else { 1 })
}

#[tokio::main]
async fn call() -> Result<(), Box<dyn Error + Send + Sync>> {
    Client::from_env()?.me().await?;
    Ok(())
}

fn call_blocking() -> Result<(), Box<dyn Error + Send + Sync>> {
    blocking::Client::new(Client::from_env()?)?.me()?;
    Ok(())
}
