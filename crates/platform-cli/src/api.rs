//! `aignostics api`: a request to the platform that no other command covers.

use std::io::{self, Read};

use anyhow::{Context as _, anyhow};
use auth_http::Method;
use clap::Args;
use platform_resources::{Client, RawRequest, RawResponse};
use serde_json::{Map, Value, json};

use crate::confirm::Confirm;
use crate::context::Context;
use crate::detached::detached;
use crate::error::CliError;
use crate::output::{self, print, print_exactly};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Method: GET, HEAD, POST, PUT or DELETE
    #[arg(value_parser = parse_method, value_name = "METHOD")]
    method: Method,
    /// Path, such as /v1/me
    #[arg(value_name = "PATH")]
    path: String,
    /// Parameter of the query, NAME=VALUE. Can be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_pair)]
    query: Vec<(String, String)>,
    /// Member of the JSON body, NAME=VALUE; numbers, true, false and null are not texts. Can be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_pair, conflicts_with = "body")]
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
    /// Returns true for a method that changes nothing.
    pub(crate) fn only_reads(&self) -> bool {
        matches!(self.method, Method::Get | Method::Head)
    }
}

fn parse_method(text: &str) -> Result<Method, String> {
    let methods = [Method::Get, Method::Head, Method::Post, Method::Put, Method::Delete];
    let found = methods.into_iter().find(|method| method.to_string().eq_ignore_ascii_case(text));
    found.ok_or_else(|| "expected GET, HEAD, POST, PUT or DELETE".to_owned())
}

fn parse_pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn parse_header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("expected NAME:VALUE")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<(), CliError> {
    let request = request(&arguments).await?;
    let client = context.client()?;
    let root = client.settings().api_root.clone();
    request.url(&root).map_err(CliError::bad_input)?;
    let is_submission = request.is_submission(&root);
    if is_submission {
        let question =
            "submit a run, which is billed and is submitted again if the command is repeated (`run submit` is not)?";
        arguments.confirm.ask(question).await?;
    }
    if arguments.all {
        return match client.raw_pages(request).await? {
            Ok(entries) => print_json(Value::Array(entries), arguments.show_secrets),
            Err(response) => finish(&response, &arguments, false),
        };
    }
    finish(&client.raw(&request).await?, &arguments, is_submission)
}

async fn request(arguments: &Arguments) -> Result<RawRequest, CliError> {
    let Arguments { method, path, query, field, body, header, all, .. } = arguments;
    if *all && *method != Method::Get {
        return Err(CliError::bad_input(anyhow!("--all is for GET requests")));
    }
    if arguments.only_reads() && (!field.is_empty() || body.is_some()) {
        return Err(CliError::bad_input(anyhow!("a {method} request has no body: use --query instead")));
    }
    let request = RawRequest::new(*method, path);
    let mut request = query.iter().fold(request, |request, (name, value)| request.with_query(name, value));
    for (name, value) in header {
        request = request.with_header(name, value).map_err(CliError::bad_input)?;
    }
    if !field.is_empty() {
        let members: Map<_, _> = field.iter().map(|(name, value)| (name.clone(), literal(value))).collect();
        request = request.with_body(Value::Object(members).to_string());
    }
    match body {
        None => Ok(request),
        Some(body) => Ok(request.with_body(read(body.clone()).await?)),
    }
}

/// Reads a body from a file or from stdin. Both may block.
async fn read(path: String) -> Result<Vec<u8>, CliError> {
    let name = if path == "-" { "standard input".to_owned() } else { format!("'{path}'") };
    let bytes = detached(move || {
        if path != "-" {
            return std::fs::read(path);
        }
        let mut bytes = Vec::new();
        io::stdin().read_to_end(&mut bytes).map(|_| bytes)
    });
    bytes.await?.with_context(|| format!("cannot read {name}")).map_err(CliError::bad_input)
}

/// Returns a number, true, false, null, or else a text.
fn literal(text: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(value @ (Value::Number(_) | Value::Bool(_) | Value::Null)) => value,
        _ => Value::String(text.to_owned()),
    }
}

/// Prints a response, and returns the failure of its status.
fn finish(response: &RawResponse, arguments: &Arguments, is_submission: bool) -> Result<(), CliError> {
    let shows = arguments.show_secrets;
    if arguments.include {
        let mut head = format!("HTTP {}", response.status());
        if shows {
            response.headers().for_each(|(name, value)| head.push_str(&format!("\n{name}: {value}")));
        } else {
            response.masked_headers().for_each(|(name, value)| head.push_str(&format!("\n{name}: {value}")));
        }
        print(format!("{head}\n"))?;
    }
    let status = response.status();
    if (300..400).contains(&status) {
        let location = if shows {
            response.headers().find(|(name, _)| name.eq_ignore_ascii_case("location")).map(|(_, url)| url.to_owned())
        } else {
            response.masked_headers().find(|(name, _)| name.eq_ignore_ascii_case("location")).map(|(_, url)| url)
        };
        return print_json(json!({ "status": status, "location": location }), true);
    }
    match response.json() {
        Some(value) => print_json(value, shows)?,
        None if response.body().is_empty() => {}
        None if shows => print_exactly(|stdout| stdout.write_all(response.body()))?,
        None => print_exactly(|stdout| stdout.write_all(&response.masked_body()))?,
    }
    if is_submission && response.is_uncertain() {
        let uncertain = anyhow!("the platform responded with {status} to the submission: it may have been accepted");
        return Err(CliError::uncertain_request(uncertain));
    }
    if (200..300).contains(&status) { Ok(()) } else { Err(CliError::of_status(status)) }
}

fn print_json(value: Value, shows_secrets: bool) -> Result<(), CliError> {
    let value = if shows_secrets { value } else { Client::masked_json(value) };
    output::print_json(&value, true)
}
