//! The prompts: three tasks that users start.

use rmcp::ErrorData;
use rmcp::model::{GetPromptResult, JsonObject, Prompt, PromptArgument, PromptMessage, Role};

/// A task: its name, title and description, its arguments, and its text with `{argument}`.
struct Task {
    name: &'static str,
    title: &'static str,
    description: &'static str,
    arguments: &'static [(&'static str, &'static str)],
    text: &'static str,
}

const TASKS: [Task; 3] = [
    Task {
        name: "check_study",
        title: "Check a study before it is submitted",
        description: "Validates a table of slides and explains what must be corrected",
        arguments: &[("file", "Path of the table of slides"), ("application_id", "Id of the application")],
        text: "Check the table '{file}' for the application '{application_id}' with validate_table. List each problem \
               with its line, and say how to correct it. Read the documents of the application (list_documents) if a \
               requirement is unclear. Do not submit anything.",
    },
    Task {
        name: "explain_run",
        title: "Explain the outcome of a run",
        description: "Explains which slides of a run failed, why, and what to do next",
        arguments: &[("run_id", "Id of the run")],
        text: "Explain the outcome of the run {run_id}: describe_run for its state, explain_failure for the slides that \
               failed. Group the failures by reason, name the slides, and say for each reason what to do next. If the \
               run has not ended, wait for it with wait_for_run.",
    },
    Task {
        name: "summarize_results",
        title: "Summarize downloaded results",
        description: "Verifies a results folder and summarizes its results for each slide",
        arguments: &[("folder", "Path of the results folder")],
        text: "Verify the results folder '{folder}' with verify_folder, and stop if it is not intact. Then read the \
               result of each slide with read_result, and compare the areas and counts of the slides in a table. Name \
               slides whose values are unusual. State that the results are for research use, and are not a diagnosis.",
    },
];

pub(crate) fn list() -> Vec<Prompt> {
    let prompt = |task: &Task| {
        let argument = |(name, description): &(&str, &str)| {
            PromptArgument::new(*name).with_description(*description).with_required(true)
        };
        let arguments = task.arguments.iter().map(argument).collect();
        Prompt::new(task.name, Some(task.description), Some(arguments)).with_title(task.title)
    };
    TASKS.iter().map(prompt).collect()
}

pub(crate) fn get(name: &str, arguments: &JsonObject) -> Result<GetPromptResult, ErrorData> {
    let invalid_params = |text: String| ErrorData::invalid_params(text, None);
    let task = TASKS
        .iter()
        .find(|task| task.name == name)
        .ok_or_else(|| invalid_params(format!("unknown prompt `{name}`")))?;
    let mut text = task.text.to_owned();
    for (argument, _) in task.arguments {
        let value = arguments.get(*argument).and_then(|value| value.as_str());
        let value = value.ok_or_else(|| invalid_params(format!("the argument `{argument}` is missing")))?;
        text = text.replace(&format!("{{{argument}}}"), value);
    }
    let message = PromptMessage::new_text(Role::User, text);
    Ok(GetPromptResult::new(vec![message]).with_description(task.description))
}
