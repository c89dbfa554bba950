//! The confirmation of a submission by the user, where the client supports it.

use rmcp::model::{
    ElicitRequest, ElicitRequestParams, ElicitationAction, InputRequest, InputRequests, InputRequiredResult,
};
use serde_json::{Value, json};

use super::Call;
use crate::error::ToolError;

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

/// Asks the user.
pub(crate) async fn ask(call: &Call, question: String) -> Result<Confirmation, ToolError> {
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
    let params = params(&question)?;
    if !is_stateless {
        let answer = context.peer.create_elicitation(params).await?;
        let confirmed = answer.content.as_ref().is_some_and(|content| content["confirm"] == true);
        return Ok(if answer.action == ElicitationAction::Accept && confirmed {
            Confirmation::Yes
        } else {
            Confirmation::No
        });
    }
    if let Some(response) = call.responses.as_ref().and_then(|responses| responses.get(QUESTION)) {
        return Ok(if is_yes(response) { Confirmation::Yes } else { Confirmation::No });
    }
    let mut requests = InputRequests::new();
    requests.insert(QUESTION.to_owned(), InputRequest::Elicitation(ElicitRequest::new(params)));
    Ok(Confirmation::Pending(Box::new(InputRequiredResult::new(Some(requests), None))))
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
