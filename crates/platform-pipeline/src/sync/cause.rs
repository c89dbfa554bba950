//! The causes of errors of a run.

use auth_core::TokenError;
use platform_resources::ApiError;

use crate::error::Error;

/// Returns true if the error of a download can concern other runs, too: of the platform, of the login, or of the folder.
pub(super) fn concerns_others(error: &platform_resources::Error) -> bool {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |&error| error.source());
    error.is_transient()
        || error.folder().is_some()
        || error.api().is_some_and(ApiError::is_unauthorized)
        || causes.into_iter().any(<dyn std::error::Error>::is::<TokenError>)
}

/// Returns true if the error of a request for a run can concern other runs, too. With 500, the run can have caused it: the
/// platform was available for the list.
pub(super) fn concerns_other_requests(error: &platform_resources::Error) -> bool {
    concerns_others(error) && error.api().and_then(ApiError::status) != Some(500)
}

/// Returns true if the error may be over at the next call.
pub(super) fn is_transient(error: &Error) -> bool {
    error.platform().is_some_and(platform_resources::Error::is_transient)
}
