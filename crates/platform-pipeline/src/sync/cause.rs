//! The causes of errors of a run.

use auth_core::TokenError;
use platform_resources::ApiError;

use crate::error::Error;

/// Returns true if the error of a download can also concern other runs: an error of the platform, the login or the
/// folder.
pub(super) fn concerns_others(error: &platform_resources::Error) -> bool {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |&error| error.source());
    error.is_transient()
        || error.folder().is_some()
        || error.api().is_some_and(ApiError::is_unauthorized)
        || causes.into_iter().any(<dyn std::error::Error>::is::<TokenError>)
}

/// Returns true if the error of a request for a run can also concern other runs. A response with status 500 does not
/// count: the platform was available for the list, so that this run may have caused the error.
pub(super) fn concerns_other_requests(error: &platform_resources::Error) -> bool {
    concerns_others(error) && error.api().and_then(ApiError::status) != Some(500)
}

/// Returns true if the next call may succeed.
pub(super) fn is_transient(error: &Error) -> bool {
    error.platform().is_some_and(platform_resources::Error::is_transient)
}
