//! The parts of a command-line tool that do not depend on its purpose.
//!
//! - [`OutputArgs`] and [`Output`]: data on stdout as a table, as JSON or as JSON Lines; everything else on stderr.
//! - [`sanitize()`] and [`EscapedJson`]: escaping of external text, so that it cannot control the terminal.
//! - [`Failure`] and [`Kind`]: errors with an exit code, a hint and a JSON form. [`Classify`] maps the errors of a
//!   command.
//! - [`ProgressBars`]: bars on a terminal, otherwise a line per minute.
//! - [`run`] and [`Signals`]: work that ends at a signal, except for steps that cannot be repeated ([`Sections`],
//!   [`SingleUse`]).
//! - [`Confirm`], [`input`]: confirmation prompts, and input from files or stdin that a signal can interrupt.
//! - [`child`]: a command that runs inside this one.
//! - [`Guide`]: examples and groups in the help, manual pages ([`man`]) and completions ([`completions`]).
//! - [`arguments`]: durations, dates and quoted command lines. [`time`]: times as text.
//!
//! ```
//! use clap::Parser;
//! use terminal::{Classify, Failure, Kind, Output, OutputArgs};
//!
//! #[derive(Parser)]
//! struct Arguments {
//!     #[command(flatten)]
//!     output: OutputArgs,
//! }
//!
//! /// The errors of this command.
//! #[derive(Debug)]
//! struct Errors;
//!
//! impl Classify for Errors {
//!     fn kind(error: &anyhow::Error) -> Kind {
//!         if error.is::<std::num::ParseIntError>() { Kind::BAD_INPUT } else { Kind::FAILED }
//!     }
//! }
//!
//! fn show(number: &str, output: &Output) -> Result<(), Failure<Errors>> {
//!     let number: u32 = number.parse()?;
//!     let record = serde_json::json!({ "number": number });
//!     output.print_object(&record, || output.fields([("number", number.to_string())])).map_err(Failure::from)
//! }
//!
//! let arguments = Arguments::parse_from(["example", "--format", "json"]);
//! let output = arguments.output.output();
//! assert!(show("7", &output).is_ok());
//! assert_eq!(show("seven", &output).unwrap_err().kind(), Kind::BAD_INPUT);
//! ```
//!
//! # Design
//!
//! - This crate depends on no other crate of the workspace. It decides how a command behaves, not what it does.
//! - `stdout` contains data only, so that it can be piped. A closed pipe is not an error.
//! - A second thread receives signals, because the main thread may be blocked by a file system or by stdin.
//! - The error type of a command is [`Failure`]. Its type parameter classifies errors, so that `?` can convert every
//!   error.

pub mod arguments;
pub mod child;
pub mod completions;
mod confirm;
mod failure;
mod format;
mod help;
pub mod input;
pub mod man;
mod output;
mod progress;
mod sanitize;
mod signals;
mod threads;
pub mod time;
mod usage;

pub use confirm::Confirm;
pub use failure::{Classify, CompleteCause, Failure, Kind, MAX_NAMES, similar};
pub use format::Format;
pub use help::Guide;
pub use output::{Column, Output, OutputArgs, PrintError, print, print_bytes, print_json, warn};
pub use progress::{Bar, ProgressBars, Unit, bytes};
pub use sanitize::{EscapedJson, escaped_json, sanitize};
pub use signals::{SECTION_LIMIT, SINGLE_USE_LIMIT, Sections, Signals, SingleUse, poll_while};
pub use threads::{report_missing_threads, run};
pub use usage::report_usage;
