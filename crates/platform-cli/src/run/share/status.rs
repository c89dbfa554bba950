use platform_resources::models::{Grant, SubjectType};
use serde_json::{Value, json};

use super::{audit, grants, organization, tokens};
use crate::access::Shell;
use crate::exit::Failure;
use crate::output;
use crate::shapes;
use crate::shown::shown;

pub(super) async fn run(run: &str, shell: &Shell) -> Result<(), Failure> {
    let client = shell.client()?;
    let grants = grants(&client, run, None).await?;
    let tokens = tokens(&client, run, &grants).await?;
    let of = |is: fn(&SubjectType) -> bool| -> Result<Vec<Value>, Failure> {
        grants.iter().filter(|grant| is(&grant.subject_type)).map(organization::shape).collect()
    };
    let shape = json!({
        "run_id": run,
        "organization_grants": of(|kind| *kind == SubjectType::OrganizationUser)?,
        "other_grants": of(|kind| !matches!(kind, SubjectType::OrganizationUser | SubjectType::ShareToken))?,
        "share_tokens": tokens.iter().map(shapes::plain).collect::<Result<Vec<_>, _>>()?,
    });
    shell.output.one(&shape, || {
        let mut table = shell.output.table(["reader", "id", "since", "until"]);
        for grant in &grants {
            let token = tokens.iter().find(|token| token.share_token_id.as_str() == grant.subject_id);
            let end = token.and_then(|token| token.expires_at).map(|at| shell.output.moment(at));
            let since = shell.output.moment(grant.created_at);
            table.add_row([shown(reader(grant)), shown(&grant.subject_id), since, end.unwrap_or_default()]);
        }
        if grants.is_empty() { "only its submitter".to_owned() } else { output::text(&table) }
    })
}

fn reader(grant: &Grant) -> String {
    audit::subject(&grant.subject_type)
}
