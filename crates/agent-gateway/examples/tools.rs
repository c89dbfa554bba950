//! Lists and calls the tools behind the gateway of this environment, and lists its A2A agents. The environment has a service
//! binding, `INTEGRATION_…` variables, or a binding of the Destination service.
//!
//! ```sh
//! cargo run -p aignostics-agent-gateway --example tools -- list [ORD_ID]
//! cargo run -p aignostics-agent-gateway --example tools -- call ORD_ID TOOL '{"argument": 1}'
//! cargo run -p aignostics-agent-gateway --example tools -- agents
//! ```
//!
//! It acts as the system, or as the user of the JWT in the variable `USER_ASSERTION`. The JWT is not accepted on the
//! command line, which other processes can see. The variable `TENANT` has the tenant, if there are several.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example prints")]

use std::error::Error;
use std::process::ExitCode;

use agent_gateway::{AgentFilter, Gateway, GatewayError, Principal, Tenant, ToolFilter};
use auth_core::Secret;
use serde_json::{Map, Value, json};

/// An error with its causes.
type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments).await {
        Ok(answer) => {
            println!("{answer:#}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{}", with_causes(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &[String]) -> Result<Value, Failure> {
    let assertion = std::env::var("USER_ASSERTION").ok().map(Secret::new);
    let tenant = std::env::var("TENANT").ok().map(Tenant::new).transpose()?;
    let principal = tenant.into_iter().fold(Principal::user_or_system(assertion)?, Principal::with_tenant);
    answer(&Gateway::from_environment()?.build(), &principal, arguments).await
}

/// Executes a command line.
pub(crate) async fn answer(gateway: &Gateway, principal: &Principal, arguments: &[String]) -> Result<Value, Failure> {
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["list"] => list(gateway, principal, &ToolFilter::new()).await,
        ["list", ord_id] => list(gateway, principal, &ToolFilter::new().with_ord_id(ord_id)).await,
        ["agents"] => agents(gateway, principal).await,
        ["call", ord_id, name, arguments] => {
            let filter = ToolFilter::new().with_ord_id(ord_id).with_name(name);
            let arguments: Map<String, Value> = serde_json::from_str(arguments)?;
            let found = gateway.list_tools(principal, &filter).strict().await?;
            let tool = found.tools.first().ok_or_else(|| format!("`{ord_id}` has no tool `{name}`"))?;
            let result = gateway.call_tool(tool, principal, arguments).with_progress(|progress| {
                eprintln!("{} of {:?}: {:?}", progress.done, progress.total, progress.message);
            });
            match result.await {
                Ok(result) => Ok(json!({ "text": result.text(), "structured": result.structured() })),
                // The tool's own message is shown to the caller, without the server.
                Err(error) => {
                    Err(error.tool_result().map(agent_gateway::ToolResult::text).map_or(error.into(), Into::into))
                }
            }
        }
        _ => Err("say `list`, `list ORD_ID`, `call ORD_ID TOOL ARGUMENTS` or `agents`".into()),
    }
}

async fn list(gateway: &Gateway, principal: &Principal, filter: &ToolFilter) -> Result<Value, Failure> {
    let found = gateway.list_tools(principal, filter).await?;
    let tools = found.tools.iter().map(
        |tool| json!({ "server": tool.server().ord_id(), "name": tool.name(), "description": tool.description() }),
    );
    let errors: Vec<_> = found.errors.iter().map(|error: &GatewayError| with_causes(error)).collect();
    Ok(json!({ "tools": tools.collect::<Vec<_>>(), "errors": errors }))
}

async fn agents(gateway: &Gateway, principal: &Principal) -> Result<Value, Failure> {
    let found = gateway.list_agents(principal, &AgentFilter::new()).await?;
    let agents = found.agents.iter().map(|agent| {
        let interfaces: Vec<_> = agent.card().interfaces().iter().map(|interface| interface.url().as_str()).collect();
        json!({ "agent": agent.id(), "name": agent.card().name(), "interfaces": interfaces })
    });
    let errors: Vec<_> = found.errors.iter().map(|error| with_causes(error)).collect();
    Ok(json!({ "agents": agents.collect::<Vec<_>>(), "errors": errors }))
}

fn with_causes(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
