//! Runs the commands of the guides against the emulator, page by page.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::command::{BINARY, CommandResult};
use crate::shell::Shell;
use crate::slides::write_slide;

/// The number of tasks that share the work in scripts for schedulers.
const TASKS: u32 = 4;

struct CodeBlock {
    language: String,
    /// The comment above the block for this test: `not executed: …`, `exit code: N`, or nothing.
    remark: String,
    text: String,
}

fn blocks(page: &str) -> Vec<CodeBlock> {
    let (mut blocks, mut remark) = (Vec::new(), String::new());
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(text) = line.strip_prefix("<!-- ").and_then(|text| text.strip_suffix(" -->")) {
            text.clone_into(&mut remark);
        } else if let Some(language) = line.strip_prefix("```") {
            let text =
                lines.by_ref().take_while(|line| *line != "```").fold(String::new(), |text, line| text + line + "\n");
            blocks.push(CodeBlock { language: language.to_owned(), remark: std::mem::take(&mut remark), text });
        }
    }
    blocks
}

/// Returns the commands in the configuration of a scheduler, without its escape sequences.
fn commands(text: &str) -> String {
    let lines = text.lines().map(|line| line.trim().replace("\\$", "$"));
    lines.filter(|line| line.starts_with("aignostics ")).fold(String::new(), |text, line| text + &line + "\n")
}

/// Returns all blocks of a page as one script.
fn script(page: &str) -> String {
    let mut script = "set -eu\n".to_owned();
    for CodeBlock { language, remark, text } in blocks(page) {
        if remark.starts_with("not executed: ") {
            continue;
        }
        match language.as_str() {
            "sh" => match remark.strip_prefix("exit code: ") {
                Some(code) => {
                    write!(script, "code=0\n(\n{text}) || code=$?\ntest $code -eq {code}\n").unwrap();
                }
                None => script += &text,
            },
            // One job for each task, with the environment variables of Slurm, Kubernetes and the guide for Nextflow.
            "bash" | "yaml" | "groovy" => {
                for task in 0..TASKS {
                    let body = if language == "bash" { text.clone() } else { commands(&text) };
                    assert!(body.contains("aignostics "), "{text}");
                    write!(
                        script,
                        "(\nexport SLURM_ARRAY_TASK_ID={task} SLURM_ARRAY_TASK_COUNT={TASKS} JOB_COMPLETION_INDEX={task} SHARD={task}\n{body})\n"
                    )
                    .unwrap();
                }
            }
            other => panic!("the test cannot run `{other}`:\n{text}"),
        }
    }
    script
}

