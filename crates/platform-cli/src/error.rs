//! The errors of the command, with their exit codes.

mod kind;

use std::error::Error as StdError;

use auth_oauth::CredentialError;
use platform_resources::Error;
use terminal::arguments::quoted;
use terminal::{Classify, CompleteCause, Failure, Kind, similar};

pub(crate) use kind::{UNCERTAIN, UNCERTAIN_REQUEST, UNHEALTHY, WRONG_ADDRESS, is_login_required, kind_of_status};

/// The error of a command, with its exit code.
pub(crate) type CliError = Failure<Errors>;

/// The classification of errors. `docs/cli.md` lists the kinds.
#[derive(Debug)]
pub(crate) struct Errors;

impl Classify for Errors {
    fn kind(error: &anyhow::Error) -> Kind {
        kind::classify(error)
    }

    fn details(error: &anyhow::Error) -> Vec<String> {
        details(error)
    }

    /// Returns the error of a credential, if any. The errors above it add only that no token is available.
    fn complete_cause(error: &anyhow::Error) -> Option<CompleteCause<'_>> {
        let mut chain = error.chain().enumerate();
        chain.find_map(|(position, cause)| {
            Some(CompleteCause { position, remedy: cause.downcast_ref::<CredentialError>()?.remedy() })
        })
    }
}

/// Returns the id in the OpenAPI document of the operation that failed.
pub(crate) fn failed_operation(error: &anyhow::Error) -> Option<&'static str> {
    let platform = |pipeline: &platform_pipeline::Error| Some(pipeline.platform()?.api()?.operation());
    error.chain().find_map(|cause| match cause.downcast_ref::<platform_pipeline::Error>() {
        Some(pipeline) => platform(pipeline),
        None => Some(cause.downcast_ref::<Error>()?.api()?.operation()),
    })
}

/// Names the credential that was rejected, unless the error names it already. `kind` describes the kind of credential,
/// and `name` is the name of its setting.
pub(crate) fn with_rejected_credential(failure: CliError, kind: &'static str, name: &str) -> CliError {
    failure.map(|error| {
        if error.chain().any(<dyn StdError>::is::<CredentialError>) {
            return error;
        }
        let is_rejected_by_platform = error.chain().find_map(|cause| cause.downcast_ref::<Error>()?.api()).is_some();
        let (reason, remedy) = if is_rejected_by_platform {
            (format!("the platform rejected the token ({error})"), "provide another token")
        } else {
            let reason = format!("the identity provider refused it ({})", error.root_cause());
            (reason, "set it to a valid one, or unset it to use another credential")
        };
        CredentialError::refused(kind, name, &reason, remedy).into()
    })
}

/// Returns instructions to find the run of a submission, one per line.
pub(crate) fn lookup_instructions(token: &str) -> Vec<String> {
    let path = format!("$.submission_token ? (@ == \"{token}\")");
    vec![
        format!("submission token: {token}"),
        format!("look it up: aignostics run list --custom-metadata {}", quoted(&path)),
    ]
}

/// Returns the details of an error from the platform or from validation.
fn details(error: &anyhow::Error) -> Vec<String> {
    let pipeline = error.downcast_ref::<platform_pipeline::Error>();
    let pipeline_details = pipeline.into_iter().flat_map(|error| error.details().iter().cloned());
    let error = error.downcast_ref::<Error>().or_else(|| pipeline?.platform());
    let problems = error.into_iter().flat_map(|error| error.problems().iter().map(ToString::to_string));
    let api = error.and_then(Error::api);
    let refusals = api.into_iter().flat_map(|api| api.details().iter().map(ToString::to_string));
    let snippet = api.and_then(|api| api.snippet()).map(str::to_owned);
    let token = error.and_then(Error::submission_token);
    let lookup = token.into_iter().flat_map(lookup_instructions);
    let selection = error.and_then(Error::unmatched_selection);
    let similar_names = selection.into_iter().flat_map(|selection| similar(selection.wanted(), selection.existing()));
    pipeline_details.chain(problems).chain(refusals).chain(snippet).chain(lookup).chain(similar_names).collect()
}
