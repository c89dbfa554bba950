#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};

use tempfile::TempDir;

use super::*;

struct TokenFolder {
    root: TempDir,
}

impl TokenFolder {
    fn new() -> Self {
        Self { root: TempDir::new().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn write(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path
    }
}

async fn fetch_secret(provider: &FileToken) -> Result<String, String> {
    match provider.fetch(&TokenRequest::new()).await {
        Ok(token) => Ok(token.secret().expose().to_owned()),
        Err(error) => Err(CredentialError::of(&error).unwrap().to_string()),
    }
}

#[tokio::test]
async fn replaced_file_changes_the_token_and_the_version() {
    let folder = TokenFolder::new();
    let path = folder.write("token", "first\n", 0o600);
    let provider = FileToken::new(&path);
    let (version, identity) = (provider.credential_version(), provider.identity());
    assert_eq!(fetch_secret(&provider).await.unwrap(), "first");
    fs::rename(folder.write("next", "second!", 0o600), &path).unwrap();
    assert_eq!(fetch_secret(&provider).await.unwrap(), "second!");
    assert_ne!(provider.credential_version(), version);
    assert_eq!(provider.identity(), identity, "the identity does not change");
}

#[tokio::test]
async fn file_open_to_other_users_is_an_error_unless_projected() {
    let folder = TokenFolder::new();
    let path = folder.write("token", "canary", 0o644);
    let error = fetch_secret(&FileToken::new(&path)).await.unwrap_err();
    assert!(error.contains(&format!("run `chmod 600 {}`", path.display())) && !error.contains("canary"), "{error}");
    assert_eq!(fetch_secret(&FileToken::new(&path).allow_shared()).await.unwrap(), "canary");
    fs::create_dir(folder.path("..2026")).unwrap();
    folder.write("..2026/projected", "canary", 0o644);
    symlink("..2026", folder.path("..data")).unwrap();
    symlink("..data/projected", folder.path("projected")).unwrap();
    symlink("projected", folder.path("link")).unwrap();
    for name in ["projected", "link", "..data/projected"] {
        assert_eq!(fetch_secret(&FileToken::new(folder.path(name))).await.unwrap(), "canary", "{name}");
    }
    symlink("token", folder.path("plain")).unwrap();
    fetch_secret(&FileToken::new(folder.path("plain"))).await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn empty_read_is_retried_three_times() {
    let folder = TokenFolder::new();
    let path = folder.write("token", "", 0o600);
    let error = fetch_secret(&FileToken::new(&path)).await.unwrap_err();
    assert!(error.contains("is empty or is being replaced"), "{error}");
    // The replacement is completed during the second pause.
    let provider = FileToken::new(&path);
    let replace = async {
        tokio::time::timeout(RETRY_PAUSE + RETRY_PAUSE / 2, std::future::pending::<()>()).await.unwrap_err();
        fs::write(&path, "complete").unwrap();
    };
    let (token, ()) = tokio::join!(fetch_secret(&provider), replace);
    assert_eq!(token.unwrap(), "complete");
}

#[tokio::test]
async fn missing_special_and_oversized_files_are_errors() {
    let folder = TokenFolder::new();
    let missing = FileToken::new(folder.path("missing"));
    assert!(fetch_secret(&missing).await.unwrap_err().contains("does not exist"));
    assert!(missing.check_configured().is_err() && missing.identity().is_none());
    assert!(fetch_secret(&FileToken::new(folder.root.path())).await.unwrap_err().contains("not a regular file"));
    let fifo = folder.path("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    assert!(fetch_secret(&FileToken::new(fifo)).await.unwrap_err().contains("not a regular file"));
    let oversized_file = folder.write("large", &"x".repeat(MAX_TOKEN_BYTES + 1), 0o600);
    assert!(fetch_secret(&FileToken::new(oversized_file)).await.unwrap_err().contains("larger than 65536 bytes"));
    let html_file = folder.write("html", "<html>canary</html>", 0o600);
    let error = fetch_secret(&FileToken::new(html_file)).await.unwrap_err();
    assert!(error.contains("HTML") && !error.contains("canary"), "{error}");
}
