use anyhow::anyhow;
use platform_resources::Health;
use serde_json::json;

use crate::access::Shell;
use crate::exit::Failure;

pub(super) async fn run(shell: &Shell) -> Result<(), Failure> {
    let client = shell.client()?;
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
        shell.output.facts(facts.into_iter().filter(|(_, value)| !value.is_empty()))
    };
    shell.output.or_json().one(&value, text)?;
    match (status, reason) {
        ("UP", _) => Ok(()),
        (status, Some(reason)) => Err(Failure::unhealthy(anyhow!("the platform is {status}: {reason}"))),
        (status, None) => Err(Failure::unhealthy(anyhow!("the platform is {status}"))),
    }
}
