//! A command that lists and calls the tools behind a gateway, and lists its A2A agents.
//!
//! The gateway is configured by the environment: a service binding, `INTEGRATION_…` variables, or a binding of the
//! Destination service.
//!
//! ```sh
//! cargo run -p aignostics-agent-gateway --example tools -- list [ORD_ID]
//! cargo run -p aignostics-agent-gateway --example tools -- call ORD_ID TOOL '{"argument": 1}'
//! cargo run -p aignostics-agent-gateway --example tools -- agents
//! ```
//!
//! If the variable `USER_ASSERTION` contains a JWT, the command acts as its user, otherwise as the system. The JWT is
//! not an argument, because other processes can read the command line. With several tenants, the variable `TENANT`
//! selects one.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example prints")]

use std::error::Error;
use std::process::ExitCode;

use agent_gateway::{AgentFilter, Gateway, GatewayError, Principal, Tenant, ToolFilter};
use auth_core::Secret;
use serde_json::{Map, Value, json};

type BoxError = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments).await {
        Ok(output) => {
            println!("{output:#}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{}", error_chain(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &[String]) -> Result<Value, BoxError> {
    let assertion = std::env::var("USER_ASSERTION").ok().map(Secret::new);
    let tenant = std::env::var("TENANT").ok().map(Tenant::new).transpose()?;
    let principal = tenant.into_iter().fold(Principal::user_or_system(assertion)?, Principal::with_tenant);
    execute(&Gateway::from_environment()?.build(), &principal, arguments).await
}

/// Executes a command and returns its output.
pub(crate) async fn execute(gateway: &Gateway, principal: &Principal, arguments: &[String]) -> Result<Value, BoxError> {
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["list"] => list_tools(gateway, principal, &ToolFilter::new()).await,
        ["list", ord_id] => list_tools(gateway, principal, &ToolFilter::new().with_ord_id(ord_id)).await,
        ["agents"] => list_agents(gateway, principal).await,
        ["call", ord_id, name, arguments] => {
            let filter = ToolFilter::new().with_ord_id(ord_id).with_name(name);
            let arguments: Map<String, Value> = serde_json::from_str(arguments)?;
            let listing = gateway.list_tools(principal, &filter).strict().await?;
            let tool = listing.tools.first().ok_or_else(|| format!("`{ord_id}` has no tool `{name}`"))?;
            let result = gateway.call_tool(tool, principal, arguments).with_progress(|progress| {
                eprintln!("{} of {:?}: {:?}", progress.done, progress.total, progress.message);
            });
            match result.await {
                Ok(result) => Ok(json!({ "text": result.text(), "structured": result.structured() })),
                // An error of the tool itself is printed as the tool reports it, without the name of the server.
                Err(error) => {
                    Err(error.tool_result().map(agent_gateway::ToolResult::text).map_or(error.into(), Into::into))
                }
            }
        }
        _ => Err("expected `list`, `list ORD_ID`, `call ORD_ID TOOL ARGUMENTS` or `agents`".into()),
    }
}

async fn list_tools(gateway: &Gateway, principal: &Principal, filter: &ToolFilter) -> Result<Value, BoxError> {
    let listing = gateway.list_tools(principal, filter).await?;
    let tools = listing.tools.iter().map(
        |tool| json!({ "server": tool.server().ord_id(), "name": tool.name(), "description": tool.description() }),
    );
    let errors: Vec<_> = listing.errors.iter().map(|error: &GatewayError| error_chain(error)).collect();
    Ok(json!({ "tools": tools.collect::<Vec<_>>(), "errors": errors }))
}

async fn list_agents(gateway: &Gateway, principal: &Principal) -> Result<Value, BoxError> {
    let listing = gateway.list_agents(principal, &AgentFilter::new()).await?;
    let agents = listing.agents.iter().map(|agent| {
        let interfaces: Vec<_> = agent.card().interfaces().iter().map(|interface| interface.url().as_str()).collect();
        json!({ "agent": agent.id(), "name": agent.card().name(), "interfaces": interfaces })
    });
    let errors: Vec<_> = listing.errors.iter().map(|error| error_chain(error)).collect();
    Ok(json!({ "agents": agents.collect::<Vec<_>>(), "errors": errors }))
}

/// Returns an error and its causes.
fn error_chain(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
