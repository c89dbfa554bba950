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

/// The time limit of the program: a person may have to confirm.
const LIMIT: Duration = Duration::from_secs(60);
/// The maximum length of its output, in bytes.
const OUTPUT: u64 = 64 * 1024;
/// The time before the end of credentials at which new ones are obtained.
const EARLY: Duration = Duration::from_secs(5 * 60);

/// Credentials that a program prints, until they expire. The program is started without a shell.
pub(super) struct ProcessCredentials {
    words: Vec<String>,
    current: Mutex<Option<Current>>,
}

/// Credentials, and their expiry.
type Current = (Arc<AwsCredential>, Option<SystemTime>);

/// The output of the program, as defined by AWS.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Printed {
    version: u32,
    access_key_id: String,
    secret_access_key: String,
    session_token: Option<String>,
    expiration: Option<jiff::Timestamp>,
}

/// The reason why a program prints no credentials. It does not contain its output.
#[derive(Debug, thiserror::Error)]
#[error("no credentials from `{program}`: {reason}")]
struct ProcessError {
    program: String,
    reason: String,
}

impl ProcessCredentials {
    pub(super) fn new(words: Vec<String>) -> Self {
        Self { words, current: Mutex::new(None) }
    }

    async fn obtain(&self) -> Result<Current, String> {
        let (program, arguments) = self.words.split_first().ok_or("the command is empty")?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().map_err(|error| format!("it cannot be started: {error}"))?;
        let stdout = child.stdout.take().ok_or("it has no output")?;
        let mut output = Vec::new();
        let work = async {
            stdout.take(OUTPUT).read_to_end(&mut output).await?;
            child.wait().await
        };
        let status = tokio::time::timeout(LIMIT, work).await;
        let status = status.map_err(|_| format!("it did not end within {} s", LIMIT.as_secs()))?;
        let status = status.map_err(|error| error.to_string())?;
        if !status.success() {
            return Err(format!("it ended with {status}"));
        }
        // The error of the parser could contain a secret.
        let printed: Printed = serde_json::from_slice(&output).map_err(|_| "its output is not understood")?;
        if printed.version != 1 {
            return Err(format!("its output has version {}", printed.version));
        }
        let Printed { access_key_id: key_id, secret_access_key: secret_key, session_token: token, .. } = printed;
        Ok((Arc::new(AwsCredential { key_id, secret_key, token }), printed.expiration.map(SystemTime::from)))
    }
}

#[async_trait]
impl CredentialProvider for ProcessCredentials {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let mut current = self.current.lock().await;
        if let Some((credential, expiry)) = &*current
            && expiry.is_none_or(|expiry| SystemClock.now() + EARLY < expiry)
        {
            return Ok(credential.clone());
        }
        let obtained = self.obtain().await.map_err(|reason| {
            let program = self.words.first().cloned().unwrap_or_default();
            object_store::Error::Unauthenticated {
                path: String::new(),
                source: ProcessError { program, reason }.into(),
            }
        })?;
        Ok(current.insert(obtained).0.clone())
    }
}

/// Shows the program only: arguments could be secret.
impl fmt::Debug for ProcessCredentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ProcessCredentials({:?})", self.words.first())
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn program(script: &str) -> ProcessCredentials {
        ProcessCredentials::new(["sh", "-c", script].map(str::to_owned).into())
    }

    #[tokio::test]
    async fn credentials_are_kept_until_shortly_before_their_end() {
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
    async fn failed_program_is_named_without_its_output() {
        for script in ["echo hunter2; exit 3", "echo '{\"SecretAccessKey\":\"hunter2\"}'", "echo hunter2"] {
            let error = auth_core::error_chain(&program(script).get_credential().await.unwrap_err());
            assert!(error.contains("no credentials from `sh`") && !error.contains("hunter2"), "{error}");
        }
        let missing = ProcessCredentials::new(vec!["/no/such/program".to_owned()]);
        assert!(auth_core::error_chain(&missing.get_credential().await.unwrap_err()).contains("cannot be started"));
    }
}
