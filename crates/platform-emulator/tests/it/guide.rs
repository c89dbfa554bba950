//! Tests of the examples in docs/emulator.md.

use std::process::Stdio;

use platform_emulator::{Config, Emulator, Fault};
use serde_json::json;
use tokio::process::Command;

use crate::client::User;
use crate::needs;

const GUIDE: &str = include_str!("../../../../docs/emulator.md");

/// Returns the code blocks in this language, in the section on faults.
fn code_blocks(language: &str) -> Vec<&'static str> {
    let section = GUIDE.split("\n## Faults\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let fence = format!("```{language}\n");
    let blocks: Vec<_> = section.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(!blocks.is_empty());
    blocks
}

/// Returns the shell lines that call `program`.
fn commands(program: &str) -> Vec<&'static str> {
    let lines = code_blocks("sh").into_iter().flat_map(str::lines);
    lines.filter(|line| line.starts_with(program)).collect()
}

/// Returns the JSON in single quotes at the end of a command.
fn quoted_json(command: &str) -> Option<&str> {
    command.strip_suffix('\'')?.split('\'').next_back()
}

#[test]
fn every_fault_is_documented_with_an_example_that_parses() {
    let examples: Vec<&str> =
        commands("curl").into_iter().filter(|line| line.contains("/faults\"")).filter_map(quoted_json).collect();
    for example in &examples {
        example.parse::<Fault>().unwrap_or_else(|error| panic!("{example}: {error}"));
    }
    // The parser's error for an unknown kind lists all kinds.
    let unknown = r#"{"effect": {"kind": "?"}}"#.parse::<Fault>().unwrap_err().to_string();
    let kinds: Vec<&str> = unknown.split('`').skip(1).step_by(2).filter(|name| *name != "?").collect();
    assert!(kinds.len() > 10, "{unknown}");
    for kind in kinds {
        assert!(GUIDE.contains(&format!("\n**`{kind}`** ")), "{kind} is not described");
        let has_example = examples.iter().any(|example| example.contains(&format!(r#""kind": "{kind}""#)));
        assert!(has_example, "{kind} has no example");
    }
    let unknown = r#"{"effect": {"kind": "novelty"}, "?": 1}"#.parse::<Fault>().unwrap_err().to_string();
    for field in unknown.split('`').skip(1).step_by(2).filter(|name| *name != "?") {
        assert!(GUIDE.contains(&format!("| `{field}` |")), "{field} is not described");
    }
}

#[test]
fn documented_configuration_and_option_describe_the_same_fault() {
    let config: Config = toml::from_str(code_blocks("toml")[0]).unwrap();
    let option = commands("aignostics emulator --fault").pop().and_then(quoted_json).unwrap();
    assert_eq!(config.faults, [option.parse::<Fault>().unwrap()]);
}

#[tokio::test]
async fn documented_curl_commands_work() {
    if !needs::has("curl") || !needs::has("bash") {
        return needs::missing("curl and bash", "install them");
    }
    // At this speed, each item takes about a year.
    let slow: Config = toml::from_str("speed = 0.00002").unwrap();
    let user = User::logged_in_to(Emulator::builder().with_config(slow).with_control().start().await.unwrap()).await;
    let items = json!([crate::api::item("slide", &json!({}))]);
    let (_, submitted) = user.submit(&json!({ "application_id": "outcomes", "items": items })).await;
    let mut bash = Command::new("bash");
    bash.arg("-euxc").arg(commands("curl").join("\n"));
    bash.env("CONTROL", format!("{}_control", user.emulator.api_root()));
    bash.env("TOKEN", user.emulator.control_token().unwrap());
    bash.env("RUN", submitted["run_id"].as_str().unwrap());
    let output = bash.stdin(Stdio::null()).output().await.unwrap();
    let (stdout, stderr) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{stderr}");
    let listed_faults: Vec<Fault> = serde_json::from_str(&stdout).unwrap();
    let post_commands =
        commands("curl").into_iter().filter(|line| line.contains("/faults\"") && quoted_json(line).is_some());
    assert_eq!(listed_faults.len(), post_commands.count(), "{stdout}");
    assert!(user.emulator.control().unwrap().faults().await.unwrap().is_empty());
}
