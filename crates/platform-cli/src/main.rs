//! The `aignostics` command.

mod api;
mod application;
mod auth;
mod bucket;
mod context;
#[cfg(feature = "emulator")]
mod demo;
#[cfg(feature = "emulator")]
mod emulator;
mod error;
mod examples;
mod form;
mod guide;
mod interruption;
mod mcp;
mod profile;
mod progress;
mod results;
mod run;
mod sdk;
mod slide;
mod system;
mod transfers;
mod unknown_application;
mod user;
mod waiting;
#[cfg(any(test, not(feature = "emulator")))]
mod without_emulator;

use std::process::ExitCode;

use anyhow::anyhow;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use terminal::{OutputArgs, SingleUse, completions, man, report_missing_threads, report_usage};

use context::{ConnectionArgs, Context};
use error::{CliError, Errors};
use form::Form;
use guide::GUIDE;
#[cfg(not(feature = "emulator"))]
use without_emulator as demo;
#[cfg(not(feature = "emulator"))]
use without_emulator as emulator;

/// The log filter with `--verbose`: only the crates of this project.
const VERBOSE_LOG_FILTER: &str = "aignostics=debug,auth_core=debug,auth_http=debug,auth_oauth=debug,durable_fs=debug,platform_download=debug,platform_emulator=debug,platform_pipeline=debug,platform_resources=debug";

/// The log filter without `--verbose`.
const DEFAULT_LOG_FILTER: &str =
    "auth_core=warn,auth_oauth=warn,durable_fs=warn,platform_emulator=warn,platform_resources=warn";

/// The build of the command, for `--version --verbose`.
const BUILD: &str = concat!("commit ", env!("AIGNOSTICS_COMMIT"), "\ntarget ", env!("AIGNOSTICS_TARGET"));

/// The redemptions of credentials. A login may be lost if one is interrupted.
const REDEMPTIONS: SingleUse<auth_core::Unfinished> = SingleUse {
    is_in_work: auth_core::has_redemption_without_source,
    is_in_progress: auth_core::has_redemptions,
    finish: auth_core::finish_redemptions,
};

#[derive(Parser)]
#[command(name = "aignostics", version, about = "Command-line client of the Aignostics Platform")]
struct Arguments {
    #[command(flatten)]
    output: OutputArgs<Form>,
    #[command(flatten)]
    connection: ConnectionArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    #[command(flatten)]
    Action(Action),
    /// Run a local emulator of the platform for tests: identity provider, API and storage
    Emulator(emulator::Arguments),
    /// Print a shell completion script
    Completions(completions::Arguments),
    /// Print the manual page
    Man(man::Arguments),
}

#[derive(Subcommand)]
enum Action {
    /// Run the complete workflow on an embedded emulator, from slides to verified results
    Demo(demo::Arguments),
    /// Log in, log out and show the current user
    #[command(subcommand, alias = "platform")]
    User(user::Action),
    /// Diagnose the login and print access tokens for other tools
    #[command(subcommand)]
    Auth(auth::Action),
    /// List applications, their versions and documents
    #[command(subcommand)]
    Application(application::Action),
    /// Submit, follow, share and download runs
    #[command(subcommand)]
    Run(Box<run::Action>),
    /// Manage the objects in the organization's bucket
    #[command(subcommand)]
    Bucket(bucket::Action),
    /// List and show profiles: named groups of settings
    #[command(subcommand)]
    Profile(profile::Action),
    /// Send a request to the platform that no other command covers
    ///
    /// Secret fields and signed URLs in the response are masked. Redirects are not followed. Only GET and HEAD requests
    /// are retried.
    Api(api::Arguments),
    /// Show the health of the platform and the configuration of this command
    #[command(subcommand)]
    System(system::Action),
    /// Inspect slide files offline
    #[command(subcommand)]
    Slide(slide::Action),
    /// Serve the platform to agents over MCP
    #[command(subcommand)]
    Mcp(mcp::Action),
    /// Print the JSON Schemas of the SDK metadata
    #[command(subcommand)]
    Sdk(sdk::Action),
}

