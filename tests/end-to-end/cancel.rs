//! `aignostics run cancel`, `cancel-by-filter` and `result delete`: irreversible commands.

use auth_http::Method;
use serde_json::{Value, json};

use crate::runs::{UNKNOWN, ids, slow_shell, submit};
use crate::shell::{Shell, assert_conforms};

#[test]
fn run_can_be_canceled_twice() {
    let shell = slow_shell();
    let run = shell.submit("outcomes", &["a", "b"]);
    let cancelled = shell.json("cancellation", &["run", "cancel", &run]);
    assert_eq!((&cancelled["outcome"], &cancelled["had_ended_before"]), (&json!("cancelled_by_user"), &json!(false)));
    let again = shell.json("cancellation", &["run", "cancel", &run]);
    assert_eq!((&again["outcome"], &again["had_ended_before"]), (&json!("cancelled_by_user"), &json!(true)));
    assert_eq!(shell.run(&["run", "cancel", &run]).stdout, format!("{run}: already canceled by a user\n"));
    shell.run(&["run", "wait", &run]).assert_code(6);
    assert_eq!(shell.error(2, &["run", "cancel", UNKNOWN])["kind"], "not_found");

    let quick = Shell::start();
    let run = quick.submit("outcomes", &["a"]);
    quick.run(&["run", "wait", &run]).assert_code(0);
    assert_eq!(quick.run(&["run", "cancel", &run]).stdout, format!("{run}: already terminated: completed\n"));
}

#[test]
fn filter_cancels_nothing_without_confirmation() {
    let shell = slow_shell();
    let tagged = json!({ "sdk": { "tags": ["x"] } });
    let runs = [0; 3].map(|_| submit(&shell, &tagged, &[("a", "SUCCEEDED")]));
    let other = submit(&shell, &Value::Null, &[("a", "SUCCEEDED")]);
    for run in runs.iter().chain([&other]) {
        while shell.api(Method::Get, &format!("/api/v1/runs/{run}"), None).0 == 404 {}
    }
    let filter = ["run", "cancel-by-filter", "--tags", "x"];
    let dry_run = shell.json("cancellations", &[&filter[..], &["--dry-run"]].concat());
    assert_eq!(dry_run.as_array().unwrap().len(), 3);
    assert!(dry_run.as_array().unwrap().iter().all(|run| run["result"] == "would_be_cancelled"));
    let error = shell.error(2, &filter);
    assert!(error["message"].as_str().unwrap().contains("--yes"), "{error}");
    assert_eq!(shell.served("api", "POST", "/api/v1/runs/"), 0, "nothing was canceled");

    let first_cancellation = shell.json("cancellations", &[&filter[..], &["--yes", "--limit", "1"]].concat());
    assert_eq!(
        (ids(&first_cancellation), &first_cancellation[0]["result"]),
        (vec![runs[2].as_str()], &json!("cancelled"))
    );
    let rest = shell.run(&[&filter[..], &["--yes"]].concat());
    rest.assert_code(0);
    for run in &runs[..2] {
        assert_eq!(rest.row(run).split(' ').next_back(), Some("cancelled"), "{}", rest.stdout);
    }
    let no_match = shell.run(&[&filter[..], &["--yes"]].concat());
    assert_eq!((no_match.code, no_match.stdout.as_str()), (Some(0), ""));
    assert_eq!(no_match.stderr, "no active run matches\n");
    let remaining =
        shell.json("cancellations", &["run", "cancel-by-filter", "--application-id", "outcomes", "--dry-run"]);
    assert_eq!(ids(&remaining), [other.as_str()]);
}

