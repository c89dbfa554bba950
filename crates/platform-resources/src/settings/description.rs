use std::fmt;
use std::time::Duration;

use auth_core::redacted;
use platform_api::JsonValue;
use serde_json::{Map, json};

use super::{OperationSettings, Settings, TransferSettings};

/// The placeholder for secrets.
const MASKED: &str = "***";

impl Settings {
    /// Returns all settings as JSON without secrets, with times in seconds, for support requests.
    pub fn describe(&self) -> JsonValue {
        let mut operations = Map::new();
        for (name, group) in [
            ("auth", &self.auth),
            ("me", &self.me),
            ("application", &self.application),
            ("application_version", &self.application_version),
            ("run", &self.run),
        ] {
            operations.insert(name.to_owned(), describe_operation(group));
        }
        json!({
            "environment": self.environment,
            "api_root": redacted(&self.api_root).to_string(),
            "issuer": self.issuer,
            "authorization_url": redacted(&self.authorization_url).to_string(),
            "token_url": redacted(&self.token_url).to_string(),
            "device_url": redacted(&self.device_url).to_string(),
            "jwks_url": redacted(&self.jwks_url).to_string(),
            "jwks_lifetime": self.jwks_lifetime.as_secs_f64(),
            "redirect_url": redacted(&self.redirect_url).to_string(),
            "audience": self.audience,
            "scopes": self.scopes,
            "client_id_interactive": self.client_id_interactive,
            "client_id_device": self.client_id_device.as_ref().map(|_| MASKED),
            "organization_id": self.organization_id,
            "refresh_token": self.refresh_token().map(|_| MASKED),
            "credential": {
                "source": self.credential.source.kind(),
                "name": self.credential.name,
                "level": self.credential.name.as_ref().map(|_| self.credential.level.to_string()),
                "token_cache": self.credential.token_cache,
            },
            "profile": self.profile.as_ref().map(|profile| &profile.name),
            "cache_folder": self.cache_folder.display().to_string(),
            "state_folder": self.state_folder.display().to_string(),
            "status_page_url": self.status_page_url.as_ref().map(|url| redacted(url).to_string()),
            "operations": operations,
            "retry": {
                "limit": self.retry.limit.as_secs_f64(),
                "transfer_limit": self.retry.transfer_limit.as_secs_f64(),
                "unanswered_limit": self.retry.unanswered_limit.as_secs_f64(),
            },
            "health_timeout": self.health_timeout.as_secs_f64(),
            "run_submit_timeout": self.run_submit_timeout.as_secs_f64(),
            "run_cancel_timeout": self.run_cancel_timeout.as_secs_f64(),
            "run_delete_timeout": self.run_delete_timeout.as_secs_f64(),
            "bucket": {
                "protocol": self.bucket.protocol,
                "region": self.bucket.region,
                "endpoint": redacted(&self.bucket.endpoint).to_string(),
                "upload_lifetime": self.bucket.upload_lifetime.as_secs_f64(),
                "download_lifetime": self.bucket.download_lifetime.as_secs_f64(),
            },
            "transfer": describe_transfers(&self.transfer),
            "ignored": self.ignored,
        })
    }
}

/// Writes the JSON of [`Settings::describe`].
impl fmt::Debug for Settings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Settings({})", self.describe())
    }
}

fn describe_operation(group: &OperationSettings) -> JsonValue {
    let OperationSettings { timeout, attempts, wait_min, wait_max, cache_lifetime } = group;
    json!({
        "timeout": timeout.as_secs_f64(), "attempts": attempts, "wait_min": wait_min.as_ref().map(Duration::as_secs_f64),
        "wait_max": wait_max.as_ref().map(Duration::as_secs_f64), "cache_lifetime": cache_lifetime.as_secs_f64(),
    })
}

fn describe_transfers(settings: &TransferSettings) -> JsonValue {
    json!({
        "jobs": settings.jobs,
        "limit_rate": settings.limit_rate,
        "chunk_size": settings.chunk_size,
        "sha256": settings.sha256,
        "upload_read_timeout": settings.upload_read_timeout.as_ref().map(Duration::as_secs_f64),
    })
}
