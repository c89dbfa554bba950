use platform_resources::models::{Grant, SubjectType};
use serde_json::{Value, json};

use super::{audit, grants, organization, tokens};
use crate::context::Context;
use crate::error::CliError;
use crate::json;
use crate::output;
use crate::sanitize::sanitize;

pub(super) async fn run(run: &str, context: &Context) -> Result<(), CliError> {
    let client = context.client()?;
    let grants = grants(&client, run, None).await?;
    let tokens = tokens(&client, run, &grants).await?;
    let of = |is: fn(&SubjectType) -> bool| -> Result<Vec<Value>, CliError> {
        grants.iter().filter(|grant| is(&grant.subject_type)).map(organization::shape).collect()
    };
    let shape = json!({
        "run_id": run,
        "organization_grants": of(|kind| *kind == SubjectType::OrganizationUser)?,
        "other_grants": of(|kind| !matches!(kind, SubjectType::OrganizationUser | SubjectType::ShareToken))?,
        "share_tokens": tokens.iter().map(json::plain).collect::<Result<Vec<_>, _>>()?,
    });
    context.output.one(&shape, || {
        let mut table = context.output.table(["reader", "id", "since", "until"]);
        for grant in &grants {
            let token = tokens.iter().find(|token| token.share_token_id.as_str() == grant.subject_id);
            let end = token.and_then(|token| token.expires_at).map(|at| context.output.moment(at));
            let since = context.output.moment(grant.created_at);
            table.add_row([sanitize(reader(grant)), sanitize(&grant.subject_id), since, end.unwrap_or_default()]);
        }
        if grants.is_empty() { "only its submitter".to_owned() } else { output::text(&table) }
    })
}

fn reader(grant: &Grant) -> String {
    audit::subject(&grant.subject_type)
}
