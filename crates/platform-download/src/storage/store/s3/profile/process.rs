use std::fmt;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use auth_core::{Clock, SystemClock};
use object_store::CredentialProvider;
use object_store::aws::AwsCredential;
use serde::Deserialize;
use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::sync::Mutex;

/// The time limit for the program, which may ask the user for a confirmation.
const PROGRAM_TIMEOUT: Duration = Duration::from_secs(60);
/// The maximum length of the output of the program, in bytes.
const MAX_OUTPUT_BYTES: u64 = 64 * 1024;
/// The time before the expiry of credentials at which new ones are obtained.
const REFRESH_BEFORE_EXPIRY: Duration = Duration::from_secs(5 * 60);

/// Credentials that a program prints. They are cached until shortly before they expire. The program is started without
/// a shell.
pub(super) struct ProcessCredentials {
    command_line: Vec<String>,
    cached: Mutex<Option<CachedCredentials>>,
}

/// Credentials, and their expiry, if they have one.
type CachedCredentials = (Arc<AwsCredential>, Option<SystemTime>);

/// The output of the program, as defined by AWS.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ProgramOutput {
    version: u32,
    access_key_id: String,
    secret_access_key: String,
    session_token: Option<String>,
    expiration: Option<jiff::Timestamp>,
}

/// The error of a program that printed no valid credentials. It omits the output, which may contain secrets.
#[derive(Debug, thiserror::Error)]
#[error("no credentials from `{program}`: {reason}")]
struct ProcessError {
    program: String,
    reason: String,
}

impl ProcessCredentials {
    pub(super) fn new(command_line: Vec<String>) -> Self {
        Self { command_line, cached: Mutex::new(None) }
    }

    async fn run_program(&self) -> Result<CachedCredentials, String> {
        let (program, arguments) = self.command_line.split_first().ok_or("the command is empty")?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().map_err(|error| format!("it cannot be started: {error}"))?;
        let stdout = child.stdout.take().ok_or("it has no output")?;
        let mut output = Vec::new();
        let run = async {
            stdout.take(MAX_OUTPUT_BYTES).read_to_end(&mut output).await?;
            child.wait().await
        };
        let status = tokio::time::timeout(PROGRAM_TIMEOUT, run).await;
        let status = status.map_err(|_| format!("it did not end within {} s", PROGRAM_TIMEOUT.as_secs()))?;
        let status = status.map_err(|error| error.to_string())?;
        if !status.success() {
            return Err(format!("it ended with {status}"));
        }
        // The error of the parser could contain a secret.
        let parsed: ProgramOutput = serde_json::from_slice(&output).map_err(|_| "its output is not valid")?;
        if parsed.version != 1 {
            return Err(format!("its output has version {}", parsed.version));
        }
        let ProgramOutput { access_key_id: key_id, secret_access_key: secret_key, session_token: token, .. } = parsed;
        Ok((Arc::new(AwsCredential { key_id, secret_key, token }), parsed.expiration.map(SystemTime::from)))
    }
}

#[async_trait]
impl CredentialProvider for ProcessCredentials {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let mut cached = self.cached.lock().await;
        if let Some((credential, expiry)) = &*cached
            && expiry.is_none_or(|expiry| SystemClock.now() + REFRESH_BEFORE_EXPIRY < expiry)
        {
            return Ok(credential.clone());
        }
        let credentials = self.run_program().await.map_err(|reason| {
            let program = self.command_line.first().cloned().unwrap_or_default();
            object_store::Error::Unauthenticated {
                path: String::new(),
                source: ProcessError { program, reason }.into(),
            }
        })?;
        Ok(cached.insert(credentials).0.clone())
    }
}

/// Omits the arguments, which may contain secrets.
impl fmt::Debug for ProcessCredentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ProcessCredentials({:?})", self.command_line.first())
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn program(script: &str) -> ProcessCredentials {
        ProcessCredentials::new(["sh", "-c", script].map(str::to_owned).into())
    }

    #[tokio::test]
    async fn credentials_are_cached_until_shortly_before_their_expiry() {
        let folder = tempfile::tempdir().unwrap();
        let count = folder.path().join("count");
        for (expiration, calls) in [
            ("", 1),
            (r#","Expiration":"2100-01-01T00:00:00Z""#, 1),
            (r#","Expiration":"2020-01-01T00:00:00+00:00""#, 2),
        ] {
            std::fs::write(&count, "").unwrap();
            let script = format!(
                r#"echo x >> '{}'; echo '{{"Version":1,"AccessKeyId":"id","SecretAccessKey":"hunter2","SessionToken":"t"{expiration}}}'"#,
                count.display()
            );
            let credentials = program(&script);
            for _ in 0..2 {
                let credential = credentials.get_credential().await.unwrap();
                assert_eq!((&*credential.key_id, &*credential.secret_key), ("id", "hunter2"));
            }
            assert_eq!(std::fs::read_to_string(&count).unwrap().lines().count(), calls, "{expiration}");
        }
    }

    #[tokio::test]
    async fn error_names_the_program_without_its_output() {
        for script in ["echo hunter2; exit 3", "echo '{\"SecretAccessKey\":\"hunter2\"}'", "echo hunter2"] {
            let error = auth_core::error_chain(&program(script).get_credential().await.unwrap_err());
            assert!(error.contains("no credentials from `sh`") && !error.contains("hunter2"), "{error}");
        }
        let missing = ProcessCredentials::new(vec!["/no/such/program".to_owned()]);
        assert!(auth_core::error_chain(&missing.get_credential().await.unwrap_err()).contains("cannot be started"));
    }
}
