//! The confirmation of a submission by the user, where the client supports it. It is valid for what the user has seen only.

use std::time::Duration;

use rmcp::model::{
    ElicitRequest, ElicitRequestParams, ElicitationAction, InputRequest, InputRequests, InputRequiredResult,
};
use rmcp::service::ServiceError;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::Call;
use crate::budget::{hash, hex, shown};
use crate::error::ToolError;
use crate::shared::Shared;

/// The name of the question in a response.
const QUESTION: &str = "confirmation";

/// The answer of the user.
pub(crate) enum Confirmation {
    Yes,
    No,
    /// The client cannot ask; the budget is the limit.
    NotSupported,
    /// A stateless client receives the question, and repeats the call with the answer.
    Pending(Box<InputRequiredResult>),
}

/// The submission that the user confirms.
pub(crate) struct Subject<'a> {
    pub(crate) application: &'a str,
    pub(crate) version: &'a str,
    pub(crate) slides: u64,
    pub(crate) tags: &'a [String],
    pub(crate) file: &'a str,
    /// The bytes of the file.
    pub(crate) content: &'a [u8],
}

impl Subject<'_> {
    /// Returns the question. The names in it come from the agent, so that they have no line breaks.
    fn question(&self) -> String {
        let Self { application, version, slides, tags, file, content } = self;
        let tags = if tags.is_empty() { String::new() } else { format!("\nTags: {}", shown(&tags.join(", "))) };
        format!(
            "Submit {slides} slides to {} {}? The run is billed.\nTable: {}\nSHA-256: {}{tags}",
            shown(application),
            shown(version),
            shown(file),
            hex(&Sha256::digest(content)),
        )
    }

    /// Returns a code for exactly this submission, which a client can obtain only with the question.
    fn code(&self, key: &[u8]) -> String {
        let Self { application, version, slides, tags, file: _, content } = self;
        let slides = slides.to_be_bytes();
        let parts = [key, application.as_bytes(), version.as_bytes(), &slides, content];
        hex(&hash(parts.into_iter().chain(tags.iter().map(String::as_bytes))))
    }
}

/// Asks the user.
pub(crate) async fn ask(shared: &Shared, call: &Call, subject: &Subject<'_>) -> Result<Confirmation, ToolError> {
    let context = call.context();
    let is_stateless = context.protocol_version().is_some_and(|version| !version.has_initialize());
    let capabilities = context.client_capabilities();
    let supports = capabilities
        .as_ref()
        .and_then(|capabilities| capabilities.elicitation.as_ref())
        .is_some_and(|modes| modes.form.is_some() || modes.url.is_none());
    if !supports {
        return Ok(Confirmation::NotSupported);
    }
    let params = params(&subject.question())?;
    if !is_stateless {
        let timeout = shared.confirmation_timeout;
        let answer = context.peer.create_elicitation_with_timeout(params, Some(timeout)).await;
        let answer = answer.map_err(|error| no_answer(error, timeout))?;
        let confirmed = answer.content.as_ref().is_some_and(|content| content["confirm"] == true);
        let is_yes = answer.action == ElicitationAction::Accept && confirmed;
        return Ok(if is_yes { Confirmation::Yes } else { Confirmation::No });
    }
    let code = subject.code(shared.confirmation_key.as_flattened());
    if let Some(response) = call.responses.as_ref().and_then(|responses| responses.get(QUESTION)) {
        if !is_yes(response) {
            return Ok(Confirmation::No);
        }
        return if call.state.as_ref() == Some(&code) { Ok(Confirmation::Yes) } else { Err(changed()) };
    }
    let mut requests = InputRequests::new();
    requests.insert(QUESTION.to_owned(), InputRequest::Elicitation(ElicitRequest::new(params)));
    Ok(Confirmation::Pending(Box::new(InputRequiredResult::new(Some(requests), Some(code)))))
}

/// Returns the error of a submission that is not the one that the user has confirmed.
pub(crate) fn changed() -> ToolError {
    ToolError::new("the submission is not the one that the user confirmed; nothing was submitted")
        .with_hint("if the change is intended, call submit_run again, and let the user confirm it")
}

fn no_answer(error: ServiceError, timeout: Duration) -> ToolError {
    match error {
        ServiceError::Timeout { .. } => {
            ToolError::new(format!("the user did not answer within {} s; nothing was submitted", timeout.as_secs()))
        }
        error => ToolError::new(format!("the user could not be asked: {error}; nothing was submitted")),
    }
}

fn is_yes(response: &Value) -> bool {
    response["action"] == "accept" && response["content"]["confirm"] == true
}

fn params(question: &str) -> Result<ElicitRequestParams, ToolError> {
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

    fn subject<'a>(tags: &'a [String], content: &'a [u8]) -> Subject<'a> {
        Subject { application: "tissue", version: "1.0.0", slides: 2, tags, file: "a.csv", content }
    }

    #[test]
    fn code_is_for_everything_that_is_submitted() {
        let tags = ["a".to_owned(), "b".to_owned()];
        let code = subject(&tags, b"x").code(b"key");
        assert_eq!(code, Subject { file: "other.csv", ..subject(&tags, b"x") }.code(b"key"));
        for other in [
            Subject { application: "other", ..subject(&tags, b"x") },
            Subject { version: "1.0.1", ..subject(&tags, b"x") },
            Subject { slides: 3, ..subject(&tags, b"x") },
            subject(&tags[..1], b"x"),
            subject(&["ab".to_owned()], b"x"),
            subject(&tags, b"y"),
        ] {
            assert_ne!(other.code(b"key"), code, "{}", other.question());
        }
        assert_ne!(subject(&tags, b"x").code(b"other key"), code);
    }

    #[test]
    fn question_shows_what_is_submitted_in_lines_of_its_own() {
        let tags = ["a\n9 slides".to_owned()];
        let expected = "Submit 2 slides to tissue 1.0.0? The run is billed.\nTable: a.csv\nSHA-256: \
                        2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881\nTags: a9 slides";
        assert_eq!(subject(&tags, b"x").question(), expected);
    }
}
