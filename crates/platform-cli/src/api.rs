//! `aignostics api`: a request to the platform that no other command covers.

use anyhow::{Context as _, anyhow};
use auth_http::Method;
use clap::Args;
use platform_resources::{Activity, Client, RawRequest, RawResponse};
use serde_json::{Value, json};
use terminal::arguments::parse_pair;
use terminal::{Confirm, input, print, print_bytes};

use crate::context::Context;
use crate::error::{CliError, UNCERTAIN_REQUEST, kind_of_status};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Method: GET, HEAD, POST, PUT or DELETE
    #[arg(value_parser = parse_method, value_name = "METHOD")]
    method: Method,
    /// Path, such as /v1/me
    #[arg(value_name = "PATH")]
    path: String,
    /// Parameter of the query, NAME=VALUE. Can be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = |text: &str| parse_pair(text, '='))]
    query: Vec<(String, String)>,
    /// Member of the JSON body, NAME=VALUE; numbers, true, false and null are sent as such, other values as strings.
    /// Can be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = |text: &str| parse_pair(text, '='), conflicts_with = "body")]
    field: Vec<(String, String)>,
    /// File with the body, or - for standard input
    #[arg(long, value_name = "FILE")]
    body: Option<String>,
    /// Header, NAME:VALUE, except Authorization and Host. Can be repeated
    #[arg(long, value_name = "NAME:VALUE", value_parser = parse_header)]
    header: Vec<(String, String)>,
    /// Print the status and the headers, too
    #[arg(long)]
    include: bool,
    /// Fetch all pages of a list, and print one list
    #[arg(long)]
    all: bool,
    /// Show secret fields and signed URLs
    #[arg(long)]
    show_secrets: bool,
    #[command(flatten)]
    confirm: Confirm,
}

impl Arguments {
    /// Returns true if the method changes nothing on the platform.
    fn is_read_only(&self) -> bool {
        matches!(self.method, Method::Get | Method::Head)
    }
}

fn parse_method(text: &str) -> Result<Method, String> {
    let methods = [Method::Get, Method::Head, Method::Post, Method::Put, Method::Delete];
    let method = methods.into_iter().find(|method| method.to_string().eq_ignore_ascii_case(text));
    method.ok_or_else(|| "expected GET, HEAD, POST, PUT or DELETE".to_owned())
}

fn parse_header(text: &str) -> Result<(String, String), String> {
    parse_pair(text, ':').map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<(), CliError> {
    let request = build_request(&arguments).await?;
    let client = context.client(if arguments.is_read_only() { Activity::Reading } else { Activity::Changing })?;
    let api_root = client.settings().api_root.clone();
    request.url(&api_root).map_err(CliError::bad_input)?;
    let is_submission = request.is_submission(&api_root);
    if is_submission {
        let question =
            "submit a run, which is billed, and another one with each repetition (`run submit` submits it once)?";
        arguments.confirm.ask(question).await?;
    }
    if arguments.all {
        return match client.raw_pages(request).await? {
            Ok(entries) => print_json(Value::Array(entries), arguments.show_secrets),
            Err(response) => print_response(&response, &arguments, false),
        };
    }
    print_response(&client.raw(&request).await?, &arguments, is_submission)
}

async fn build_request(arguments: &Arguments) -> Result<RawRequest, CliError> {
    let Arguments { method, path, query, field, body, header, all, .. } = arguments;
    if *all && *method != Method::Get {
        return Err(CliError::bad_input(anyhow!("--all is for GET requests")));
    }
    if arguments.is_read_only() && (!field.is_empty() || body.is_some()) {
        return Err(CliError::bad_input(anyhow!("a {method} request has no body: use --query instead")));
    }
    let request = RawRequest::new(*method, path);
    let mut request = query.iter().fold(request, |request, (name, value)| request.with_query(name, value));
    for (name, value) in header {
        request = request.with_header(name, value).map_err(CliError::bad_input)?;
    }
    if !field.is_empty() {
        request = request.with_fields(field.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    }
    match body {
        None => Ok(request),
        Some(body) => Ok(request.with_body(read_body(body).await?)),
    }
}

/// Reads a body from a file or from stdin.
async fn read_body(path: &str) -> Result<Vec<u8>, CliError> {
    let name = if path == "-" { "standard input" } else { &format!("'{path}'") };
    input::read(path).await.with_context(|| format!("cannot read {name}")).map_err(CliError::bad_input)
}

/// Prints a response, and returns an error if its status is not a success.
fn print_response(response: &RawResponse, arguments: &Arguments, is_submission: bool) -> Result<(), CliError> {
    let show_secrets = arguments.show_secrets;
    if arguments.include {
        print(format!("{}\n", response.head(show_secrets)))?;
    }
    let status = response.status();
    if (300..400).contains(&status) {
        return print_json(json!({ "status": status, "location": response.location(show_secrets) }), true);
    }
    match response.json() {
        Some(value) => print_json(value, show_secrets)?,
        None if response.body().is_empty() => {}
        None if show_secrets => print_bytes(response.body())?,
        None => print_bytes(&response.masked_body())?,
    }
    if is_submission && response.is_uncertain() {
        let error = anyhow!("the platform responded with {status} to the submission: it may have been accepted");
        return Err(CliError::new(UNCERTAIN_REQUEST, error));
    }
    if (200..300).contains(&status) {
        return Ok(());
    }
    Err(CliError::new(kind_of_status(status), anyhow!("the platform responded with {status}")))
}

fn print_json(value: Value, show_secrets: bool) -> Result<(), CliError> {
    let value = if show_secrets { value } else { Client::masked_json(value) };
    Ok(terminal::print_json(&value, true)?)
}
