//! `aignostics bucket credentials` and `bucket exec`, with the tools that use them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::CommandResult;
use crate::needs;
use crate::packages;
use crate::shell::{Shell, assert_conforms};

/// The content of the object that each tool reads and writes.
const CONTENT: &str = "the content of a slide\n";

/// Returns the secret part of the key of the bucket.
fn secret(shell: &Shell) -> String {
    let (status, me) = shell.api(auth_http::Method::Get, "/api/v1/me", None);
    assert_eq!(status, 200);
    me["organization"]["aignostics_bucket_hmac_secret_access_key"].as_str().unwrap().to_owned()
}

fn bucket_with_object() -> (Shell, String) {
    let shell = Shell::start();
    fs::write(shell.folder().join("slide.tiff"), CONTENT).unwrap();
    shell.run(&["bucket", "upload", "slide.tiff", "--destination-prefix", "study"]).assert_code(0);
    (shell, "emulator-bucket".to_owned())
}

#[cfg(unix)]
#[test]
fn credentials_file_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let (shell, _) = bucket_with_object();
    let secret = secret(&shell);
    for (tool, name) in
        [("rclone", "rclone.conf"), ("s5cmd", "s5cmd-credentials"), ("aws", "aws-config"), ("gsutil", "boto.cfg")]
    {
        // A file that others can read is replaced only with --overwrite.
        let file = shell.folder().join(name);
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        let error = shell.error(2, &["bucket", "credentials", "--for", tool]);
        assert!(error["message"].as_str().unwrap().contains("--overwrite"), "{error}");
        assert_eq!(fs::read_to_string(&file).unwrap(), "old");
        let result = shell.run(&["bucket", "credentials", "--for", tool, "--overwrite", "--format", "json"]);
        result.assert_code(0);
        assert!(!result.stdout.contains(&secret) && !result.stderr.contains(&secret), "{tool}");
        let printed = serde_json::from_str(&result.stdout).unwrap();
        assert_conforms("bucket-credentials", &printed);
        assert!(fs::read_to_string(&file).unwrap().contains(&secret), "{tool}");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "{tool}");
        let show_result = shell.run(&["bucket", "credentials", "--for", tool, "--show"]);
        show_result.assert_code(0);
        assert_eq!(show_result.stdout.trim_end(), fs::read_to_string(&file).unwrap().trim_end(), "{tool}");
    }
    let part_files = fs::read_dir(shell.folder())
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().ends_with(".part"));
    assert_eq!(part_files.count(), 0);
    let error = shell.error(1, &["bucket", "credentials", "--for", "rclone", "--output", "no/such/folder/file"]);
    assert!(error["message"].as_str().unwrap().contains("cannot write 'no/such/folder/file'"), "{error}");
}

#[cfg(unix)]
#[test]
fn exec_passes_the_key_and_returns_the_exit_code() {
    let (shell, bucket) = bucket_with_object();
    let secret = secret(&shell);
    let script = "printf '%s %s %s' \"$AIGNOSTICS_BUCKET\" \"$AWS_SECRET_ACCESS_KEY\" \"${AWS_PROFILE-none}\"; exit 9";
    let mut command = shell.command(&["bucket", "exec", "--", "sh", "-c", script]);
    command.env("AWS_PROFILE", "other");
    let result = CommandResult::of(&command.output().unwrap());
    result.assert_code(9);
    assert_eq!(result.stdout, format!("{bucket} {secret} none"));
    let result = shell.run(&["bucket", "exec", "--", "sh", "-c", "kill -TERM $$"]);
    assert_eq!(result.code, Some(143), "{}", result.stderr);
    let missing = shell.run(&["bucket", "exec", "--", "/no/such/program"]);
    assert!(missing.code != Some(0) && missing.error_message().contains("/no/such/program"), "{}", missing.stderr);
}

#[cfg(unix)]
#[test]
fn signal_reaches_the_command() {
    let (shell, _) = bucket_with_object();
    let script = "trap 'echo stopped; exit 3' TERM; echo ready > ready; while :; do sleep 0.1; done";
    let mut command = shell.command(&["bucket", "exec", "--", "sh", "-c", script]);
    let child = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let ready = shell.folder().join("ready");
    shell.wait_until("the command", |_| ready.exists());
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    let result = CommandResult::of(&child.wait_with_output().unwrap());
    result.assert_code(3);
    assert_eq!(result.stdout, "stopped\n");
}