#[cfg(target_os = "linux")]
#[test]
fn terminal_prompt_cancels_only_after_yes() {
    let shell = slow_shell();
    let run = shell.submit("outcomes", &["a"]);
    while shell.api(Method::Get, &format!("/api/v1/runs/{run}"), None).0 == 404 {}
    let filter = ["run", "cancel-by-filter", "--application-id", "outcomes"];
    for response in ["n\n", "\n", "yes please\n", "\u{4}"] {
        let (code, printed) = shell.on_terminal(&filter, response);
        assert_eq!(code, Some(1), "{printed}");
        assert!(printed.contains("cancel 1 runs? [y/N]") && printed.contains(&run), "{printed}");
        assert!(printed.contains("nothing was changed"), "{printed}");
    }
    assert_eq!(shell.served("api", "POST", "/api/v1/runs/"), 0);
    let (code, printed) = shell.on_terminal(&filter, "y\n");
    assert_eq!(code, Some(0), "{printed}");
    let described = shell.json("run-description", &["run", "describe", &run]);
    assert_eq!(described["outcome"], "cancelled_by_user");
}

#[test]
fn empty_or_missing_filter_cancels_nothing() {
    let shell = slow_shell();
    shell.submit("outcomes", &["a"]);
    for filter in [&[][..], &["--tags", ""], &["--tags", "x,"], &["--application-id", ""], &["--limit", "1"]] {
        let error = shell.error(2, &[&["run", "cancel-by-filter", "--yes"], filter].concat());
        assert_eq!(error["kind"], "bad_input", "{filter:?}");
    }
    assert_eq!(shell.served("api", "POST", "/api/v1/runs/"), 0);
}

#[test]
fn failed_cancellation_is_reported_and_others_continue() {
    let shell = slow_shell();
    let runs = [0; 2].map(|_| shell.submit("outcomes", &["a"]));
    for run in &runs {
        while shell.api(Method::Get, &format!("/api/v1/runs/{run}"), None).0 == 404 {}
    }
    let refuse = json!({ "effect": { "kind": "status", "status": 403 }, "server": "api", "method": "POST",
        "path": format!("/api/v1/runs/{}/cancel", runs[0]) });
    shell.control(Method::Post, "/faults", &refuse);
    let all = ["run", "cancel-by-filter", "--application-id", "outcomes", "--yes", "--quiet", "--format", "json"];
    let result = shell.run(&all);
    result.assert_code(6);
    let cancellations: Value = serde_json::from_str(&result.stdout).unwrap();
    assert_conforms("cancellations", &cancellations);
    assert_eq!((&cancellations[0]["result"], &cancellations[1]["result"]), (&json!("cancelled"), &json!("failed")));
    assert!(cancellations[1]["error"].as_str().unwrap().contains("403"), "{cancellations}");
}

#[test]
fn results_are_deleted_after_confirmation_and_the_end_of_the_run() {
    let shell = Shell::start();
    let run = shell.submit("outcomes", &["a"]);
    shell.run(&["run", "wait", &run]).assert_code(0);
    let unconfirmed = shell.error(2, &["run", "result", "delete", &run]);
    assert!(unconfirmed["message"].as_str().unwrap().contains("--yes"), "{unconfirmed}");
    shell.json("run-description", &["run", "describe", &run]);
    assert_eq!(shell.json("deletion", &["run", "result", "delete", &run, "--yes"])["results"], "deleted");
    let artifacts = shell.json("run-description", &["run", "describe", &run])["items"][0]["output_artifacts"].take();
    assert!(
        artifacts.as_array().unwrap().iter().all(|artifact| artifact["output"] == "DELETED_BY_USER"),
        "{artifacts}"
    );
    let again = shell.run(&["run", "result", "delete", &run, "-y"]);
    again.assert_code(0);
    assert_eq!(again.stdout, format!("{run}: results already deleted\n"));
    assert_eq!(shell.json("deletion", &["run", "result", "delete", &run, "--yes"])["changed"], false);
    assert_eq!(shell.error(2, &["run", "result", "delete", UNKNOWN, "--yes"])["kind"], "not_found");

    let slow_shell = slow_shell();
    let run = slow_shell.submit("outcomes", &["a"]);
    let result = slow_shell.run(&["run", "result", "delete", &run, "--yes"]);
    result.assert_code(3);
    let message = result.error_message();
    assert!(message.starts_with("error: the run is not terminated: its results cannot be deleted yet\n"), "{message}");
    assert!(message.contains("cancel the run") && message.contains("run wait"), "{message}");
}
