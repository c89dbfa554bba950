//! `aignostics run share`: read access to a run.

use auth_http::Method;
use serde_json::{Value, json};

use crate::command::CommandResult;
use crate::runs::UNKNOWN;
use crate::shell::{Shell, assert_conforms};

/// A user of the second organization, who has no access by default.
const CLEO: &str = "auth0|second-1";

/// Runs a command as another user, with a separate login.
fn run_as(shell: &Shell, user: &str, arguments: &[&str], variables: &[(&str, &str)]) -> CommandResult {
    let mut command = shell.command(arguments);
    command.env("AIGNOSTICS_REFRESH_TOKEN", shell.refresh_token(user));
    command.env("AIGNOSTICS_CLIENT_ID_INTERACTIVE", shell.running.ready["client_ids"]["device"].as_str().unwrap());
    command.env("AIGNOSTICS_CACHE_DIR", shell.folder().join("other"));
    command.envs(variables.iter().copied());
    CommandResult::of(&command.output().unwrap())
}

fn ids(rows: &Value) -> Vec<&str> {
    rows.as_array().unwrap().iter().map(|row| row["subject_id"].as_str().unwrap()).collect()
}

#[test]
fn run_is_shared_with_an_organization_until_revoked() {
    let shell = Shell::start();
    let run = shell.submit("outcomes", &["a"]);
    let grant = shell.json("grant", &["run", "share", "organization", "grant", &run, "org_second"]);
    assert_eq!((&grant["subject_id"], &grant["subject_type"]), (&json!("org_second"), &json!("organization_user")));
    let again = shell.run(&["run", "share", "organization", "grant", &run, "org_second"]);
    assert!(
        again.stdout.starts_with(&format!("{run}: shared with all users of org_second (grant ")),
        "{}",
        again.stdout
    );
    let own = shell.json("grant", &["run", "share", "organization", "grant", &run]);
    assert_eq!(own["subject_id"], "org_emulator", "the own organization by default");
    let listed = shell.json("grants", &["run", "share", "organization", "list", &run]);
    assert_eq!(listed.as_array().unwrap().len(), 3);
    let result = shell.run(&["run", "share", "organization", "list", &run]);
    assert!(result.row("org_second").starts_with("org_second "), "{}", result.stdout);

    let revoked = shell.json("share-revocation", &["run", "share", "organization", "revoke", &run, "org_second"]);
    let grants = revoked["revoked_grants"].as_array().unwrap();
    assert!(grants.len() == 2 && grants.contains(&grant["grant_id"]), "both grants are revoked: {revoked}");
    let again = shell.run(&["run", "share", "organization", "revoke", &run, "org_second"]);
    again.assert_code(0);
    assert_eq!(again.stdout, format!("{run}: was not shared with org_second\n"));
    let listed = shell.json("grants", &["run", "share", "organization", "list", &run]);
    assert_eq!(ids(&listed), ["org_emulator"]);
}

#[test]
fn share_token_secret_is_printed_once() {
    let shell = Shell::start();
    let run = shell.submit("outcomes", &["a"]);
    let created = shell.run(&["run", "share", "token", "create", &run]);
    created.assert_code(0);
    let secret = created.stdout.trim();
    assert!(secret.len() > 20 && !secret.contains(char::is_whitespace), "{secret}");
    assert!(created.stderr.contains("it does not expire") && !created.stderr.contains(secret), "{}", created.stderr);
    let listed = shell.json("share-tokens", &["run", "share", "token", "list", &run]);
    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert!(!listed.to_string().contains(secret));

    // The secret gives another user access to the run. It is passed in the environment or in a file.
    let denied = run_as(&shell, CLEO, &["run", "describe", &run, "--format", "json"], &[]);
    denied.assert_code(4);
    let permitted =
        run_as(&shell, CLEO, &["run", "describe", &run, "--format", "json"], &[("AIGNOSTICS_SHARE_TOKEN", secret)]);
    permitted.assert_code(0);
    let permitted: Value = serde_json::from_str(&permitted.stdout).unwrap();
    assert_conforms("run-description", &permitted);
    assert_eq!(permitted["items"][0]["external_id"], "a");
    std::fs::write(shell.folder().join("secret"), secret).unwrap();
    let by_file = ["run", "dump-metadata", &run, "--share-token-file", "secret"];
    run_as(&shell, CLEO, &by_file, &[]).assert_code(0);

    let token = listed[0]["share_token_id"].as_str().unwrap();
    let revoked = shell.json("share-revocation", &["run", "share", "token", "revoke", &run, token]);
    assert_eq!(
        (revoked["revoked_grants"].as_array().unwrap().len(), &revoked["share_token_revoked"]),
        (1, &json!(false))
    );
    assert_eq!(shell.json("share-tokens", &["run", "share", "token", "list", &run]), json!([]));
    let error = shell.error(2, &["run", "share", "token", "revoke", &run, token]);
    assert_eq!(error["kind"], "not_found");
    let none = shell.run(&["run", "share", "token", "list", &run]);
    assert_eq!((none.stdout.as_str(), none.stderr.as_str()), ("", "no share tokens found\n"));
    run_as(&shell, CLEO, &["run", "describe", &run], &[("AIGNOSTICS_SHARE_TOKEN", secret)]).assert_code(4);
}

