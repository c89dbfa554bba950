//! The part of libtest that test runners rely on, for a test binary that has its own `main`.

use std::env;
use std::io::{Write, stdout};

/// Options of libtest that are followed by a value.
const WITH_VALUE: [&str; 6] = ["--color", "--format", "--logfile", "--skip", "--test-threads", "-Z"];

/// Returns true if the arguments select the only test of this binary. Lists the test if they ask for that.
pub(crate) fn is_wanted(name: &str) -> bool {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let has = |option: &str| arguments.iter().any(|argument| argument == option);
    let runs = !has("--ignored") && passes(name, &arguments);
    if has("--list") && runs {
        let mut output = stdout();
        writeln!(output, "{name}: test").unwrap();
    }
    runs && !has("--list")
}

/// Returns true if the name matches one of the filters, or if there are none. Numbers are arguments of the test itself.
fn passes(name: &str, arguments: &[String]) -> bool {
    let exact = arguments.iter().any(|argument| argument == "--exact");
    let values = std::iter::once(false).chain(arguments.iter().map(|argument| WITH_VALUE.contains(&argument.as_str())));
    let is_filter = |argument: &str| !argument.starts_with('-') && argument.parse::<u64>().is_err();
    let mut filters = arguments.iter().zip(values).filter(|(argument, value)| !value && is_filter(argument)).peekable();
    let fits = |filter: &str| if exact { name == filter } else { name.contains(filter) };
    filters.peek().is_none() || filters.any(|(filter, _)| fits(filter))
}
