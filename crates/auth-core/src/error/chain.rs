use std::error::Error;

/// Returns the messages of an error and of its sources, separated by colons.
///
/// ```
/// let error = auth_core::TokenError::provider("the disk is full");
/// assert_eq!(auth_core::error_chain(&error), "cannot obtain an access token: the disk is full");
/// ```
pub fn error_chain(error: &(dyn Error + 'static)) -> String {
    let sources = std::iter::successors(error.source(), |&error| error.source());
    sources.fold(error.to_string(), |chain, source| format!("{chain}: {source}"))
}
