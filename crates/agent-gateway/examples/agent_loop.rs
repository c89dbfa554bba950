//! An agent loop: a model calls tools and receives their results until it sends an answer.
//!
//! ```sh
//! cargo run -p aignostics-agent-gateway --example agent_loop
//! ```
//!
//! The model is a process that reads standard output and writes standard input, one line of JSON per message. It first
//! receives its tools. It then requests calls and receives their results until it sends an answer:
//!
//! ```json
//! {"tools": [{"name": "…", "description": "…", "input_schema": {}}]}
//! {"call": "…", "arguments": {}}
//! {"result": "…"}
//! {"answer": "…"}
//! ```
//!
//! An adapter for the API of a real model needs only a few more lines.
//!
//! The loop lists tools as the system, and calls them as the user whose JWT is in `USER_ASSERTION`. It lists the tools
//! before every turn. The list is cached, so that all turns together need one system token and one user token.
#![allow(clippy::print_stderr, reason = "an example prints")]

use std::collections::BTreeSet;
use std::error::Error;
use std::io::{BufRead, Write, stdin, stdout};

use agent_gateway::{Gateway, GatewayError, ModelNames, Principal, ToolFilter, User};
use auth_core::Secret;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// A message from the model.
#[derive(Deserialize)]
#[serde(untagged)]
enum ModelMessage {
    Call {
        call: String,
        #[serde(default)]
        arguments: Map<String, Value>,
    },
    Answer {
        answer: String,
    },
}

type BoxError = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let assertion =
        std::env::var("USER_ASSERTION").map_err(|_| "USER_ASSERTION is not set: expected a JWT of the user")?;
    let user = Principal::User(User::new(Secret::new(assertion))?);
    let gateway = Gateway::from_environment()?.build();
    let answer = converse(&gateway, &user, stdin().lock(), stdout()).await?;
    eprintln!("answer of the model: {answer}");
    Ok(())
}

/// Runs the loop until the model sends an answer, and returns the answer.
pub(crate) async fn converse(
    gateway: &Gateway,
    user: &Principal,
    mut model_output: impl BufRead,
    mut model_input: impl Write,
) -> Result<String, BoxError> {
    let mut sent_names = BTreeSet::new();
    loop {
        let listing = gateway.list_tools(&Principal::System, &ToolFilter::new()).await?;
        for error in &listing.errors {
            // The loop continues with the available tools. The operator reads the error.
            eprintln!("{error}");
        }
        let names = ModelNames::new(listing.tools);
        let tool_names: BTreeSet<_> = names.iter().map(|(name, _)| name.to_owned()).collect();
        if tool_names != sent_names {
            writeln!(model_input, "{}", definitions(&names))?;
            sent_names = tool_names;
        }
        let mut line = String::new();
        if model_output.read_line(&mut line)? == 0 {
            return Err("the model closed its output without an answer".into());
        }
        let reply = match serde_json::from_str(&line) {
            Ok(ModelMessage::Answer { answer }) => return Ok(answer),
            Ok(ModelMessage::Call { call, arguments }) => call_tool(gateway, user, &names, &call, arguments).await?,
            Err(_) => json!({ "error": "expected {\"call\": NAME, \"arguments\": {}} or {\"answer\": TEXT}" }),
        };
        writeln!(model_input, "{reply}")?;
    }
}

/// Returns the tool definitions for the model.
fn definitions(names: &ModelNames) -> Value {
    let tools = names.iter().map(
        |(name, tool)| json!({ "name": name, "description": tool.description(), "input_schema": tool.input_schema() }),
    );
    json!({ "tools": tools.collect::<Vec<_>>() })
}

/// Calls a tool and returns its result for the model.
///
/// Invalid arguments and errors of the tool are part of the result, because the model can correct them. All other
/// errors end the loop.
async fn call_tool(
    gateway: &Gateway,
    user: &Principal,
    names: &ModelNames,
    name: &str,
    arguments: Map<String, Value>,
) -> Result<Value, GatewayError> {
    let Some(tool) = names.tool(name) else { return Ok(json!({ "error": format!("unknown tool `{name}`") })) };
    match gateway.call_tool(tool, user, arguments).await {
        Ok(result) => Ok(json!({ "result": result.structured().cloned().unwrap_or_else(|| result.text().into()) })),
        Err(error) => match error.tool_result() {
            Some(result) => Ok(json!({ "error": result.text() })),
            None if error.is_arguments() => Ok(json!({ "error": error.to_string() })),
            None => Err(error),
        },
    }
}
