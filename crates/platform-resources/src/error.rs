mod build;
mod call;
#[cfg(feature = "login")]
mod login;
mod problem;
mod raw_request;
#[cfg(feature = "download")]
mod selection;

use std::sync::Arc;
use std::time::SystemTime;

use auth_core::TokenError;
use auth_http::retry::RetriesExhausted;
use platform_api::models::ApplicationId;
use platform_api::operations::DeleteRunResults;
use platform_api::{ApiError, Operation};

use crate::effect::Effect;

pub use build::BuildError;
pub(crate) use call::CallError;
use call::CallFailure;
#[cfg(feature = "login")]
use login::LoginError;
pub use problem::Problem;
pub use raw_request::RawRequestError;
#[cfg(feature = "download")]
pub(crate) use selection::UnmatchedKind;
#[cfg(feature = "download")]
pub use selection::UnmatchedSelection;

/// An error of a client. Its predicates return true for the cases that a caller may handle.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Error(#[from] Kind);

#[derive(Debug, thiserror::Error)]
enum Kind {
    /// The failure is shared by all callers that waited for the same response.
    #[error(transparent)]
    Api(CallFailure),
    #[error("{}", no_token_message(.0, .1.as_ref()))]
    Token(#[source] TokenError, Option<RetriesExhausted>),
    #[error("the run was not submitted: its inputs are invalid for the application (problems: {})", .0.len())]
    Invalid(Vec<Problem>),
    #[error("the outcome of the submission is unknown: search for the run before submitting again")]
    Uncertain(#[source] Arc<ApiError>, Box<UncertainSubmission>),
    #[error("no run with the submission token {0} was found: the platform may or may not have accepted the submission")]
    Lost(String, #[source] Option<Box<Error>>),
    #[error("nothing was sent: the client is shutting down")]
    Canceled,
    #[error("cannot use the submission journal, so nothing was submitted")]
    Journal(#[source] std::io::Error),
    #[error("the application {0} has no available version")]
    NoVersion(String),
    #[error("the metadata were changed concurrently in each of {0} attempts")]
    Contended(u32),
    #[error("the run did not end in time")]
    Unfinished,
    #[error("timed out before an access token was obtained")]
    TimedOut,
    #[error("cannot query the health of the platform")]
    Health(#[source] auth_http::HttpError),
    #[error("{}", if .0.is_unsent() { "cannot send the request" } else { "the request was sent, but no complete response arrived" })]
    Raw(#[source] auth_http::HttpError),
    #[error("the request was sent, but no complete response arrived: it may have taken effect")]
    RawChange(#[source] auth_http::HttpError),
    #[error("the submission was sent, but no complete response arrived: the platform may have accepted it")]
    RawSubmission(#[source] auth_http::HttpError),
    #[error(transparent)]
    RawRequest(RawRequestError),
    #[error("cannot parse the response to the health check (status {0})")]
    HealthResponse(u16),
    #[error("internal error: a cached response has another type")]
    CacheTypeMismatch,
    #[error(transparent)]
    InsideRuntime(auth_http::InsideRuntimeError),
    #[error(transparent)]
    Build(BuildError),
    #[cfg(feature = "login")]
    #[error(transparent)]
    Login(LoginError),
    #[cfg(feature = "download")]
    #[error("cannot use the bucket of the organization")]
    Bucket(#[source] platform_download::SignError),
    #[cfg(feature = "download")]
    #[error(transparent)]
    Folder(platform_download::FolderError),
    #[cfg(feature = "download")]
    #[error(transparent)]
    Download(platform_download::DownloadError),
    #[cfg(feature = "download")]
    #[error(transparent)]
    Selection(UnmatchedSelection),
    #[cfg(feature = "download")]
    #[error("cannot read the file from the storage")]
    Storage(#[source] auth_http::HttpError),
    #[cfg(feature = "download")]
    #[error("the storage responded with {0} to the request for the file")]
    StorageStatus(u16),
    #[cfg(feature = "object-store")]
    #[error(transparent)]
    Store(platform_download::StoreError),
    #[cfg(feature = "download")]
    #[error("the storage is unavailable")]
    Unavailable(#[source] RetriesExhausted),
}

/// A submission with an unknown outcome. If the platform accepted it, there is a run with these items, which the caller
/// submitted after `since`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UncertainSubmission {
    /// The time immediately before the submission was sent.
    pub since: SystemTime,
    /// The application of the run.
    pub application: ApplicationId,
    /// The external ids of the items.
    pub external_ids: Vec<String>,
    /// The value of `submission_token` in the metadata of the run.
    pub token: String,
}

/// Returns the message for a missing token. It distinguishes an unavailable identity provider from a missing login.
fn no_token_message(error: &TokenError, exhausted: Option<&RetriesExhausted>) -> String {
    let reason =
        if error.is_transient() { "the identity provider is unavailable" } else { "no access token is available" };
    exhausted.map_or(reason.to_owned(), |exhausted| format!("{reason}; {exhausted}"))
}

impl From<TokenError> for Error {
    fn from(error: TokenError) -> Self {
        Kind::Token(error, None).into()
    }
}

impl From<BuildError> for Error {
    fn from(error: BuildError) -> Self {
        Kind::Build(error).into()
    }
}

impl From<ApiError> for Error {
    fn from(error: ApiError) -> Self {
        Kind::Api(CallFailure { error: Arc::new(error), exhausted: None }).into()
    }
}

#[cfg(feature = "download")]
impl From<platform_download::SignError> for Error {
    fn from(error: platform_download::SignError) -> Self {
        Kind::Bucket(error).into()
    }
}

#[cfg(feature = "download")]
impl From<platform_download::FolderError> for Error {
    fn from(error: platform_download::FolderError) -> Self {
        Kind::Folder(error).into()
    }
}

#[cfg(feature = "download")]
impl From<platform_download::DownloadError> for Error {
    fn from(error: platform_download::DownloadError) -> Self {
        Kind::Download(error).into()
    }
}

#[cfg(feature = "download")]
impl From<UnmatchedSelection> for Error {
    fn from(error: UnmatchedSelection) -> Self {
        Kind::Selection(error).into()
    }
}

impl Error {
    pub(crate) fn cache_type_mismatch() -> Self {
        Kind::CacheTypeMismatch.into()
    }

    pub(crate) fn invalid(problems: Vec<Problem>) -> Self {
        Kind::Invalid(problems).into()
    }

    /// Adds `submission` to the error if the platform may have received the submission.
    pub(crate) fn uncertain(self, submission: UncertainSubmission) -> Self {
        match self.0 {
            Kind::Api(CallFailure { error, .. }) if error.is_uncertain() => {
                Kind::Uncertain(error, Box::new(submission)).into()
            }
            kind => kind.into(),
        }
    }

    /// Creates the error of a submission whose run was not found. `cause` is the error of a failed look-up, if any.
    pub(crate) fn lost(token: &str, cause: Option<Self>) -> Self {
        Kind::Lost(token.to_owned(), cause.map(Box::new)).into()
    }

    pub(crate) fn timed_out() -> Self {
        Kind::TimedOut.into()
    }

    pub(crate) fn canceled() -> Self {
        Kind::Canceled.into()
    }

    pub(crate) fn journal(error: std::io::Error) -> Self {
        Kind::Journal(error).into()
    }

    pub(crate) fn no_version(application: &impl ToString) -> Self {
        Kind::NoVersion(application.to_string()).into()
    }

    pub(crate) fn contended(times: u32) -> Self {
        Kind::Contended(times).into()
    }

    pub(crate) fn unfinished() -> Self {
        Kind::Unfinished.into()
    }

    pub(crate) fn inside_runtime(error: auth_http::InsideRuntimeError) -> Self {
        Kind::InsideRuntime(error).into()
    }

    pub(crate) fn health(error: auth_http::HttpError) -> Self {
        Kind::Health(error).into()
    }

    pub(crate) fn raw(error: auth_http::HttpError, effect: Effect) -> Self {
        match effect {
            _ if error.is_unsent() => Kind::Raw(error),
            Effect::Reads => Kind::Raw(error),
            Effect::Changes => Kind::RawChange(error),
            Effect::Submits => Kind::RawSubmission(error),
        }
        .into()
    }

    pub(crate) fn raw_request(error: RawRequestError) -> Self {
        Kind::RawRequest(error).into()
    }

    pub(crate) fn health_response(status: u16) -> Self {
        Kind::HealthResponse(status).into()
    }

    #[cfg(feature = "download")]
    pub(crate) fn storage(error: auth_http::HttpError) -> Self {
        Kind::Storage(error).into()
    }

    #[cfg(feature = "object-store")]
    pub(crate) fn store(error: platform_download::StoreError) -> Self {
        Kind::Store(error).into()
    }

    #[cfg(feature = "download")]
    pub(crate) fn unavailable(exhausted: RetriesExhausted) -> Self {
        Kind::Unavailable(exhausted).into()
    }

    #[cfg(feature = "download")]
    pub(crate) fn storage_status(status: u16) -> Self {
        Kind::StorageStatus(status).into()
    }

    /// Returns the error of the API call, if it caused this error.
    pub fn api(&self) -> Option<&ApiError> {
        match &self.0 {
            Kind::Api(CallFailure { error, .. }) | Kind::Uncertain(error, _) => Some(error),
            _ => None,
        }
    }

    /// Returns the error of the result folder, if it caused this error.
    #[cfg(feature = "download")]
    pub fn folder(&self) -> Option<&platform_download::FolderError> {
        match &self.0 {
            Kind::Folder(error) => Some(error),
            _ => None,
        }
    }

    /// Returns the error of downloading a file, if it caused this error.
    #[cfg(feature = "download")]
    pub fn download(&self) -> Option<&platform_download::DownloadError> {
        match &self.0 {
            Kind::Download(error) => Some(error),
            _ => None,
        }
    }

    /// Returns true if the same call can succeed later, because the platform, the storage or the identity provider was
    /// unreachable or overloaded. A temporary failure of a refresh does not [require a login](Self::is_login_required).
    pub fn is_transient(&self) -> bool {
        match &self.0 {
            Kind::Api(CallFailure { error, .. }) => error.is_transient(),
            Kind::Token(error, _) => error.is_transient(),
            Kind::TimedOut => true,
            Kind::Health(error) | Kind::Raw(error) | Kind::RawChange(error) => error.is_transient(),
            #[cfg(feature = "login")]
            Kind::Login(LoginError::OAuth(error) | LoginError::Unusable(error)) => error.is_transient(),
            #[cfg(feature = "download")]
            Kind::Download(error) => error.is_transient(),
            #[cfg(feature = "download")]
            Kind::Storage(error) => error.is_transient(),
            #[cfg(feature = "download")]
            Kind::Folder(error) => error.is_transient(),
            #[cfg(feature = "object-store")]
            Kind::Store(error) => error.is_transient(),
            #[cfg(feature = "download")]
            Kind::Unavailable(_) => true,
            #[cfg(feature = "download")]
            Kind::StorageStatus(status) => auth_http::retry::is_transient_status(*status),
            _ => false,
        }
    }

    /// Returns the selection without a match, if it caused this error.
    #[cfg(feature = "download")]
    pub fn unmatched_selection(&self) -> Option<&UnmatchedSelection> {
        match &self.0 {
            Kind::Selection(error) => Some(error),
            _ => None,
        }
    }

    /// Returns true if the resource does not exist or is not visible to the caller.
    pub fn is_not_found(&self) -> bool {
        matches!(self.0, Kind::NoVersion(_)) || self.api().is_some_and(ApiError::is_not_found)
    }

    /// Returns true if the resource was changed after the caller had read it.
    pub fn is_conflict(&self) -> bool {
        matches!(self.0, Kind::Contended(_)) || self.api().is_some_and(ApiError::is_conflict)
    }

    /// Returns true if the results of a run cannot be deleted because the run is not terminated (409).
    pub fn is_not_terminated(&self) -> bool {
        self.api().is_some_and(|error| error.is_already_done() && error.operation() == DeleteRunResults::ID)
    }

    /// Returns true if a submission was sent and its outcome is unknown. The run may be billed.
    pub fn is_submission_uncertain(&self) -> bool {
        matches!(self.0, Kind::Uncertain(..) | Kind::Lost(..) | Kind::RawSubmission(_))
    }

    /// Returns the properties by which the run of an uncertain submission can be found. Returns `None` for errors of
    /// other methods than [`Runs::submit`](crate::Runs::submit).
    pub fn uncertain_submission(&self) -> Option<&UncertainSubmission> {
        match &self.0 {
            Kind::Uncertain(_, submission) => Some(submission),
            _ => None,
        }
    }

    /// Returns the token of an [uncertain](Self::is_submission_uncertain) submission. Returns `None` for a submission
    /// by [`Client::raw`](crate::Client::raw).
    pub fn submission_token(&self) -> Option<&str> {
        match &self.0 {
            Kind::Uncertain(_, submission) => Some(&submission.token),
            Kind::Lost(token, _) => Some(token),
            _ => None,
        }
    }

    /// Returns true if nothing was sent because [`CriticalSections::close`](crate::CriticalSections::close) was called.
    pub fn is_canceled(&self) -> bool {
        matches!(self.0, Kind::Canceled)
    }

    /// Returns true if the submission journal could not be read or written.
    pub fn is_journal(&self) -> bool {
        matches!(self.0, Kind::Journal(_))
    }

    /// Returns true if the run did not end within the time limit of [`RunHandle::wait`](crate::RunHandle::wait).
    pub fn is_unfinished(&self) -> bool {
        matches!(self.0, Kind::Unfinished)
    }

    /// Returns true if a blocking client was called inside an asynchronous runtime. No request was sent.
    pub fn is_inside_runtime(&self) -> bool {
        matches!(self.0, Kind::InsideRuntime(_))
    }

    /// Returns all problems of an invalid submission; empty for other errors.
    pub fn problems(&self) -> &[Problem] {
        match &self.0 {
            Kind::Invalid(problems) => problems,
            _ => &[],
        }
    }
}