fn main() -> ExitCode {
    let matches = GUIDE.apply_to(Arguments::command()).try_get_matches();
    let Arguments { output: arguments, connection, command } =
        match matches.and_then(|matches| Arguments::from_arg_matches(&matches)) {
            Ok(arguments) => arguments,
            Err(error) => return report_usage::<Errors>(&error, BUILD),
        };
    let (output, form) = (arguments.output(), arguments.form().copied());
    let format = output.format();
    output.log(DEFAULT_LOG_FILTER, VERBOSE_LOG_FILTER);
    if form.is_some_and(Form::is_for_tools)
        && !matches!(command, Command::Action(Action::Auth(auth::Action::Token { .. })))
    {
        let error = anyhow!("--format exec-credential, google and aws are for `auth token`: use table, json or jsonl");
        return CliError::bad_input(error).report(format).into();
    }
    report_missing_threads::<Errors>(format, |limit| drop(auth_core::finish_redemptions(limit)));
    let parser = || GUIDE.apply_to(Arguments::command());
    let exit_code = |outcome: Result<(), CliError>| outcome.map_or_else(|failure| failure.report(format), |()| 0);
    let code = match command {
        Command::Completions(arguments) => exit_code(completions::run(arguments, parser()).map_err(CliError::from)),
        Command::Man(arguments) => exit_code(man::run(&arguments, parser(), &GUIDE, &output).map_err(CliError::from)),
        // The child receives the signals itself once it runs.
        Command::Action(Action::Bucket(bucket::Action::Exec(arguments))) => {
            terminal::run(true, format, REDEMPTIONS, async |signals| {
                let context = Context::new(output, form, connection);
                let work = Box::pin(bucket::exec::run(arguments, &context, signals));
                let outcome =
                    context.with_timeout(work).await.map_err(|failure| context.name_rejected_credential(failure));
                with_redemptions(signals.finish(REDEMPTIONS).await, outcome)
            })
        }
        Command::Action(action) => terminal::run(true, format, REDEMPTIONS, async |signals| {
            let context = Context::new(output, form, connection);
            let work = Box::pin(context.with_timeout(dispatch(action, &context)));
            let outcome = signals.run_until_signal(work, &context.interruption).await;
            let outcome =
                outcome.map_err(|failure| context.name_rejected_credential(context.interruption.explain(failure)));
            // The token sources must still exist, because dropping them would block without handling signals.
            with_redemptions(signals.finish(REDEMPTIONS).await, outcome)
        }),
        // The child of `emulator exec` receives the signals itself.
        Command::Emulator(arguments) => {
            let exits_on_signal = !arguments.has_child();
            terminal::run(exits_on_signal, format, REDEMPTIONS, async |signals| {
                let context = Context::new(output, form, connection);
                Box::pin(context.with_timeout(emulator::run(arguments, (&context.output, signals)))).await
            })
        }
    };
    ExitCode::from(code)
}

/// Returns the outcome of a command. A token that was redeemed but not stored makes a successful command fail.
fn with_redemptions(
    redemptions: Result<(), auth_core::Unfinished>,
    outcome: Result<(), CliError>,
) -> Result<(), CliError> {
    match redemptions {
        Ok(()) => outcome,
        Err(error) if error.is_unstored() && outcome.is_ok() => Err(error.into()),
        Err(error) => {
            terminal::warn(auth_core::error_chain(&error));
            outcome
        }
    }
}

async fn dispatch(action: Action, context: &Context) -> Result<(), CliError> {
    match action {
        Action::Demo(arguments) => Box::pin(demo::run(arguments, &context.output)).await,
        Action::User(action) => Box::pin(user::run(action, context)).await,
        Action::Auth(action) => Box::pin(auth::run(action, context)).await,
        Action::Application(action) => Box::pin(application::run(action, context)).await,
        Action::Run(action) => Box::pin(run::run(*action, context)).await,
        Action::Bucket(action) => Box::pin(bucket::run(action, context)).await,
        Action::Profile(action) => profile::run(&action, &context.output),
        Action::Api(arguments) => Box::pin(api::run(arguments, context)).await,
        Action::System(action) => Box::pin(system::run(action, context)).await,
        Action::Slide(action) => slide::run(action, &context.output).await,
        Action::Mcp(action) => Box::pin(mcp::run(action, context)).await,
        Action::Sdk(action) => sdk::run(&action, context),
    }
}