#[test]
fn share_token_expires_at_its_date() {
    let shell = Shell::start();
    let run = shell.submit("outcomes", &["a"]);
    for (date, expires_at) in
        [("2127-12-31T23:59:59Z", "2127-12-31T23:59:59Z"), ("2127-12-31T23:59:59+01:00", "2127-12-31T22:59:59Z")]
    {
        let create = ["run", "share", "token", "create", &run, "--expires-at", date];
        assert_eq!(shell.json("share-token-created", &create)["expires_at"], expires_at);
    }
    let error = shell.error(2, &["run", "share", "token", "create", &run, "--expires-at", "tomorrow"]);
    assert!(error["message"].as_str().unwrap().contains("2027-12-31T23:59:59Z"), "{error}");
    for without_zone in ["2127-12-31T23:59:59", "2127-12-31"] {
        let error = shell.error(2, &["run", "share", "token", "create", &run, "--expires-at", without_zone]);
        assert!(error["message"].as_str().unwrap().contains("time zone is missing"), "{error}");
    }
    let past = shell.error(2, &["run", "share", "token", "create", &run, "--expires-at", "2001-01-01T00:00:00Z"]);
    assert_eq!(past["kind"], "bad_input");
    assert_eq!(shell.json("share-tokens", &["run", "share", "token", "list", &run]).as_array().unwrap().len(), 2);
}

#[test]
fn failed_grant_leaves_no_share_token() {
    let shell = Shell::start();
    let run = shell.submit("outcomes", &["a"]);
    let refuse = json!({ "effect": { "kind": "status", "status": 403 }, "server": "api", "method": "POST",
        "path": "/api/v1/access/grants" });
    shell.control(Method::Post, "/faults", &refuse);
    assert_eq!(shell.error(4, &["run", "share", "token", "create", &run])["kind"], "forbidden");
    shell.control(Method::Delete, "/faults", &Value::Null);
    let rights = shell.json("share-audit", &["run", "share", "audit"]);
    let states: Vec<_> = rights.as_array().unwrap().iter().map(|row| (&row["run_id"], &row["state"])).collect();
    assert_eq!(states, [(&Value::Null, &json!("revoked"))]);
    assert_eq!(shell.error(2, &["run", "share", "token", "create", UNKNOWN])["kind"], "not_found");
    assert_eq!(
        shell.json("share-audit", &["run", "share", "audit"]).as_array().unwrap().len(),
        1,
        "no run was created"
    );
}

#[test]
fn share_token_is_revoked_for_all_runs() {
    let shell = Shell::start();
    let runs = [shell.submit("outcomes", &["a"]), shell.submit("outcomes", &["b"])];
    let created = shell.json("share-token-created", &["run", "share", "token", "create", &runs[0]]);
    let token = created["share_token_id"].as_str().unwrap();
    let grant = json!({ "resource_type": "run", "resource_id": runs[1], "subject_type": "share_token",
        "subject_id": token, "relation": "viewer" });
    assert_eq!(shell.api(Method::Post, "/api/v1/access/grants", Some(&grant)).0, 201);
    let revoked = shell.json("share-revocation", &["run", "share", "token", "revoke", &runs[0], token, "--everywhere"]);
    assert_eq!(revoked["share_token_revoked"], true);
    let again = shell.run(&["run", "share", "token", "revoke", &runs[0], token, "--everywhere"]);
    assert_eq!(again.stdout, format!("{}: share token {token} is revoked\n", runs[0]));
    let rights = shell.json("share-audit", &["run", "share", "audit"]);
    let rights = rights.as_array().unwrap();
    assert!(rights.len() == 2 && rights.iter().all(|right| right["state"] == "revoked"), "{rights:?}");
}

