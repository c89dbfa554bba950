use std::env;
use std::process::ExitCode;

use anyhow::anyhow;
use clap::error::ErrorKind;

use crate::failure::{Classify, Failure};
use crate::format::Format;
use crate::output::print;

/// Reports invalid arguments, or prints the requested help or version. With `--format json`, the report is JSON, too.
/// With `--verbose`, the `details` of the build follow the version.
pub fn report_usage<C: Classify>(error: &clap::Error, details: &str) -> ExitCode {
    if error.use_stderr() && wants_json() {
        let text = error.to_string();
        let text = text.strip_prefix("error: ").unwrap_or(&text);
        let message = text.split("\n\nUsage").next().and_then(|text| text.split("\n\nFor more").next()).unwrap_or(text);
        return Failure::<C>::bad_input(anyhow!(message.trim().to_owned())).report(Format::Json).into();
    }
    // A failure to print cannot be reported anywhere.
    let _ = error.print();
    if error.kind() == ErrorKind::DisplayVersion && is_verbose() {
        let _ = print(details);
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

/// Returns true if the arguments contain `--verbose`. The version is printed before all arguments are parsed.
fn is_verbose() -> bool {
    env::args_os().any(|argument| argument == "--verbose" || argument == "-v")
}

/// Returns true if the arguments request JSON. They are searched as text, because they cannot be parsed.
fn wants_json() -> bool {
    let arguments: Vec<_> = env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect();
    let has_joined_option = arguments.iter().any(|argument| argument.starts_with("--format=json"));
    has_joined_option || arguments.windows(2).any(|pair| pair[0] == "--format" && pair[1].starts_with("json"))
}
