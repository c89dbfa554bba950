//! An agent loop: a model calls tools and receives their results, until it has an answer.
//!
//! ```sh
//! cargo run -p aignostics-agent-gateway --example agent_loop
//! ```
//!
//! The model is the process at standard input and output, with one line of JSON per message. It first receives its
//! tools; it then requests calls and receives their results until it has an answer:
//!
//! ```json
//! {"tools": [{"name": "…", "description": "…", "input_schema": {}}]}
//! {"call": "…", "arguments": {}}
//! {"result": "…"}
//! {"answer": "…"}
//! ```
//!
//! An adapter for the API of a model needs only a few lines in addition.
//!
//! Tools are listed as the system, and called as the user of `USER_ASSERTION`, a JWT. They are listed before every
//! turn: the list is cached, and all turns together cost one token of each kind.
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
enum Said {
    Call {
        call: String,
        #[serde(default)]
        arguments: Map<String, Value>,
    },
    Answer {
        answer: String,
    },
}

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let assertion = std::env::var("USER_ASSERTION").map_err(|_| "USER_ASSERTION is not set: who is the user?")?;
    let user = Principal::User(User::new(Secret::new(assertion))?);
    let gateway = Gateway::from_environment()?.build();
    let answer = converse(&gateway, &user, stdin().lock(), stdout()).await?;
    eprintln!("the model has answered: {answer}");
    Ok(())
}

/// Runs the loop until the model has an answer, and returns it.
pub(crate) async fn converse(
    gateway: &Gateway,
    user: &Principal,
    mut model: impl BufRead,
    mut to_the_model: impl Write,
) -> Result<String, Failure> {
    let mut told = BTreeSet::new();
    loop {
        let found = gateway.list_tools(&Principal::System, &ToolFilter::new()).await?;
        for error in &found.errors {
            // The agent continues with the available tools, and its operator sees the error.
            eprintln!("{error}");
        }
        let names = ModelNames::new(found.tools);
        let known: BTreeSet<_> = names.iter().map(|(name, _)| name.to_owned()).collect();
        if known != told {
            writeln!(to_the_model, "{}", definitions(&names))?;
            told = known;
        }
        let mut line = String::new();
        if model.read_line(&mut line)? == 0 {
            return Err("the model has gone away without an answer".into());
        }
        let turn = match serde_json::from_str(&line) {
            Ok(Said::Answer { answer }) => return Ok(answer),
            Ok(Said::Call { call, arguments }) => call_tool(gateway, user, &names, &call, arguments).await?,
            Err(_) => json!({ "error": "say {\"call\": NAME, \"arguments\": {}} or {\"answer\": TEXT}" }),
        };
        writeln!(to_the_model, "{turn}")?;
    }
}

/// Returns the tool definitions for the model.
fn definitions(names: &ModelNames) -> Value {
    let tools = names.iter().map(
        |(name, tool)| json!({ "name": name, "description": tool.description(), "input_schema": tool.input_schema() }),
    );
    json!({ "tools": tools.collect::<Vec<_>>() })
}

/// Returns the result of a call for the model. The model can correct its own errors and those of a tool, but no others.
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