fn run_page(name: &str) -> Shell {
    let guides = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guides");
    let script = script(&fs::read_to_string(guides.join(name)).unwrap());
    assert!(script.matches("aignostics ").count() > 2, "{script}");
    let shell = Shell::start();
    fs::create_dir(shell.folder().join("slides")).unwrap();
    for slide in ["one.tiff", "two.tiff", "three.tiff"] {
        write_slide(&shell.folder().join("slides").join(slide));
    }
    let mut command = Command::new("sh");
    let command_with_environment = shell.command(&[]);
    command.env_clear().envs(command_with_environment.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let path = format!("{}:{}", Path::new(BINARY).parent().unwrap().display(), std::env::var("PATH").unwrap());
    command.env("PATH", path).env("APPLICATION", "he-tme").current_dir(shell.folder()).args(["-xc", &script]);
    CommandResult::of(&command.output().unwrap()).assert_code(0);
    shell
}

#[test]
fn first_run_guide_works() {
    let shell = run_page("first-run.md");
    assert_eq!(shell.served("api", "POST", "/api/v1/runs"), 2);
    for folder in ["study", "results"] {
        assert!(shell.folder().join(folder).join("manifest.jsonl").is_file());
    }
}

#[test]
fn ci_guide_works_in_a_job() {
    let shell = run_page("ci.md");
    assert_eq!(shell.served("api", "POST", "/api/v1/runs"), 1, "the other run is on the emulator of the job");
}

#[test]
fn cluster_guide_works() {
    let shell = run_page("cluster.md");
    assert_eq!(shell.served("api", "POST", "/api/v1/runs"), 1);
    for task in 0..TASKS {
        assert!(shell.folder().join(format!("results/manifest.{task}-of-{TASKS}.jsonl")).is_file());
    }
}

/// Returns the variables of this project in a configuration for a CI system or a scheduler, as `export` lines.
fn exports(text: &str) -> String {
    let pairs = text.lines().filter_map(|line| {
        let line = line.trim().trim_start_matches("- { name: ").trim_end_matches(" }");
        let (name, value) = line.split_once(", value: ").or_else(|| line.split_once(": "))?;
        name.starts_with("AIGNOSTICS_").then(|| format!("export {name}='{}'\n", value.trim_matches('"')))
    });
    pairs.collect()
}

#[cfg(unix)]
#[test]
fn machine_guide_works_with_its_files_and_variables() {
    use crate::machine::{Machine, serve_responses};

    let guides = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guides");
    let machine = Machine::start();
    let token = machine.token();
    fs::create_dir(machine.shell.folder().join("platform")).unwrap();
    machine.write("platform/token", &token, 0o600);
    let secret = machine.secret_file();
    let github = serve_responses(vec![(200, serde_json::json!({ "value": token }).to_string())]);
    let mut script = "set -eu\n".to_owned();
    for CodeBlock { language, text, .. } in blocks(&fs::read_to_string(guides.join("machines.md")).unwrap()) {
        let body = match language.as_str() {
            "yaml" => {
                // The client of the emulator must authenticate, and its tokens are access tokens.
                let client = format!(
                    "export AIGNOSTICS_CLIENT_ID={} AIGNOSTICS_CLIENT_SECRET_FILE='{secret}'\n\
                     export AIGNOSTICS_WORKLOAD_IDENTITY_SUBJECT_TOKEN_TYPE=access_token AIGNOSTICS_CACHE_DIR=$(mktemp -d)\n",
                    machine.client_id()
                );
                format!("{}{client}{}", exports(&text), commands(&text))
            }
            _ if text.contains("auth doctor") => format!("export AIGNOSTICS_ACCESS_TOKEN='{token}'\n{text}"),
            _ => text,
        };
        assert!(body.contains("aignostics "), "{body}");
        write!(script, "(\n{body}) >> responses\n").unwrap();
    }
    let script = script
        .replace("/var/run/secrets", machine.shell.folder().to_str().unwrap())
        .replace("https://platform.example", platform_emulator::AUDIENCE);
    let variables = [
        ("ACTIONS_ID_TOKEN_REQUEST_URL", github.as_str()),
        ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "request"),
        ("AIGNOSTICS_ID_TOKEN", &token),
        ("PLATFORM_CLIENT_ID", machine.client_id()),
        ("PLATFORM_CLIENT_SECRET", machine.shell.running.ready["machine_client_secret"].as_str().unwrap()),
    ];
    let command_with_environment = machine.command(&variables, &[]);
    let mut command = Command::new("sh");
    command.env_clear().envs(command_with_environment.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let path = format!("{}:{}", Path::new(BINARY).parent().unwrap().display(), std::env::var("PATH").unwrap());
    command.env("PATH", path).current_dir(machine.shell.folder()).args(["-c", &script]);
    CommandResult::of(&command.output().unwrap()).assert_code(0);
    let responses = fs::read_to_string(machine.shell.folder().join("responses")).unwrap();
    assert_eq!(
        responses.matches("\"user\": {").count(),
        8,
        "one response for each platform, and one for the section about the doctor: {responses}"
    );
}

#[test]
fn sync_guide_works() {
    let shell = run_page("sync.md");
    assert!(shell.folder().join("results/.aignostics.lock").is_file());
}

#[test]
fn python_script_guide_works() {
    run_page("from-the-python-command.md");
}

#[test]
fn troubleshooting_guide_lists_all_exit_codes() {
    run_page("troubleshooting.md");
}
