//! The tools: their schemas, and how they are called.

mod catalog;
mod confirmation;
mod folders;
mod results;
mod runs;
mod submit;
mod tables;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use rmcp::RoleServer;
use rmcp::model::{
    CallToolResponse, CallToolResult, ContentBlock, InputRequiredResult, JsonObject, ProgressNotificationParam, Tool,
    ToolAnnotations,
};
use rmcp::service::RequestContext;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::ToolError;
use crate::guard;
use crate::schema::{input_schema, output_schema};
use crate::shared::Shared;

/// A tool, with its schemas and its function.
pub(crate) struct ToolSpec {
    name: &'static str,
    title: &'static str,
    description: &'static str,
    input: fn() -> Arc<JsonObject>,
    output: fn() -> Arc<JsonObject>,
    run: for<'a> fn(&'a Shared, &'a Call) -> BoxFuture<'a, Result<ToolOutput, ToolError>>,
    submits: bool,
}

/// A call of a tool.
pub(crate) struct Call {
    pub(crate) arguments: JsonObject,
    pub(crate) context: RequestContext<RoleServer>,
    /// The responses of the user that a stateless client has collected.
    pub(crate) responses: Option<Value>,
    /// The state that a stateless client received with the question.
    pub(crate) state: Option<String>,
}

/// The result of a tool.
pub(crate) enum ToolOutput {
    /// The structured result, and additional content such as an image.
    Complete(Value, Vec<ContentBlock>),
    /// A question for the user.
    Question(Box<InputRequiredResult>),
}

/// Declares a tool whose function takes and returns types with schemas.
macro_rules! tool {
    ($name:literal, $title:literal, $description:literal, $input:ty => $output:ty, $run:path) => {
        ToolSpec {
            name: $name,
            title: $title,
            description: $description,
            input: input_schema::<$input>,
            output: output_schema::<$output>,
            run: |shared, call| {
                Box::pin(async move {
                    let result: $output = $run(shared, call.arguments::<$input>()?, call).await?;
                    ToolOutput::from_result(&result)
                })
            },
            submits: false,
        }
    };
}

const TOOLS: &[ToolSpec] = &[
    tool!("list_applications", "List applications", "Lists the applications of the platform with their latest versions.",
        NoArguments => catalog::Applications, catalog::applications),
    tool!("list_versions", "List versions", "Lists the versions of an application, with their inputs and outputs for one of them.",
        catalog::VersionsArguments => catalog::VersionList, catalog::versions),
    tool!("list_documents", "List documents", "Lists the documents of a version, such as its instructions for use. Read them as resources.",
        catalog::VersionArguments => catalog::DocumentList, catalog::documents),
    tool!("list_runs", "List runs", "Lists runs, the newest first.",
        runs::ListArguments => runs::RunList, runs::list),
    tool!("list_items", "List items", "Lists the slides of a run with their outcomes.",
        runs::ItemsArguments => runs::ItemList, runs::items),
    tool!("describe_run", "Describe a run", "Describes a run, or one item of it, with all fields of the platform.",
        runs::DescribeArguments => runs::Description, runs::describe),
    tool!("wait_for_run", "Wait for a run", "Waits until a run has ended, and reports its progress. Call it again if the time is over.",
        runs::WaitArguments => runs::WaitResult, runs::wait),
    tool!("explain_failure", "Explain a failure", "Explains why slides of a run failed, grouped by reason, and what to do next.",
        runs::RunArguments => runs::Explanation, runs::explain),
    tool!("verify_folder", "Verify a results folder", "Reads every file of a results folder and compares it with the manifest. Needs no login.",
        folders::FolderArguments => folders::Verification, folders::verify),
    tool!("validate_table", "Validate a table", "Validates a table of slides, or a submission in JSON, for an application. Submits nothing.",
        tables::TableArguments => tables::Validation, tables::validate),
    ToolSpec {
        name: "read_result",
        title: "Read a result",
        description: "Reads the downloaded results of a slide: tables such as areas, a summary of GeoJSON, and a thumbnail.",
        input: input_schema::<results::ResultArguments>,
        output: output_schema::<results::ResultSummary>,
        run: |shared, call| Box::pin(async move { results::read(shared, call.arguments()?).await }),
        submits: false,
    },
    ToolSpec {
        name: "submit_run",
        title: "Submit a run",
        description: "Submits a table of slides as a run, which is billed. Limited by the budget of this server. The same \
                      table is submitted once.",
        input: input_schema::<submit::SubmitArguments>,
        output: output_schema::<submit::Submission>,
        run: |shared, call| Box::pin(async move { submit::submit(shared, call.arguments()?, call).await }),
        submits: true,
    },
];

/// The arguments of a tool without arguments.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NoArguments {}

/// Returns the tools, with `submit_run` only if there is a budget.
pub(crate) fn list(shared: &Shared) -> Vec<Tool> {
    offered_tools(shared).map(ToolSpec::tool).collect()
}

/// Returns an offered tool by its name.
pub(crate) fn find(shared: &Shared, name: &str) -> Option<&'static ToolSpec> {
    offered_tools(shared).find(|spec| spec.name == name)
}

fn offered_tools(shared: &Shared) -> impl Iterator<Item = &'static ToolSpec> {
    let submits = shared.budget.is_some();
    TOOLS.iter().filter(move |spec| submits || !spec.submits)
}

impl ToolSpec {
    pub(crate) fn tool(&self) -> Tool {
        let annotations = ToolAnnotations::with_title(self.title)
            .read_only(!self.submits)
            .destructive(false)
            .idempotent(true)
            .open_world(true);
        Tool::new(self.name, self.description, (self.input)())
            .with_title(self.title)
            .with_raw_output_schema((self.output)())
            .with_annotations(annotations)
    }

    /// Calls the tool. Dropping the future cancels it, except for a submission that is being sent.
    pub(crate) async fn call(&self, shared: &Shared, call: Call) -> CallToolResponse {
        let canceled = call.context.ct.clone();
        let outcome = tokio::select! {
            outcome = (self.run)(shared, &call) => outcome,
            () = canceled.cancelled() => Err(ToolError::new("canceled by the client")),
        };
        match outcome {
            Ok(ToolOutput::Complete(value, extra_content)) => {
                let mut result = CallToolResult::structured(guard::redact(value));
                result.content.extend(extra_content);
                result.into()
            }
            Ok(ToolOutput::Question(question)) => CallToolResponse::InputRequired(*question),
            Err(error) => error.to_tool_result().into(),
        }
    }
}

impl ToolOutput {
    fn from_result(result: &impl Serialize) -> Result<Self, ToolError> {
        Ok(Self::Complete(serde_json::to_value(result)?, Vec::new()))
    }
}

impl Call {
    fn arguments<T: DeserializeOwned>(&self) -> Result<T, ToolError> {
        serde_json::from_value(Value::Object(self.arguments.clone()))
            .map_err(|error| ToolError::new(format!("invalid arguments: {error}")))
    }

    pub(crate) fn context(&self) -> &RequestContext<RoleServer> {
        &self.context
    }

    /// Reports progress, if the client requested it.
    pub(crate) async fn progress(&self, done: f64, total: f64, message: String) {
        if let Some(token) = self.context.meta.get_progress_token() {
            let progress = ProgressNotificationParam::new(token, done)
                .with_total(total)
                .with_message(guard::redact_text(&message));
            // If the connection is lost, sending the result fails, too, and reports it.
            let _ = self.context.peer.notify_progress(progress).await;
        }
    }
}
