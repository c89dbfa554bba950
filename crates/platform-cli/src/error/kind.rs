use std::error::Error as StdError;

use auth_http::HttpError;
use platform_resources::{ApiError, BucketError, Error};

/// The operations that exist on every platform, whatever it contains.
const UNCONDITIONAL: [&str; 3] = ["get_me", "list_runs", "list_applications"];

/// The kinds of failures. Each has an exit code and a JSON name, which `docs/cli.md` lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Failed,
    Unreachable,
    TimeOut,
    Uncertain,
    /// A submission by `api`, which cannot be looked up by its token.
    UncertainRequest,
    BadInput,
    NotFound,
    /// An address that every platform has does not exist.
    NoPlatform,
    Unhealthy,
    Conflict,
    NotTerminated,
    /// The platform refused a change because of its current state.
    Refused,
    OtherContent,
    LoginRequired,
    Forbidden,
    Quota,
    Incomplete,
    Slides,
    /// The exit code of a child command.
    Code(u8),
    /// A signal ended the command.
    Signal(u8),
}

impl Kind {
    pub(super) fn of(error: &anyhow::Error) -> Self {
        if let Some(error) = error.downcast_ref::<BucketError>() {
            return Self::of_bucket(error);
        }
        if let Some(error) = error.downcast_ref::<platform_pipeline::Error>() {
            return Self::of_pipeline(error);
        }
        error.downcast_ref::<Error>().map_or(Self::Failed, Self::of_platform)
    }

    fn of_platform(error: &Error) -> Self {
        let api = |is: fn(&ApiError) -> bool| error.api().is_some_and(is);
        let has_no_response = error.is_transient() && error.api().is_none_or(|api| api.status().is_none())
            || sources(error).any(<dyn StdError>::is::<HttpError>);
        let refused = error.api().and_then(ApiError::status);
        match error {
            _ if error.is_login_required() => Self::LoginRequired,
            _ if error.is_submission_uncertain() && error.submission_token().is_none() => Self::UncertainRequest,
            _ if error.is_submission_uncertain() => Self::Uncertain,
            _ if has_no_response => Self::Unreachable,
            _ if error.is_unfinished() => Self::TimeOut,
            _ if error.is_conflict() => Self::Conflict,
            _ if error.is_not_terminated() => Self::NotTerminated,
            _ if api(ApiError::is_already_done) => Self::Refused,
            _ if api(|error| error.is_not_found() && UNCONDITIONAL.contains(&error.operation())) => Self::NoPlatform,
            _ if error.unmatched_selection().is_some() => Self::NotFound,
            _ if error.is_not_found() || api(ApiError::is_gone) => Self::NotFound,
            _ if !error.problems().is_empty() || api(ApiError::is_unsendable) => Self::BadInput,
            _ if api(ApiError::is_bad_request) || api(ApiError::is_validation) => Self::BadInput,
            _ if api(ApiError::is_forbidden) => Self::Forbidden,
            _ if api(ApiError::is_quota_exceeded) => Self::Quota,
            _ if api(ApiError::is_transient) && refused.is_none() => Self::Unreachable,
            // The URL of a file was refused.
            _ => sources(error).find_map(|source| source.downcast_ref()).map_or(Self::Failed, Self::of_platform),
        }
    }

    fn of_pipeline(error: &platform_pipeline::Error) -> Self {
        match error {
            _ if error.is_input() => Self::BadInput,
            _ if error.is_incomplete() => Self::Incomplete,
            _ if error.is_stopped() => Self::Slides,
            _ if error.is_conflict() => Self::OtherContent,
            _ => match (error.platform(), error.bucket()) {
                (Some(error), _) => Self::of_platform(error),
                (_, Some(error)) => Self::of_bucket(error),
                _ => Self::Failed,
            },
        }
    }

    fn of_bucket(error: &BucketError) -> Self {
        match error {
            _ if error.is_pattern() => Self::BadInput,
            _ if error.is_denied() => Self::Forbidden,
            _ if error.is_transient() && error.status().is_none() => Self::Unreachable,
            _ => Self::Failed,
        }
    }

    /// Returns the hint that depends on the failed operation.
    pub(super) fn hint_for(self, operation: &str) -> Option<&'static str> {
        if self == Self::NotFound { hint_for_missing(operation) } else { None }
    }

    /// Returns its JSON name, its exit code, and a hint.
    pub(super) fn described(self) -> (&'static str, u8, Option<&'static str>) {
        match self {
            Self::Failed => ("failure", 1, None),
            Self::Unreachable => {
                ("unreachable", 1, Some("`aignostics auth doctor` shows which server does not respond"))
            }
            Self::TimeOut => ("time_out", 1, Some("repeat the command to resume; a larger --timeout allows more time")),
            Self::Uncertain => {
                let remedy = "repeat the command to search for the run without submitting; or submit again with `run execute \
                              --resubmit-uncertain`, `run submit --resubmit` or another key for `--once`, which is \
                              billed twice if the first submission was accepted";
                ("uncertain", 1, Some(remedy))
            }
            Self::UncertainRequest => {
                let remedy = "check with `aignostics run list` if the run exists: repeating the command submits another \
                              one, which is billed";
                ("uncertain", 1, Some(remedy))
            }
            Self::BadInput => ("bad_input", 2, None),
            Self::NotFound => ("not_found", 2, None),
            Self::NoPlatform => {
                ("not_found", 2, Some("`aignostics system config` shows the address of the platform: correct it"))
            }
            Self::Unhealthy => ("unhealthy", 2, None),
            Self::Conflict => ("conflict", 3, Some("fetch the current version and repeat the change")),
            Self::NotTerminated => {
                ("conflict", 3, Some("cancel the run with `aignostics run cancel`, or wait with `aignostics run wait`"))
            }
            Self::Refused => {
                let remedy = "the platform refused the change in the current state: correct the cause in the message, or repeat the command later";
                ("conflict", 3, Some(remedy))
            }
            Self::OtherContent => {
                ("conflict", 3, Some("use another key for another submission, or repeat the first one unchanged"))
            }
            Self::LoginRequired => ("login_required", 4, Some("log in with `aignostics user login`")),
            Self::Forbidden => ("forbidden", 4, Some("`aignostics user whoami` shows the current user")),
            Self::Quota => ("quota_exceeded", 5, Some("submit fewer slides, or request a larger quota")),
            Self::Incomplete => ("incomplete", 6, None),
            Self::Slides => ("slides", 7, Some("repair or exclude the slides, and repeat the command")),
            Self::Code(code) => ("interrupted", code, None),
            Self::Signal(number) => ("interrupted", 128 + number, None),
        }
    }
}

/// Returns the hint for a resource that does not exist.
fn hint_for_missing(operation: &str) -> Option<&'static str> {
    let has = |part: &str| operation.contains(part);
    match operation {
        _ if has("grant") || has("share_token") => Some("`aignostics run share audit` lists grants and share tokens"),
        _ if has("document") => Some("`aignostics application version document list` lists the documents"),
        _ if has("application") => Some("`aignostics application list` lists the applications"),
        _ if has("run") || has("item") || has("artifact") => Some("`aignostics run list` lists the runs"),
        _ => None,
    }
}

/// Returns the causes of an error.
fn sources(error: &Error) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    std::iter::successors(error.source(), |&error| error.source())
}
