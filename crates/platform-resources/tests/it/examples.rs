//! Runs the examples with an emulator.

use std::path::PathBuf;
use std::process::Output;

use platform_emulator::{
    AUDIENCE, DEVICE_CLIENT_ID, Emulator, INTERACTIVE_CLIENT_ID, MACHINE_CLIENT_ID, MACHINE_CLIENT_SECRET,
};
use tokio::process::Command;

use crate::lab::Lab;

/// Returns the path of an example, which cargo builds together with the tests.
fn example_path(name: &str) -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let path = tests.parent().and_then(|folder| folder.parent()).unwrap().join("examples").join(name);
    let path = path.with_extension(std::env::consts::EXE_EXTENSION);
    assert!(path.is_file(), "run the tests of the whole package, so that cargo builds '{}'", path.display());
    path
}

/// Returns the environment variables for a process that is logged in as the first user.
async fn variables(emulator: &Emulator) -> Vec<(&'static str, String)> {
    let user = emulator.config().users[0].id.clone();
    let issuer_url = |path: &str| format!("{}{path}", emulator.issuer());
    vec![
        ("AIGNOSTICS_API_ROOT", emulator.api_root().to_string()),
        ("AIGNOSTICS_AUDIENCE", AUDIENCE.to_owned()),
        ("AIGNOSTICS_AUTHORIZATION_BASE_URL", issuer_url("authorize")),
        ("AIGNOSTICS_TOKEN_URL", issuer_url("oauth/token")),
        ("AIGNOSTICS_DEVICE_URL", issuer_url("oauth/device/code")),
        ("AIGNOSTICS_JWS_JSON_URL", issuer_url(".well-known/jwks.json")),
        ("AIGNOSTICS_CLIENT_ID_INTERACTIVE", INTERACTIVE_CLIENT_ID.to_owned()),
        ("AIGNOSTICS_CLIENT_ID_DEVICE", DEVICE_CLIENT_ID.to_owned()),
        ("AIGNOSTICS_REFRESH_TOKEN", emulator.refresh_token(&user).await.unwrap()),
        ("AIGNOSTICS_BUCKET_ENDPOINT", emulator.storage().to_string()),
    ]
}

/// Runs an example in the folder of a lab, and returns its standard output without surrounding white space.
async fn run_example(lab: &Lab, name: &str, arguments: &[&str], extra_variables: &[(&str, &str)]) -> String {
    let mut command = Command::new(example_path(name));
    command.args(arguments).current_dir(lab.folder.path());
    for (variable, _) in std::env::vars().filter(|(variable, _)| variable.starts_with("AIGNOSTICS_")) {
        command.env_remove(variable);
    }
    command.env("HOME", lab.folder.path()).envs(variables(&lab.emulator).await).envs(extra_variables.iter().copied());
    let Output { status, stdout, stderr } = command.output().await.unwrap();
    assert!(status.success(), "{name}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap().trim().to_owned()
}

/// Returns a lab without replica lag, and the id of a run in it.
async fn lab_with_run() -> (Lab, String) {
    let config = toml::from_str("replica_lag_ms = 0").unwrap();
    let lab = Lab::at(Emulator::builder().with_control().with_config(config)).await;
    let slides = lab.slides();
    let run = lab.client.runs().submit(lab.submission(&slides[2..3]).await).await.unwrap();
    let id = run.id().to_string();
    (lab, id)
}

#[tokio::test]
async fn examples_with_custom_tokens_succeed() {
    let lab = Lab::open().await;
    let user = lab.emulator.config().users[0].id.clone();
    let token = lab.tokens.token().await.unwrap();
    let token = ("MY_PLATFORM_TOKEN", token.secret().expose());
    let output = run_example(&lab, "service_account", &[lab.emulator.api_root().as_str()], &[token]).await;
    assert!(output.starts_with(&format!("{user} of ")), "{output}");
    let file = lab.folder.path().join("secret");
    std::fs::write(&file, MACHINE_CLIENT_SECRET).unwrap();
    #[cfg(unix)]
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let output = run_example(&lab, "client_credentials", &[MACHINE_CLIENT_ID, file.to_str().unwrap()], &[]).await;
    assert_eq!(output, format!("{MACHINE_CLIENT_ID}@clients"));
}

#[tokio::test]
async fn examples_with_runs_succeed() {
    let (lab, id) = lab_with_run().await;
    let output = run_example(&lab, "watch_run", &[&id], &[]).await;
    assert!(output.lines().last().unwrap().starts_with(&format!("{id}: ")), "{output}");
    assert_eq!(output.lines().count(), 2, "an item and the run: {output}");
    let output = run_example(&lab, "blocking_script", &[], &[]).await;
    assert!(output.starts_with("Up\n") && output.contains(&id), "{output}");
    let other = lab.emulator.config().users[1].email.clone();
    let output = run_example(&lab, "share_run", &[&id, &other], &[]).await;
    assert_eq!(output.lines().count(), 3, "a share token and two grants: {output}");
}

#[tokio::test]
async fn batch_is_submitted_once() {
    let lab = Lab::open().await;
    let submit = || run_example(&lab, "batch_submit", &["outcomes", "batch-7", "a.tiff", "b.tiff"], &[]);
    let (first, second) = (submit().await, submit().await);
    assert_eq!(first, second);
    assert_eq!(lab.client.run(first).statistics().await.unwrap().item_count, 2);
}

#[cfg(unix)]
#[tokio::test]
async fn examples_with_tokens_in_redis_succeed() {
    let Some(redis) = crate::redis_server::Redis::start() else { return };
    let (lab, id) = lab_with_run().await;
    let (root, user) = (lab.emulator.api_root().to_string(), lab.emulator.config().users[0].id.clone());
    let token = lab.tokens.token().await.unwrap();
    let (token, redis) = (token.secret().expose(), redis.url().to_string());
    let key = ("SEALING_KEY", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
    let tokens = [("MY_PLATFORM_TOKEN", token), ("IMPORTER_TOKEN", token), ("REPORTER_TOKEN", token)];
    let extra_variables = [&tokens[..], &[("REDIS_URL", &redis), key]].concat();
    let output = run_example(&lab, "worker_fleet", &[&root], &extra_variables).await;
    assert!(output.starts_with(&id), "{output}");
    let output = run_example(&lab, "two_identities", &[&root], &extra_variables).await;
    assert_eq!(output, format!("importer: {user}\nreporter: {user}"));
}
