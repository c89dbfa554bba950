use std::error::Error as StdError;

use auth_http::HttpError;
use platform_resources::{ApiError, BucketError, Error};
use terminal::Kind;

use super::failed_operation;

/// The operations whose resources exist on every platform.
const ALWAYS_PRESENT: [&str; 3] = ["get_me", "list_runs", "list_applications"];

const UNREACHABLE: Kind =
    Kind::new("unreachable", 1).with_hint("`aignostics auth doctor` shows which server does not respond");
/// A submission that may have been accepted.
pub(crate) const UNCERTAIN: Kind = Kind::new("uncertain", 1).with_hint(
    "repeat the command to search for the run without submitting; or submit again with `run execute \
     --resubmit-uncertain`, `run submit --resubmit` or another key for `--once`, which is \
     billed twice if the first submission was accepted",
);
/// A submission by `api`, which cannot be looked up by its token.
pub(crate) const UNCERTAIN_REQUEST: Kind = Kind::new("uncertain", 1).with_hint(
    "check with `aignostics run list` if the run exists: repeating the command submits another \
     one, which is billed",
);
/// A resource that exists on every platform was not found.
pub(crate) const WRONG_ADDRESS: Kind =
    Kind::new("not_found", 2).with_hint("`aignostics system config` shows the address of the platform: correct it");
/// The platform reports that it is not healthy.
pub(crate) const UNHEALTHY: Kind = Kind::new("unhealthy", 2);
const CONFLICT: Kind = Kind::new("conflict", 3).with_hint("fetch the current version and repeat the change");
const NOT_TERMINATED: Kind = Kind::new("conflict", 3)
    .with_hint("cancel the run with `aignostics run cancel`, or wait with `aignostics run wait`");
/// The platform refused a change because of its current state.
const REFUSED: Kind = Kind::new("conflict", 3).with_hint(
    "the platform refused the change in the current state: correct the cause in the message, or repeat the command later",
);
const CONTENT_CONFLICT: Kind =
    Kind::new("conflict", 3).with_hint("use another key for another submission, or repeat the first one unchanged");
const LOGIN_REQUIRED: Kind = Kind::new("login_required", 4).with_hint("log in with `aignostics user login`");
const FORBIDDEN: Kind = Kind::new("forbidden", 4).with_hint("`aignostics user whoami` shows the current user");
const QUOTA_EXCEEDED: Kind = Kind::new("quota_exceeded", 5).with_hint("submit fewer slides, or request a larger quota");
const UNUSABLE_SLIDES: Kind = Kind::new("slides", 7).with_hint("repair or exclude the slides, and repeat the command");

pub(super) fn classify(error: &anyhow::Error) -> Kind {
    let kind = if let Some(error) = error.downcast_ref::<BucketError>() {
        bucket_kind(error)
    } else if let Some(error) = error.downcast_ref::<platform_pipeline::Error>() {
        pipeline_kind(error)
    } else {
        error.downcast_ref::<Error>().map_or(Kind::FAILED, platform_kind)
    };
    match failed_operation(error).and_then(hint_for_missing) {
        Some(hint) if kind == Kind::NOT_FOUND => kind.with_hint(hint),
        _ => kind,
    }
}

/// Returns true if the platform or the identity provider requires another login.
pub(crate) fn is_login_required(failure: &super::CliError) -> bool {
    failure.is(LOGIN_REQUIRED)
}

pub(crate) fn kind_of_status(status: u16) -> Kind {
    match status {
        400 | 422 => Kind::BAD_INPUT,
        401 => LOGIN_REQUIRED,
        402 => QUOTA_EXCEEDED,
        403 => FORBIDDEN,
        404 | 410 => Kind::NOT_FOUND,
        409 | 412 => REFUSED,
        500.. => UNREACHABLE,
        _ => Kind::FAILED,
    }
}

fn platform_kind(error: &Error) -> Kind {
    let is_api_error = |predicate: fn(&ApiError) -> bool| error.api().is_some_and(predicate);
    let has_no_response = error.is_transient() && error.api().is_none_or(|api| api.status().is_none())
        || sources(error).any(<dyn StdError>::is::<HttpError>);
    let status = error.api().and_then(ApiError::status);
    match error {
        _ if error.is_login_required() => LOGIN_REQUIRED,
        _ if error.is_submission_uncertain() && error.submission_token().is_none() => UNCERTAIN_REQUEST,
        _ if error.is_submission_uncertain() => UNCERTAIN,
        _ if has_no_response => UNREACHABLE,
        _ if error.is_unfinished() => Kind::TIME_OUT,
        _ if error.is_conflict() => CONFLICT,
        _ if error.is_not_terminated() => NOT_TERMINATED,
        _ if is_api_error(ApiError::is_already_done) => REFUSED,
        _ if is_api_error(|error| error.is_not_found() && ALWAYS_PRESENT.contains(&error.operation())) => WRONG_ADDRESS,
        _ if error.unmatched_selection().is_some() => Kind::NOT_FOUND,
        _ if error.is_not_found() || is_api_error(ApiError::is_gone) => Kind::NOT_FOUND,
        _ if !error.problems().is_empty() || is_api_error(ApiError::is_unsendable) => Kind::BAD_INPUT,
        _ if is_api_error(ApiError::is_bad_request) || is_api_error(ApiError::is_validation) => Kind::BAD_INPUT,
        _ if is_api_error(ApiError::is_forbidden) => FORBIDDEN,
        _ if is_api_error(ApiError::is_quota_exceeded) => QUOTA_EXCEEDED,
        _ if is_api_error(ApiError::is_transient) && status.is_none() => UNREACHABLE,
        // The error wraps another one, for example the error of a request for a signed URL.
        _ => sources(error).find_map(|source| source.downcast_ref()).map_or(Kind::FAILED, platform_kind),
    }
}

fn pipeline_kind(error: &platform_pipeline::Error) -> Kind {
    match error {
        _ if error.is_input() => Kind::BAD_INPUT,
        _ if error.is_incomplete() => Kind::INCOMPLETE,
        _ if error.is_stopped() => UNUSABLE_SLIDES,
        _ if error.is_conflict() => CONTENT_CONFLICT,
        _ => match (error.platform(), error.bucket()) {
            (Some(error), _) => platform_kind(error),
            (_, Some(error)) => bucket_kind(error),
            _ => Kind::FAILED,
        },
    }
}

fn bucket_kind(error: &BucketError) -> Kind {
    match error {
        _ if error.is_pattern() => Kind::BAD_INPUT,
        _ if error.is_denied() => FORBIDDEN,
        _ if error.is_transient() && error.status().is_none() => UNREACHABLE,
        _ => Kind::FAILED,
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
