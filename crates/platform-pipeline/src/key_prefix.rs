use auth_core::{Clock, SystemClock};
use jiff::Timestamp;

use crate::error::Error;
use crate::system_user::system_user;

/// Returns a prefix of object keys without slashes at its ends. `{username}` is replaced with the [name of the system
/// user](system_user()), and `{timestamp}` with the current time.
///
/// # Errors
///
/// [`Error::is_input`]: a part of the prefix is empty, `.` or `..`.
pub fn key_prefix(text: &str) -> Result<String, Error> {
    let mut prefix = text.to_owned();
    if prefix.contains("{timestamp}")
        && let Ok(now) = Timestamp::try_from(SystemClock.now())
    {
        prefix = prefix.replace("{timestamp}", &now.strftime("%Y%m%d_%H%M%S").to_string());
    }
    if prefix.contains("{username}") {
        prefix = prefix.replace("{username}", &system_user());
    }
    let prefix = prefix.trim_matches('/');
    if !prefix.is_empty() && prefix.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(Error::input(format!("the prefix '{text}' cannot have a part that is empty, `.` or `..`")));
    }
    Ok(prefix.to_owned())
}
