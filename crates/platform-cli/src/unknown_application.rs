//! The error of an application that does not exist.

use futures_util::TryStreamExt;
use platform_resources::Client;
use platform_resources::models::ApplicationId;

use crate::error::CliError;

/// Names the existing applications in the failure of an application that does not exist.
pub(crate) async fn explain(failure: CliError, id: &ApplicationId, client: &Client) -> CliError {
    let is_of_document = failure.operation().is_some_and(|operation| operation.contains("document"));
    if !failure.is_not_found() || is_of_document {
        return failure;
    }
    let applications = client.applications().list().map_ok(|application| application.application_id.to_string());
    match applications.try_collect::<Vec<_>>().await {
        Ok(existing) if existing.iter().any(|existing| existing == id.as_str()) => {
            failure.context(format!("application '{id}' does not exist in this version"))
        }
        Ok(existing) => {
            CliError::nothing_selected(format!("application '{id}' does not exist"), id.as_str(), &existing)
        }
        // The first failure is the one to report.
        Err(_) => failure,
    }
}
