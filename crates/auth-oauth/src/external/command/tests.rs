#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;

use super::*;

fn shell(script: &str) -> CommandProvider {
    CommandProvider::new("/bin/sh").with_arguments(["-c", script])
}

async fn fetch_secret(provider: &CommandProvider) -> Result<String, String> {
    match provider.fetch(&TokenRequest::new()).await {
        Ok(token) => Ok(token.secret().expose().to_owned()),
        Err(error) => Err(CredentialError::of(&error).unwrap().to_string()),
    }
}

#[tokio::test]
async fn printed_token_is_returned_and_variables_are_set() {
    assert_eq!(fetch_secret(&shell("cat; echo t; echo noise >&2")).await.unwrap(), "t");
    let provider = shell("echo ${CARGO_MANIFEST_DIR-none} ${PATH:+path} $ADDED | tr -d ' '")
        .without_variables(["PATH", "CARGO_MANIFEST_DIR"]);
    assert_eq!(
        fetch_secret(&provider.with_variable("ADDED", "added").with_variable("PATH", "/usr/bin:/bin")).await.unwrap(),
        "nonepathadded"
    );
}

#[tokio::test]
async fn exit_code_and_sanitized_stderr_are_reported() {
    let error = fetch_secret(&shell("echo canary; echo 'no vault: token=canary' >&2; exit 3")).await.unwrap_err();
    assert!(error.contains("exit code 3: no vault: token=***") && !error.contains("canary"), "{error}");
    let error = fetch_secret(&shell("kill -9 $$")).await.unwrap_err();
    assert!(error.contains("ended by a signal"), "{error}");
    let error = fetch_secret(&CommandProvider::new("/does/not/exist")).await.unwrap_err();
    assert!(error.contains("the program does not exist"), "{error}");
    assert!(CommandProvider::new("/does/not/exist").check_configured().unwrap_err().is_not_configured());
}

#[tokio::test]
async fn program_is_killed_with_its_children_after_the_timeout() {
    let folder = tempfile::tempdir().unwrap();
    let pid_file = folder.path().join("pid");
    let script = format!("sleep 1000 & echo $! > '{0}.part' && mv '{0}.part' '{0}'; wait", pid_file.display());
    let provider = shell(&script).with_timeout(Duration::from_secs(2));
    let error = fetch_secret(&provider).await.unwrap_err();
    assert!(error.contains("within 2 s and was killed"), "{error}");
    let child_pid: i32 = fs::read_to_string(&pid_file).unwrap().trim().parse().unwrap();
    wait_for_process_end(child_pid).await;
}

#[tokio::test]
async fn canceled_call_kills_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let pid_file = folder.path().join("pid");
    let provider = shell(&format!("echo $$ > '{0}.part' && mv '{0}.part' '{0}'; sleep 1000", pid_file.display()));
    let call = tokio::spawn(async move { fetch_secret(&provider).await });
    wait_until(|| pid_file.exists()).await;
    call.abort();
    wait_for_process_end(fs::read_to_string(&pid_file).unwrap().trim().parse().unwrap()).await;
}

#[tokio::test]
async fn large_output_is_an_error() {
    let error = fetch_secret(&shell("head -c 1000000 /dev/zero | tr '\\0' x; sleep 1000")).await.unwrap_err();
    assert!(error.contains("larger than 65536 bytes"), "{error}");
}

#[tokio::test]
async fn token_is_returned_although_a_child_keeps_the_output_open() {
    assert_eq!(fetch_secret(&shell("sleep 5 & echo t")).await.unwrap(), "t");
}

#[test]
fn identity_depends_on_program_arguments_and_cache_variables() {
    let identity = |provider: CommandProvider| provider.identity().unwrap();
    let command = || CommandProvider::new("sh").with_arguments(["-c", "x"]);
    assert_eq!(identity(command()), identity(command()));
    assert_ne!(identity(command()), identity(CommandProvider::new("sh").with_arguments(["-c x"])));
    assert_ne!(identity(command()), identity(CommandProvider::new("ls").with_arguments(["-c", "x"])));
    assert_ne!(identity(command()), identity(command().with_cache_variables(["HOME"])));
    assert_eq!(command().credential_version(), command().credential_version());
}

async fn wait_until(mut is_done: impl FnMut() -> bool) {
    let waiting = async {
        while !is_done() {
            #[expect(clippy::disallowed_methods, reason = "another process causes the event")]
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting).await.unwrap();
}

/// Waits until a process has ended. A zombie process has ended, too.
async fn wait_for_process_end(pid: i32) {
    let is_running = move || {
        let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let state = state.rsplit_once(')').map_or("Z", |(_, rest)| rest.trim_start());
        !state.starts_with(['Z', 'X'])
    };
    wait_until(move || !is_running()).await;
}
