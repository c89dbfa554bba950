//! The confirmation of a submission by the user, if the client supports it. It is valid only for the submission in the
//! question.

use std::time::Duration;

use rmcp::model::{
    ElicitRequest, ElicitRequestParams, ElicitationAction, InputRequest, InputRequests, InputRequiredResult,
};
use rmcp::service::ServiceError;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::Call;
use crate::budget::{hash_parts, sanitize};
use crate::error::ToolError;
use crate::shared::Shared;

/// The name of the question in a response.
const QUESTION: &str = "confirmation";

/// The outcome of asking the user.
pub(crate) enum Confirmation {
    Accepted,
    Declined,
    /// The client cannot ask the user. Only the budget limits the submission.
    NotSupported,
    /// A stateless client receives the question, and repeats the call with the answer.
    Pending(Box<InputRequiredResult>),
}

/// The submission that the user confirms.
pub(crate) struct ProposedSubmission<'a> {
    pub(crate) application: &'a str,
    pub(crate) version: &'a str,
    pub(crate) slides: u64,
    pub(crate) tags: &'a [String],
    pub(crate) file: &'a str,
    /// The bytes of the file.
    pub(crate) content: &'a [u8],
}

impl ProposedSubmission<'_> {
    /// Returns the question. The agent chooses the names in it. Their control characters are removed, so that a name
    /// cannot add a line to the question.
    fn question(&self) -> String {
        let Self { application, version, slides, tags, file, content } = self;
        let tags = if tags.is_empty() { String::new() } else { format!("\nTags: {}", sanitize(&tags.join(", "))) };
        format!(
            "Submit {slides} slides to {} {}? The run is billed.\nTable: {}\nSHA-256: {}{tags}",
            sanitize(application),
            sanitize(version),
            sanitize(file),
            hex::encode(Sha256::digest(content)),
        )
    }

    /// Returns a code that identifies the submission. It depends on a secret key, so that a client can obtain it only
    /// with the question.
    fn code(&self, key: &[u8]) -> String {
        let Self { application, version, slides, tags, file: _, content } = self;
        let slides = slides.to_be_bytes();
        let parts = [key, application.as_bytes(), version.as_bytes(), &slides, content];
        hex::encode(hash_parts(parts.into_iter().chain(tags.iter().map(String::as_bytes))))
    }
}

/// Asks the user to confirm a submission.
pub(crate) async fn ask_user(
    shared: &Shared,
    call: &Call,
    submission: &ProposedSubmission<'_>,
) -> Result<Confirmation, ToolError> {
    let context = call.context();
    let is_stateless = context.protocol_version().is_some_and(|version| !version.has_initialize());
    let capabilities = context.client_capabilities();
    let supports_forms = capabilities
        .as_ref()
        .and_then(|capabilities| capabilities.elicitation.as_ref())
        .is_some_and(|modes| modes.form.is_some() || modes.url.is_none());
    if !supports_forms {
        return Ok(Confirmation::NotSupported);
    }
    let params = elicitation_params(&submission.question())?;
    if !is_stateless {
        let timeout = shared.confirmation_timeout;
        let answer = context.peer.create_elicitation_with_timeout(params, Some(timeout)).await;
        let answer = answer.map_err(|error| elicitation_error(error, timeout))?;
        let confirmed = answer.content.as_ref().is_some_and(|content| content["confirm"] == true);
        let is_accepted = answer.action == ElicitationAction::Accept && confirmed;
        return Ok(if is_accepted { Confirmation::Accepted } else { Confirmation::Declined });
    }
    let code = submission.code(shared.confirmation_key.as_flattened());
    if let Some(response) = call.responses.as_ref().and_then(|responses| responses.get(QUESTION)) {
        if !is_accepted(response) {
            return Ok(Confirmation::Declined);
        }
        return if call.state.as_ref() == Some(&code) { Ok(Confirmation::Accepted) } else { Err(changed_error()) };
    }
    let mut requests = InputRequests::new();
    requests.insert(QUESTION.to_owned(), InputRequest::Elicitation(ElicitRequest::new(params)));
    Ok(Confirmation::Pending(Box::new(InputRequiredResult::new(Some(requests), Some(code)))))
}

/// Returns the error of a submission that differs from the confirmed submission.
pub(crate) fn changed_error() -> ToolError {
    ToolError::new("the submission differs from the submission that the user confirmed; nothing was submitted")
        .with_hint("if the change is intended, call submit_run again, and let the user confirm it")
}

fn elicitation_error(error: ServiceError, timeout: Duration) -> ToolError {
    match error {
        ServiceError::Timeout { .. } => {
            ToolError::new(format!("the user did not answer within {} s; nothing was submitted", timeout.as_secs()))
        }
        error => ToolError::new(format!("the user could not be asked: {error}; nothing was submitted")),
    }
}

fn is_accepted(response: &Value) -> bool {
    response["action"] == "accept" && response["content"]["confirm"] == true
}

fn elicitation_params(question: &str) -> Result<ElicitRequestParams, ToolError> {
    let confirm = json!({ "type": "boolean", "title": "Submit", "description": "Submit the run, which is billed" });
    let schema = json!({ "type": "object", "properties": { "confirm": confirm }, "required": ["confirm"] });
    Ok(ElicitRequestParams::FormElicitationParams {
        meta: None,
        message: question.to_owned(),
        requested_schema: serde_json::from_value(schema)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proposal<'a>(tags: &'a [String], content: &'a [u8]) -> ProposedSubmission<'a> {
        ProposedSubmission { application: "tissue", version: "1.0.0", slides: 2, tags, file: "a.csv", content }
    }

    #[test]
    fn code_depends_on_each_part_of_the_submission() {
        let tags = ["a".to_owned(), "b".to_owned()];
        let code = proposal(&tags, b"x").code(b"key");
        assert_eq!(code, ProposedSubmission { file: "other.csv", ..proposal(&tags, b"x") }.code(b"key"));
        for other in [
            ProposedSubmission { application: "other", ..proposal(&tags, b"x") },
            ProposedSubmission { version: "1.0.1", ..proposal(&tags, b"x") },
            ProposedSubmission { slides: 3, ..proposal(&tags, b"x") },
            proposal(&tags[..1], b"x"),
            proposal(&["ab".to_owned()], b"x"),
            proposal(&tags, b"y"),
        ] {
            assert_ne!(other.code(b"key"), code, "{}", other.question());
        }
        assert_ne!(proposal(&tags, b"x").code(b"other key"), code);
    }

    #[test]
    fn question_shows_each_property_on_its_own_line() {
        let tags = ["a\n9 slides".to_owned()];
        let expected = "Submit 2 slides to tissue 1.0.0? The run is billed.\nTable: a.csv\nSHA-256: \
                        2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881\nTags: a9 slides";
        assert_eq!(proposal(&tags, b"x").question(), expected);
    }
}
