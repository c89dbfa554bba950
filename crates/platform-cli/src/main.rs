//! The `aignostics` command.

mod api;
mod application;
mod auth;
mod bucket;
mod command_line;
mod completions;
mod confirm;
mod context;
mod demo;
mod detached;
mod emulator;
mod error;
mod examples;
mod format;
mod help;
mod interruption;
mod json;
mod man;
mod output;
mod profile;
mod progress;
mod results;
mod retries;
mod run;
mod sanitize;
mod sdk;
mod signals;
mod slide;
mod system;
mod threads;
mod time;
mod transfers;
mod unknown_application;
mod user;

use std::env;
use std::io;
use std::process::ExitCode;

use anyhow::anyhow;
use clap::{FromArgMatches, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use context::{ConnectionArgs, Context};
use error::CliError;
use format::Format;
use output::Output;
use retries::Retries;
use signals::{Ignored, Signals};
use transfers::Transfers;

/// The log filter of `--verbose`, which shows events of the project and none of other libraries.
const VERBOSE: &str = "aignostics=debug,auth_core=debug,auth_http=debug,auth_oauth=debug,durable_fs=debug,platform_download=debug,platform_emulator=debug,platform_pipeline=debug,platform_resources=debug";

#[derive(Parser)]
#[command(name = "aignostics", version, about = "Command-line client of the Aignostics Platform")]
struct Arguments {
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    access: ConnectionArgs,
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
    /// Print the JSON Schemas of the SDK metadata
    #[command(subcommand)]
    Sdk(sdk::Action),
}

fn main() -> ExitCode {
    let Arguments { output, access, command } =
        match help::command().try_get_matches().and_then(|matches| Arguments::from_arg_matches(&matches)) {
            Ok(arguments) => arguments,
            Err(error) => return unparsed(&error),
        };
    log(&output);
    let format = output.format();
    if output.token_form().is_some() && !matches!(command, Command::Action(Action::Auth(auth::Action::Token { .. }))) {
        let unknown =
            anyhow!("--format exec-credential, google and aws are for `auth token`: use table, json or jsonl");
        return CliError::bad_input(unknown).report(format).into();
    }
    threads::end_without_threads(format);
    let code = match command {
        Command::Completions(arguments) => code(completions::run(&arguments, help::command()), format),
        Command::Man(arguments) => code(man::run(&arguments, help::command(), &output), format),
        Command::Action(action) => run(true, format, async |signals| {
            let access = access.with_retries(action.retries()).with_transfers(action.transfers());
            let context = Context::new(output, access);
            let work = Box::pin(context.within(dispatch(action, &context)));
            let outcome = signals.end_after(work, &context.interruption.sections).await;
            let outcome =
                outcome.map_err(|failure| context.name_rejected_credential(context.interruption.explain(failure)));
            // The token sources must still exist, because dropping them would block without handling signals.
            signals.finish_redemptions(outcome).await
        }),
        // A command in the emulator receives the signal itself, and ends by itself.
        Command::Emulator(arguments) => {
            let ends = !arguments.runs_a_command();
            run(ends, format, async |signals| {
                let context = Context::new(output, access);
                Box::pin(context.within(emulator::run(arguments, signals))).await
            })
        }
    };
    ExitCode::from(code)
}

/// Reports invalid arguments, or prints the requested help.
fn unparsed(error: &clap::Error) -> ExitCode {
    if error.use_stderr() && wants_json() {
        let text = error.to_string();
        let text = text.strip_prefix("error: ").unwrap_or(&text);
        let message = text.split("\n\nUsage").next().and_then(|text| text.split("\n\nFor more").next()).unwrap_or(text);
        return CliError::bad_input(anyhow!(message.trim().to_owned())).report(Format::Json).into();
    }
    // A failure to print cannot be reported anywhere.
    let _ = error.print();
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

/// Returns true if errors are to be JSON, according to arguments that cannot be parsed.
fn wants_json() -> bool {
    let arguments: Vec<_> = env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect();
    let together = arguments.iter().any(|argument| argument.starts_with("--format=json"));
    together || arguments.windows(2).any(|pair| pair[0] == "--format" && pair[1].starts_with("json"))
}

fn log(output: &Output) {
    let filter = EnvFilter::new(match output.verbose {
        true => VERBOSE,
        false if output.is_silent() => "off",
        false => "auth_core=warn,auth_oauth=warn,durable_fs=warn,platform_emulator=warn,platform_resources=warn",
    });
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    // Failures to write the log are not reported, because stderr is closed.
    log.with_ansi(output.has_colors()).log_internal_errors(false).init();
}

/// Runs `work` with signal handlers, and reports its outcome.
fn run(ends: bool, format: Format, work: impl AsyncFnOnce(&mut Signals) -> Result<(), CliError>) -> u8 {
    // The runtime may install handlers, so the ignored signals are read first.
    let ignored = Ignored::at_start();
    let begun = Signals::catch(ignored, ends).and_then(|signals| Ok((signals, threads::runtime()?)));
    let (mut signals, runtime) = match begun {
        Ok(begun) => begun,
        Err(error) => return threads::failure(error).report(format),
    };
    let code = code(runtime.block_on(work(&mut signals)), format);
    signals.shut_down(runtime, code);
    code
}

/// Reports an outcome, and returns its exit code.
fn code(outcome: Result<(), CliError>, format: Format) -> u8 {
    match outcome {
        Ok(()) => 0,
        Err(failure) => failure.report(format),
    }
}

impl Action {
    /// Returns the retry limits of the command.
    fn retries(&self) -> Retries {
        match self {
            Self::System(_) | Self::Sdk(_) | Self::Profile(_) | Self::Slide(_) => Retries::None,
            Self::Api(arguments) if arguments.only_reads() => Retries::Reading,
            Self::Api(_) | Self::Demo(_) => Retries::Changing,
            Self::User(action) => action.retries(),
            Self::Auth(action) => action.retries(),
            Self::Application(action) => action.retries(),
            Self::Run(action) => action.retries(),
            Self::Bucket(action) => action.retries(),
        }
    }
}

impl Action {
    /// Returns the options of a command that transfers files.
    fn transfers(&self) -> Transfers {
        match self {
            Self::Run(action) => action.transfers(),
            Self::Bucket(action) => action.transfers(),
            _ => Transfers::default(),
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
        Action::Sdk(action) => sdk::run(&action, context),
    }
}
