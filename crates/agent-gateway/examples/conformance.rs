//! A client for the conformance scenarios of MCP (npm `@modelcontextprotocol/conformance`).
//!
//! It lists the tools of a server and calls each of them. The last argument is the URL of the server.
//!
//! `MCP_CONFORMANCE_SCENARIO` is the name of the scenario. Scenarios whose names begin with `auth/` have an
//! authorization server. `MCP_CONFORMANCE_CONTEXT` is JSON. It may contain a registered client and the calls
//! (`toolCalls`). Without calls, each tool is called with sample arguments that match its schema.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example prints")]

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use agent_gateway::{
    ClientRegistration, Credentials, Gateway, GatewayBuilder, Interaction, LoginPage, McpAuthorization, Principal,
    Server, Tool, ToolFilter,
};
use auth_core::Secret;
use auth_http::{HttpClient, Request};
use serde_json::{Map, Value, json};

/// The id of the client: the URL of its metadata.
const CLIENT_METADATA: &str = "https://conformance-test.local/client-metadata.json";
/// The time limit of a login. The authorization servers of the scenarios respond immediately or not at all.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::args().next_back().ok_or("expected the URL of the server as the last argument")?;
    let context = std::env::var("MCP_CONFORMANCE_CONTEXT").unwrap_or_default();
    let context: Value = serde_json::from_str(&context).unwrap_or_default();
    let gateway = gateway_builder(Server::new(url.parse()?, "conformance"), &context)?;
    let gateway = gateway.with_plain_loopback().with_call_timeout(Duration::from_secs(20)).build();
    let listing = gateway.list_tools(&Principal::System, &ToolFilter::new()).await?;
    for error in &listing.errors {
        print_error("tools/list", error);
    }
    let calls: Vec<(String, Map<String, Value>)> = match context["toolCalls"].as_array() {
        Some(calls) => calls.iter().filter_map(parse_call).collect(),
        None => {
            listing.tools.iter().map(|tool| (tool.name().to_owned(), sample_arguments(tool, &listing.tools))).collect()
        }
    };
    for (name, arguments) in calls {
        let Some(tool) = listing.tools.iter().find(|tool| tool.name() == name) else { continue };
        match gateway.call_tool(tool, &Principal::System, arguments).await {
            Ok(result) => println!("{name}: {}", result.text()),
            Err(error) => print_error(&name, &error),
        }
    }
    Ok(())
}

fn print_error(operation: &str, error: &(dyn Error + 'static)) {
    eprintln!("{operation}: {}", auth_core::error_chain(error));
}

/// Returns the builder of a gateway for the server of the scenario.
fn gateway_builder(server: Server, context: &Value) -> Result<GatewayBuilder, Box<dyn Error>> {
    let scenario = std::env::var("MCP_CONFORMANCE_SCENARIO").unwrap_or_default();
    if !scenario.starts_with("auth/") {
        return Ok(Gateway::builder(Credentials::none(), vec![server]));
    }
    let user = Arc::new(LoggedInUser(HttpClient::builder().with_plain_loopback().build()?));
    let authorization = McpAuthorization::new(user).with_client_metadata(CLIENT_METADATA.parse()?);
    let mut authorization = authorization.with_login_timeout(LOGIN_TIMEOUT);
    if let (Some(issuer), Some(id)) = (context["issuer"].as_str(), context["client_id"].as_str()) {
        let client = ClientRegistration::new(issuer, id);
        let secret = context["client_secret"].as_str().map(Secret::new);
        authorization = authorization.with_client(secret.into_iter().fold(client, ClientRegistration::with_secret));
    }
    Ok(Gateway::builder(authorization, vec![server]))
}

/// A user who is already logged in. The login page redirects without a form.
#[derive(Debug)]
struct LoggedInUser(HttpClient);

#[async_trait::async_trait]
impl Interaction for LoggedInUser {
    async fn open(&self, page: &LoginPage) -> Result<(), Box<dyn Error + Send + Sync>> {
        let response = self.0.send(Request::get(page.url().clone())).await?;
        let redirect = response.header("location").ok_or("the page does not redirect")?.parse()?;
        let http = self.0.clone();
        tokio::spawn(async move { http.send(Request::get(redirect)).await });
        Ok(())
    }
}

/// Returns the name of a tool and its arguments from an entry of `toolCalls`.
fn parse_call(call: &Value) -> Option<(String, Map<String, Value>)> {
    Some((call["name"].as_str()?.to_owned(), call["arguments"].as_object().cloned().unwrap_or_default()))
}

/// Returns sample arguments for simple schemas. An argument named `schema` is the schema of the first tool.
fn sample_arguments(tool: &Tool, tools: &[Tool]) -> Map<String, Value> {
    let properties = tool.input_schema().get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
    let sample_value = |schema: &Value| match schema["type"].as_str() {
        Some("number" | "integer") => json!(5),
        Some("boolean") => json!(true),
        Some("array") => json!([]),
        Some("object") => json!({}),
        _ => json!("text"),
    };
    let to_argument = |(name, schema): (&String, &Value)| match (name.as_str(), tools.first()) {
        ("schema", Some(first)) => (name.clone(), Value::Object(first.input_schema().clone())),
        _ => (name.clone(), sample_value(schema)),
    };
    properties.iter().map(to_argument).collect()
}
