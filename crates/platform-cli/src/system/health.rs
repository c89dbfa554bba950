use anyhow::anyhow;
use platform_resources::Health;
use serde_json::json;

use crate::context::Context;
use crate::error::CliError;

pub(super) async fn run(context: &Context) -> Result<(), CliError> {
    let client = context.client()?;
    let health = client.health().await?;
    let (status, reason) = match &health {
        Health::Up => ("UP", None),
        Health::Degraded(reason) => ("DEGRADED", reason.as_deref()),
        Health::Down(reason) => ("DOWN", reason.as_deref()),
        Health::Unknown(status) => (status.as_str(), None),
        _ => ("UNKNOWN", None),
    };
    let value = json!({ "status": status, "reason": reason });
    let text = || {
        let facts = [("status", status.to_owned()), ("reason", reason.unwrap_or_default().to_owned())];
        context.output.facts(facts.into_iter().filter(|(_, value)| !value.is_empty()))
    };
    context.output.or_json().one(&value, text)?;
    match (status, reason) {
        ("UP", _) => Ok(()),
        (status, Some(reason)) => Err(CliError::unhealthy(anyhow!("the platform is {status}: {reason}"))),
        (status, None) => Err(CliError::unhealthy(anyhow!("the platform is {status}"))),
    }
}
