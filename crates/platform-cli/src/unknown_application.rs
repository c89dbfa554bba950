//! The error of an application that does not exist.

use futures_util::TryStreamExt;
use platform_resources::Client;
use platform_resources::models::ApplicationId;
use terminal::Kind;

use crate::error::{CliError, WRONG_ADDRESS, failed_operation};

/// Adds the existing applications to the error of an application that does not exist.
pub(crate) async fn explain(failure: CliError, id: &ApplicationId, client: &Client) -> CliError {
    let operation = failure.error().and_then(failed_operation);
    let is_document_operation = operation.is_some_and(|operation| operation.contains("document"));
    if !failure.is(Kind::NOT_FOUND) || failure.kind() == WRONG_ADDRESS || is_document_operation {
        return failure;
    }
    let applications = client.applications().list().map_ok(|application| application.application_id.to_string());
    match applications.try_collect::<Vec<_>>().await {
        Ok(existing) if existing.iter().any(|existing| existing == id.as_str()) => {
            failure.context(format!("application '{id}' does not exist in this version"))
        }
        Ok(existing) => CliError::no_match(format!("application '{id}' does not exist"), id.as_str(), &existing),
        // The original failure is more useful than that of the list.
        Err(_) => failure,
    }
}
