//! The options of libtest that test runners use, for a test binary with its own `main`.

use std::env;
use std::io::{Write, stdout};

/// Options of libtest that are followed by a value.
const WITH_VALUE: [&str; 6] = ["--color", "--format", "--logfile", "--skip", "--test-threads", "-Z"];

/// Returns true if the arguments select the only test of this binary. With `--list`, prints its name and returns false.
pub(crate) fn is_wanted(name: &str) -> bool {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let has = |option: &str| arguments.iter().any(|argument| argument == option);
    let is_selected = !has("--ignored") && passes_filters(name, &arguments);
    if has("--list") && is_selected {
        let mut output = stdout();
        writeln!(output, "{name}: test").unwrap();
    }
    is_selected && !has("--list")
}

/// Returns true if the name matches one of the filters, or if no filters are given. Numbers are not filters but
/// arguments of the test itself.
fn passes_filters(name: &str, arguments: &[String]) -> bool {
    let is_exact = arguments.iter().any(|argument| argument == "--exact");
    let is_option_value =
        std::iter::once(false).chain(arguments.iter().map(|argument| WITH_VALUE.contains(&argument.as_str())));
    let is_filter = |argument: &str| !argument.starts_with('-') && argument.parse::<u64>().is_err();
    let mut filters =
        arguments.iter().zip(is_option_value).filter(|(argument, value)| !value && is_filter(argument)).peekable();
    let matches = |filter: &str| if is_exact { name == filter } else { name.contains(filter) };
    filters.peek().is_none() || filters.any(|(filter, _)| matches(filter))
}
