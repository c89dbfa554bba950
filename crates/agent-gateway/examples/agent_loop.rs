//! The loop of an agent: a model chooses tools, and sees what they return, until it has an answer.
//!
//! ```sh
//! cargo run -p agent-gateway --example agent_loop
//! ```
//!
//! The model is whatever is at the other end of standard input and output, a line of JSON at a time. First it is told
//! its tools, then it says what it wants, and is told what came of it, until it has an answer:
//!
//! ```json
//! {"tools": [{"name": "…", "description": "…", "input_schema": {}}]}
//! {"call": "…", "arguments": {}}
//! {"result": "…"}
//! {"answer": "…"}
//! ```
//!
//! An adapter for the API of a model is a few lines around that.
//!
//! Tools are listed as the system and called as the user of `USER_ASSERTION`, a JWT. They are listed before every turn:
//! that costs nothing while what is known of them is good, and all turns cost one token of each.
#![allow(clippy::print_stderr, reason = "an example prints")]

use std::collections::BTreeSet;
use std::error::Error;
use std::io::{BufRead, Write, stdin, stdout};

use agent_gateway::{Gateway, GatewayError, ModelNames, Principal, ToolFilter, User};
use auth_core::Secret;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// What a model says.
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

/// Goes on until the model has an answer, which is returned.
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
            // The agent goes on with what there is, and whoever runs it knows what is not there.
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

/// What the model is told of its tools.
fn definitions(names: &ModelNames) -> Value {
    let tools = names.iter().map(
        |(name, tool)| json!({ "name": name, "description": tool.description(), "input_schema": tool.input_schema() }),
    );
    json!({ "tools": tools.collect::<Vec<_>>() })
}

/// What a call comes to, for the model: it can mend its own mistakes and those of a tool, and no others.
async fn call_tool(
    gateway: &Gateway,
    user: &Principal,
    names: &ModelNames,
    name: &str,
    arguments: Map<String, Value>,
) -> Result<Value, GatewayError> {
    let Some(tool) = names.tool(name) else { return Ok(json!({ "error": format!("there is no tool `{name}`") })) };
    match gateway.call_tool(tool, user, arguments).await {
        Ok(result) => Ok(json!({ "result": result.structured().cloned().unwrap_or_else(|| result.text().into()) })),
        Err(error) => match error.tool_result() {
            Some(result) => Ok(json!({ "error": result.text() })),
            None if error.is_arguments() => Ok(json!({ "error": error.to_string() })),
            None => Err(error),
        },
    }
}