/// A program, with the arguments that precede the arguments of each call.
type Tool = Vec<String>;

/// Runs a program with a configuration file, and returns its output.
fn run_with_config_file(shell: &Shell, variables: &[(&str, &Path)], tool: &Tool, arguments: &[&str]) -> String {
    let mut command = Command::new(&tool[0]);
    command.args(&tool[1..]).args(arguments).env_clear().env("HOME", shell.folder()).current_dir(shell.folder());
    command.env("PATH", std::env::var_os("PATH").unwrap()).env("AWS_EC2_METADATA_DISABLED", "true");
    command.envs(variables.iter().copied());
    run_tool(command)
}

/// Runs a program with `bucket exec`, and returns its output.
fn run_in_environment(shell: &Shell, tool: &Tool, arguments: &[&str]) -> String {
    let mut words = vec!["bucket", "exec", "--"];
    words.extend(tool.iter().map(String::as_str));
    words.extend(arguments);
    run_tool(shell.command(&words))
}

fn run_tool(mut command: Command) -> String {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    text
}

fn credentials_file(shell: &Shell, tool: &str) -> PathBuf {
    let path = shell.folder().join(format!("{tool}-file"));
    shell.run(&["bucket", "credentials", "--for", tool, "--output", path.to_str().unwrap()]).assert_code(0);
    path
}

fn endpoint(shell: &Shell) -> String {
    shell.running.url("storage", "/").to_string().trim_end_matches('/').to_owned()
}

/// Checks that the command finds an object that a tool has stored.
fn assert_stored(shell: &Shell, key: &str) {
    let found = shell.json("bucket-objects", &["bucket", "find", key, "--what-is-key"]);
    assert_eq!(found.as_array().unwrap().len(), 1, "{key}");
    assert_eq!(found[0]["bytes"], CONTENT.len(), "{key}");
}

#[test]
fn rclone_uses_the_bucket() {
    if !needs::has("rclone") {
        return needs::missing("rclone", "apt-get install rclone");
    }
    let (shell, bucket) = bucket_with_object();
    let (tool, config) = (vec!["rclone".to_owned()], credentials_file(&shell, "rclone"));
    let config = config.to_str().unwrap();
    let object = format!("aignostics:{bucket}/study/slide.tiff");
    assert_eq!(run_with_config_file(&shell, &[], &tool, &["--config", config, "cat", &object]), CONTENT);
    let target = format!("aignostics:{bucket}/rclone/file.tiff");
    run_with_config_file(&shell, &[], &tool, &["--config", config, "copyto", "slide.tiff", &target]);
    assert_stored(&shell, "rclone/file.tiff");
    assert_eq!(run_in_environment(&shell, &tool, &["--config", "", "cat", &object]), CONTENT);
    let target = format!("aignostics:{bucket}/rclone/environment.tiff");
    run_in_environment(&shell, &tool, &["--config", "", "copyto", "slide.tiff", &target]);
    assert_stored(&shell, "rclone/environment.tiff");
}

/// Returns a program of the Python packages of a peer.
fn python_program(peer: &str, pinned: &str, program: &str) -> Option<Tool> {
    let python = packages::python(peer, pinned)?;
    Some(vec![python.parent().unwrap().join(program).to_str().unwrap().to_owned()])
}

fn client_program(program: &str) -> Option<Tool> {
    python_program("python-clients", include_str!("../peers/python-clients/requirements.txt"), program)
}

fn tool_program(program: &str) -> Option<Tool> {
    python_program("storage-tools", include_str!("../peers/storage-tools/requirements.txt"), program)
}