#[test]
fn share_status_lists_all_readers() {
    let shell = Shell::start();
    let run = shell.submit("outcomes", &["a"]);
    let without_readers = shell.run(&["run", "share", "status", &run]);
    assert_eq!(without_readers.stdout, "only its submitter\n");
    shell.run(&["run", "share", "organization", "grant", &run]).assert_code(0);
    shell.run(&["run", "share", "token", "create", &run]).assert_code(0);
    let grant = json!({ "resource_type": "run", "resource_id": run, "subject_type": "user", "subject_id": CLEO,
        "relation": "viewer" });
    assert_eq!(shell.api(Method::Post, "/api/v1/access/grants", Some(&grant)).0, 201);
    let status = shell.json("share-status", &["run", "share", "status", &run]);
    assert_eq!((ids(&status["organization_grants"]), ids(&status["other_grants"])), (vec!["org_emulator"], vec![CLEO]));
    assert_eq!(status["share_tokens"].as_array().unwrap().len(), 1);
    let table = shell.run(&["run", "share", "status", &run]);
    for reader in ["organization", "user", "share token"] {
        assert!(!table.row(reader).is_empty(), "{}", table.stdout);
    }
}

#[test]
fn share_audit_marks_revoked_and_expired_grants() {
    let shell = Shell::start();
    let run = shell.submit("outcomes", &["a"]);
    let other_run = shell.submit("outcomes", &["b"]);
    assert_eq!(shell.run(&["run", "share", "audit"]).stderr, "no grants found\n");
    shell.run(&["run", "share", "organization", "grant", &run]).assert_code(0);
    shell.run(&["run", "share", "organization", "revoke", &run]).assert_code(0);
    shell.run(&["run", "share", "organization", "grant", &other_run, "org_second"]).assert_code(0);
    // The token has expired: it was created while the clock of the platform was behind.
    shell.control(Method::Post, "/clock", &json!({ "seconds": -86_400 * 3 }));
    let (status, token) =
        shell.api(Method::Post, "/api/v1/access/share-tokens", Some(&json!({ "expires_at": two_days_ago(&shell) })));
    assert_eq!(status, 201, "{token}");
    let grant = json!({ "resource_type": "run", "resource_id": run, "subject_type": "share_token",
        "subject_id": token["share_token_id"], "relation": "viewer" });
    assert_eq!(shell.api(Method::Post, "/api/v1/access/grants", Some(&grant)).0, 201);
    shell.control(Method::Post, "/clock", &json!({ "seconds": 86_400 * 3 }));

    let rights = shell.json("share-audit", &["run", "share", "audit"]);
    let rights_of = |kind: &str, run: &str| {
        let rights = rights.as_array().unwrap().iter();
        rights.filter(|right| right["subject_type"] == kind && right["run_id"] == run).collect::<Vec<_>>()
    };
    assert_eq!(rights_of("organization_user", &run)[0]["state"], "revoked");
    assert_eq!(rights_of("organization_user", &other_run)[0]["state"], "active");
    assert_eq!(rights_of("share_token", &run)[0]["state"], "expired");
    let one = shell.json("share-audit", &["run", "share", "audit", &other_run]);
    assert_eq!(ids(&one), ["org_second"]);
    let table = shell.run(&["run", "share", "audit", &other_run]);
    assert!(table.row(&other_run).contains("organization org_second active"), "{}", table.stdout);
}

/// Returns a time two days ago, which is in the future for a platform whose clock is three days behind.
fn two_days_ago(shell: &Shell) -> String {
    let run = shell.submit("outcomes", &["clock"]);
    let (status, run) = loop {
        let response = shell.api(Method::Get, &format!("/api/v1/runs/{run}"), None);
        if response.0 != 404 {
            break response;
        }
    };
    assert_eq!(status, 200);
    let submitted: jiff::Timestamp = run["submitted_at"].as_str().unwrap().parse().unwrap();
    (submitted + jiff::SignedDuration::from_hours(24)).to_string()
}

#[test]
fn failed_sharing_is_reported_with_a_reason() {
    let shell = Shell::start();
    let run = shell.submit("outcomes", &["a"]);
    // Each command retries for a while, because the run may have just been submitted.
    std::thread::scope(|scope| {
        for arguments in [
            &["status"][..],
            &["organization", "list"],
            &["organization", "revoke"],
            &["organization", "grant"],
            &["token", "list"],
            &["audit"],
        ] {
            let shell = &shell;
            scope.spawn(move || {
                let error = shell.error(2, &[&["run", "share"], arguments, &[UNKNOWN]].concat());
                assert_eq!(error["kind"], "not_found", "{arguments:?}: {error}");
            });
        }
    });
    let error = shell.error(2, &["run", "share", "organization", "grant", &run, "org_nowhere"]);
    assert_eq!(error["kind"], "bad_input");
    let by_other_user = run_as(&shell, CLEO, &["run", "share", "organization", "grant", &run], &[]);
    by_other_user.assert_code(4);
    assert!(by_other_user.error_message().contains("aignostics user whoami"), "{}", by_other_user.stderr);
}
