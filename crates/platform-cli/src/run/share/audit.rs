use std::collections::HashMap;
use std::time::SystemTime;

use auth_core::{Clock, SystemClock};
use clap::Args;
use futures_util::TryStreamExt;
use platform_resources::models::{Grant, ResourceType, ShareToken, SubjectType};
use platform_resources::operations::ListGrants;
use serde_json::{Value, json};

use crate::context::Context;
use crate::error::CliError;
use crate::format::Format;
use crate::output::{self, Output};
use crate::run::parse_run_id;
use crate::sanitize::sanitize;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Id of a run [default: all runs]
    #[arg(value_parser = parse_run_id)]
    run: Option<String>,
}

/// A grant, or a share token without one.
struct Right<'a> {
    grant: Option<&'a Grant>,
    token: Option<&'a ShareToken>,
    now: SystemTime,
}

pub(super) async fn run(arguments: Arguments, context: &Context) -> Result<(), CliError> {
    let client = context.client()?.no_cache();
    let mut query = ListGrants::new().with_resource_type(ResourceType::Run);
    if let Some(run) = &arguments.run {
        client.run(run.as_str()).get().await?;
        query = query.with_resource_id(run);
    }
    let mut grants: Vec<Grant> = client.grants().list_with(query).try_collect().await?;
    grants.sort_by_key(|grant| (grant.resource_id.clone(), SystemTime::from(grant.created_at)));
    let tokens: Vec<ShareToken> = client.share_tokens().list().try_collect().await?;
    let mut unused: HashMap<_, _> = tokens.iter().map(|token| (token.share_token_id.as_str(), token)).collect();
    let now = SystemClock.now();
    let mut rights = Vec::new();
    for grant in &grants {
        let token = tokens.iter().find(|token| is_for(grant, token));
        unused.remove(grant.subject_id.as_str());
        rights.push(Right { grant: Some(grant), token, now });
    }
    if arguments.run.is_none() {
        let unused = tokens.iter().filter(|token| unused.contains_key(token.share_token_id.as_str()));
        rights.extend(unused.map(|token| Right { grant: None, token: Some(token), now }));
    }
    if rights.is_empty() && context.output.format() == Format::Table {
        context.output.note("no grants found");
        return Ok(());
    }
    let shapes: Vec<_> = rights.iter().map(Right::shape).collect();
    context.output.several(&shapes, || table(&rights, &context.output))
}

fn is_for(grant: &Grant, token: &ShareToken) -> bool {
    grant.subject_type == SubjectType::ShareToken && grant.subject_id == token.share_token_id.as_str()
}

impl Right<'_> {
    /// Returns the state of the grant.
    fn state(&self) -> &'static str {
        let is_revoked = self.grant.is_some_and(|grant| grant.revoked) || self.token.is_some_and(|token| token.revoked);
        let end = self.token.and_then(|token| token.expires_at);
        match end {
            _ if is_revoked => "revoked",
            Some(end) if SystemTime::from(end) <= self.now => "expired",
            _ => "active",
        }
    }

    fn subject_id(&self) -> Option<&str> {
        let token = self.token.map(|token| token.share_token_id.as_str());
        self.grant.map(|grant| grant.subject_id.as_str()).or(token)
    }

    fn shape(&self) -> Value {
        json!({
            "run_id": self.grant.map(|grant| &grant.resource_id),
            "subject_type": self.grant.map_or(&SubjectType::ShareToken, |grant| &grant.subject_type),
            "subject_id": self.subject_id(),
            "relation": self.grant.map(|grant| &grant.relation),
            "state": self.state(),
            "created_at": self.grant.map(|grant| grant.created_at).or(self.token.map(|token| token.created_at)),
            "created_by": self.grant.map(|grant| &grant.created_by),
            "expires_at": self.token.and_then(|token| token.expires_at),
            "grant_id": self.grant.map(|grant| &grant.grant_id),
        })
    }
}

/// Returns the description of a subject.
pub(super) fn subject(kind: &SubjectType) -> String {
    match kind {
        SubjectType::User => "user".to_owned(),
        SubjectType::OrganizationUser => "organization".to_owned(),
        SubjectType::OrganizationAdmin => "administrators".to_owned(),
        SubjectType::ShareToken => "share token".to_owned(),
        other => other.to_string(),
    }
}

fn table(rights: &[Right<'_>], output: &Output) -> String {
    let mut table = output.table(["run", "reader", "id", "state", "since", "until"]);
    for right in rights {
        let kind = right.grant.map_or(&SubjectType::ShareToken, |grant| &grant.subject_type);
        let since = right.grant.map(|grant| grant.created_at).or(right.token.map(|token| token.created_at));
        table.add_row([
            right.grant.map_or_else(|| "none".to_owned(), |grant| sanitize(&grant.resource_id)),
            sanitize(subject(kind)),
            right.subject_id().map(sanitize).unwrap_or_default(),
            right.state().to_owned(),
            since.map(|at| output.moment(at)).unwrap_or_default(),
            right.token.and_then(|token| token.expires_at).map(|at| output.moment(at)).unwrap_or_default(),
        ]);
    }
    output::text(&table)
}