#[test]
fn s5cmd_uses_the_bucket() {
    let Some(tool) = client_program("s5cmd") else { return };
    let (shell, bucket) = bucket_with_object();
    let (config, endpoint) = (credentials_file(&shell, "s5cmd"), endpoint(&shell));
    let options =
        ["--credentials-file", config.to_str().unwrap(), "--profile", "aignostics", "--endpoint-url", &endpoint];
    let region = Path::new("EUROPE-WEST3");
    let call = |arguments: &[&str]| {
        run_with_config_file(&shell, &[("AWS_REGION", region)], &tool, &[&options[..], arguments].concat())
    };
    let object = format!("s3://{bucket}/study/slide.tiff");
    assert_eq!(call(&["cat", &object]), CONTENT);
    call(&["cp", "slide.tiff", &format!("s3://{bucket}/s5cmd/file.tiff")]);
    assert_stored(&shell, "s5cmd/file.tiff");
    assert_eq!(run_in_environment(&shell, &tool, &["cat", &object]), CONTENT);
    run_in_environment(&shell, &tool, &["cp", "slide.tiff", &format!("s3://{bucket}/s5cmd/environment.tiff")]);
    assert_stored(&shell, "s5cmd/environment.tiff");
}

#[test]
fn aws_command_line_uses_the_bucket() {
    let Some(tool) = tool_program("aws") else { return };
    let (shell, bucket) = bucket_with_object();
    let config = credentials_file(&shell, "aws");
    let call = |arguments: &[&str]| {
        run_with_config_file(
            &shell,
            &[("AWS_CONFIG_FILE", &config)],
            &tool,
            &[&["--profile", "aignostics"], arguments].concat(),
        )
    };
    let object = format!("s3://{bucket}/study/slide.tiff");
    assert_eq!(call(&["s3", "cp", &object, "-"]), CONTENT);
    assert!(call(&["s3", "ls", &format!("s3://{bucket}/study/")]).contains("slide.tiff"));
    call(&["s3", "cp", "slide.tiff", &format!("s3://{bucket}/aws/file.tiff")]);
    assert_stored(&shell, "aws/file.tiff");
    assert_eq!(run_in_environment(&shell, &tool, &["s3", "cp", &object, "-"]), CONTENT);
    run_in_environment(&shell, &tool, &["s3", "cp", "slide.tiff", &format!("s3://{bucket}/aws/environment.tiff")]);
    assert_stored(&shell, "aws/environment.tiff");
}

#[test]
fn boto3_uses_the_bucket() {
    let Some(tool) = client_program("python") else { return };
    let (shell, bucket) = bucket_with_object();
    let script = "import boto3, os, sys\n\
                  s3 = boto3.client('s3')\n\
                  bucket = sys.argv[1]\n\
                  s3.upload_file('slide.tiff', bucket, sys.argv[2])\n\
                  sys.stdout.write(s3.get_object(Bucket=bucket, Key='study/slide.tiff')['Body'].read().decode())\n";
    let printed = run_in_environment(&shell, &tool, &["-c", script, &bucket, "boto3/environment.tiff"]);
    assert_eq!(printed, CONTENT);
    assert_stored(&shell, "boto3/environment.tiff");
    let config = credentials_file(&shell, "aws");
    let profile = Path::new("aignostics");
    let variables = [("AWS_CONFIG_FILE", config.as_path()), ("AWS_PROFILE", profile)];
    assert_eq!(run_with_config_file(&shell, &variables, &tool, &["-c", script, &bucket, "boto3/file.tiff"]), CONTENT);
    assert_stored(&shell, "boto3/file.tiff");
}

#[test]
fn gsutil_uses_the_bucket() {
    let Some(tool) = tool_program("gsutil") else { return };
    let (shell, bucket) = bucket_with_object();
    let config = credentials_file(&shell, "gsutil");
    let call = |arguments: &[&str]| run_with_config_file(&shell, &[("BOTO_CONFIG", &config)], &tool, arguments);
    assert_eq!(call(&["cat", &format!("gs://{bucket}/study/slide.tiff")]), CONTENT);
    assert!(call(&["ls", &format!("gs://{bucket}/study/")]).contains("slide.tiff"));
    call(&["cp", "slide.tiff", &format!("gs://{bucket}/gsutil/file.tiff")]);
    assert_stored(&shell, "gsutil/file.tiff");
}
