#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};

use tempfile::TempDir;

use super::*;

struct Lab {
    folder: TempDir,
}

impl Lab {
    fn new() -> Self {
        Self { folder: TempDir::new().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path
    }
}

async fn fetched(provider: &FileToken) -> Result<String, String> {
    match provider.fetch(&TokenRequest::new()).await {
        Ok(token) => Ok(token.secret().expose().to_owned()),
        Err(error) => Err(CredentialError::of(&error).unwrap().to_string()),
    }
}

#[tokio::test]
async fn replaced_file_changes_the_token_and_the_version() {
    let lab = Lab::new();
    let path = lab.write("token", "first\n", 0o600);
    let provider = FileToken::new(&path);
    let (version, identity) = (provider.credential_version(), provider.identity());
    assert_eq!(fetched(&provider).await.unwrap(), "first");
    fs::rename(lab.write("next", "second!", 0o600), &path).unwrap();
    assert_eq!(fetched(&provider).await.unwrap(), "second!");
    assert_ne!(provider.credential_version(), version);
    assert_eq!(provider.identity(), identity, "the identity does not change");
}

#[tokio::test]
async fn file_open_to_other_users_is_an_error_unless_projected() {
    let lab = Lab::new();
    let path = lab.write("token", "canary", 0o644);
    let error = fetched(&FileToken::new(&path)).await.unwrap_err();
    assert!(error.contains(&format!("run `chmod 600 {}`", path.display())) && !error.contains("canary"), "{error}");
    assert_eq!(fetched(&FileToken::new(&path).allow_shared()).await.unwrap(), "canary");
    fs::create_dir(lab.path("..2026")).unwrap();
    lab.write("..2026/projected", "canary", 0o644);
    symlink("..2026", lab.path("..data")).unwrap();
    symlink("..data/projected", lab.path("projected")).unwrap();
    symlink("projected", lab.path("link")).unwrap();
    for name in ["projected", "link", "..data/projected"] {
        assert_eq!(fetched(&FileToken::new(lab.path(name))).await.unwrap(), "canary", "{name}");
    }
    symlink("token", lab.path("plain")).unwrap();
    fetched(&FileToken::new(lab.path("plain"))).await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn empty_read_is_retried_three_times() {
    let lab = Lab::new();
    let path = lab.write("token", "", 0o600);
    let error = fetched(&FileToken::new(&path)).await.unwrap_err();
    assert!(error.contains("is empty or is being replaced"), "{error}");
    // The replacement is completed during the second pause.
    let provider = FileToken::new(&path);
    let replace = async {
        tokio::time::timeout(PAUSE + PAUSE / 2, std::future::pending::<()>()).await.unwrap_err();
        fs::write(&path, "complete").unwrap();
    };
    let (token, ()) = tokio::join!(fetched(&provider), replace);
    assert_eq!(token.unwrap(), "complete");
}

#[tokio::test]
async fn missing_special_and_oversized_files_are_errors() {
    let lab = Lab::new();
    let missing = FileToken::new(lab.path("missing"));
    assert!(fetched(&missing).await.unwrap_err().contains("does not exist"));
    assert!(missing.check_configured().is_err() && missing.identity().is_none());
    assert!(fetched(&FileToken::new(lab.folder.path())).await.unwrap_err().contains("not a regular file"));
    let fifo = lab.path("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    assert!(fetched(&FileToken::new(fifo)).await.unwrap_err().contains("not a regular file"));
    let large = lab.write("large", &"x".repeat(MAX_TOKEN_BYTES + 1), 0o600);
    assert!(fetched(&FileToken::new(large)).await.unwrap_err().contains("larger than 65536 bytes"));
    let html = lab.write("html", "<html>canary</html>", 0o600);
    let error = fetched(&FileToken::new(html)).await.unwrap_err();
    assert!(error.contains("HTML") && !error.contains("canary"), "{error}");
}
