//! A test that the emulator can return every status that the OpenAPI document of the platform declares.

use std::collections::BTreeSet;

use auth_http::{Method, Request};
use platform_emulator::{Config, Effect, Emulator, Fault, Server};
use serde_json::{Value, json};

use crate::client::{User, read};

const DOCUMENT: &str = include_str!("../../../../openapi/platform.json");
const UNKNOWN_ID: &str = "00000000-0000-0000-0000-000000000000";
const STRANGER: &str = "auth0|second-1";
/// A path segment that is not UTF-8.
const INVALID_UTF8: &str = "%FF";

/// Statuses that only faults can produce, with the reason.
const INJECTED_STATUSES: [(&str, u16, &str); 1] =
    [("get_artifact_file", 200, "files are always redirected to the storage")];

const CONFIG: &str = r#"
    replica_lag_ms = 0
    [[applications]]
    id = "private"
    organizations = ["org_second"]
    [[organizations]]
    id = "org_emulator"
    name = "emulator"
    [[organizations]]
    id = "org_second"
    name = "second"
    slide_quota = 0
    [[users]]
    id = "auth0|emulator-1"
    email = "ada@emulator.test"
    name = "Ada"
    organization = "org_emulator"
    [[users]]
    id = "auth0|emulator-2"
    email = "ben@emulator.test"
    name = "Ben"
    organization = "org_emulator"
    [[users]]
    id = "auth0|second-1"
    email = "cleo@second.test"
    name = "Cleo"
    organization = "org_second"
"#;

/// An operation of the OpenAPI document, with the statuses that it declares.
struct Operation {
    id: String,
    method: String,
    path: String,
    statuses: BTreeSet<u16>,
}

fn operations() -> Vec<Operation> {
    let document: Value = serde_json::from_str(DOCUMENT).unwrap();
    let paths = document["paths"].as_object().unwrap().iter();
    let operations = paths.flat_map(|(path, methods)| {
        methods.as_object().unwrap().iter().map(move |(method, operation)| Operation {
            id: operation["operationId"].as_str().unwrap().to_owned(),
            method: method.to_uppercase(),
            path: path.clone(),
            statuses: operation["responses"].as_object().unwrap().keys().map(|text| text.parse().unwrap()).collect(),
        })
    });
    operations.collect()
}

impl Operation {
    fn matches(&self, method: &str, path: &str) -> bool {
        let (template, path): (Vec<_>, Vec<_>) = (self.path.split('/').collect(), path.split('/').collect());
        self.method == method
            && template.len() == path.len()
            && template.iter().zip(&path).all(|(part, actual)| part.starts_with('{') || part == actual)
    }
}

/// Sends requests and records the statuses of each operation.
struct StatusRecorder {
    operations: Vec<Operation>,
    seen_statuses: BTreeSet<(String, u16)>,
}

impl StatusRecorder {
    async fn send(&mut self, user: &User, method: Method, path: &str, body: Option<Value>) -> Value {
        let request = user.authorized(method, &format!("/api{path}"));
        let request =
            body.iter().fold(request, |request, body| request.with_body("application/json", body.to_string()));
        let (status, body) = read(user.send(request).await).await;
        self.record(method, path, status);
        serde_json::from_slice(&body).unwrap_or_default()
    }

    fn record(&mut self, method: Method, path: &str, status: u16) {
        let (method, path) = (method.to_string(), path.split('?').next().unwrap());
        let operation = self.operations.iter().find(|operation| operation.matches(&method, path)).unwrap();
        self.seen_statuses.insert((operation.id.clone(), status));
    }

    async fn get(&mut self, user: &User, path: &str) -> Value {
        self.send(user, Method::Get, path, None).await
    }
}

async fn user_with_config(additional_config: &str) -> User {
    let config: Config = toml::from_str(&format!("{additional_config}\n{CONFIG}")).unwrap();
    User::logged_in_to(Emulator::builder().with_config(config).with_control().start().await.unwrap()).await
}

fn submission() -> Value {
    json!({ "application_id": "outcomes", "items": [crate::api::item("a", &json!({}))] })
}

async fn catalog(recorder: &mut StatusRecorder, user: &User) {
    let url = user.emulator.api_root().join("/api/v1/applications").unwrap();
    let anonymous = user.send(Request::get(url)).await;
    recorder.record(Method::Get, "/v1/applications", anonymous.status());
    for path in ["", "?page=0"] {
        recorder.get(user, &format!("/v1/applications{path}")).await;
    }
    for application in ["tissue", "private", "nothing", INVALID_UTF8] {
        recorder.get(user, &format!("/v1/applications/{application}")).await;
        for version in ["1.0.0", "one"] {
            let version = format!("/v1/applications/{application}/versions/{version}");
            recorder.get(user, &version).await;
            recorder.get(user, &format!("{version}/documents")).await;
            for suffix in ["", "/file", "/content"] {
                recorder.get(user, &format!("{version}/documents/user-guide.md{suffix}")).await;
            }
        }
    }
    recorder.get(user, "/v1/me").await;
}

async fn submit(recorder: &mut StatusRecorder, user: &User, stranger: &User) -> String {
    for (sender, body) in [
        (user, json!({})),
        (user, json!({ "application_id": "nothing", "items": submission()["items"] })),
        (user, json!({ "application_id": "private", "items": submission()["items"] })),
        (user, json!({ "application_id": "outcomes", "items": [{ "external_id": "a", "input_artifacts": [] }] })),
        (stranger, submission()),
    ] {
        recorder.send(sender, Method::Post, "/v1/runs", Some(body)).await;
    }
    let run = recorder.send(user, Method::Post, "/v1/runs", Some(submission())).await;
    run["run_id"].as_str().unwrap().to_owned()
}

/// Reads and changes existing and unknown runs, as the owner and as another user.
async fn runs(recorder: &mut StatusRecorder, user: &User, stranger: &User, run: &str) {
    for query in ["", "?page=9", "?page=0"] {
        recorder.get(user, &format!("/v1/runs{query}")).await;
    }
    let (metadata, outdated) =
        (json!({ "custom_metadata": {} }), json!({ "custom_metadata": {}, "custom_metadata_checksum": "x" }));
    for run in [run, UNKNOWN_ID, "x"] {
        for reader in [user, stranger] {
            recorder.get(reader, &format!("/v1/runs/{run}")).await;
            recorder.get(reader, &format!("/v1/runs/{run}/items")).await;
            recorder.get(reader, &format!("/v1/runs/{run}/items/a")).await;
            for body in [&metadata, &outdated] {
                for suffix in ["", "/items/a"] {
                    let path = format!("/v1/runs/{run}{suffix}/custom-metadata");
                    recorder.send(reader, Method::Put, &path, Some(body.clone())).await;
                }
            }
        }
    }
}

/// Fetches and deletes results, and requests deleted results.
async fn results(recorder: &mut StatusRecorder, user: &User, stranger: &User, run: &str) -> String {
    user.wait_for_end(run).await;
    let items = recorder.get(user, &format!("/v1/runs/{run}/items")).await;
    let artifact = items[0]["output_artifacts"][0]["output_artifact_id"].as_str().unwrap();
    let file = |run: &str, artifact: &str| format!("/v1/runs/{run}/artifacts/{artifact}/file");
    for (reader, artifact) in [(user, artifact), (stranger, artifact), (user, UNKNOWN_ID), (user, "x")] {
        recorder.get(reader, &file(run, artifact)).await;
    }
    for (writer, run) in [(stranger, run), (user, run), (user, run), (user, UNKNOWN_ID), (user, "x")] {
        recorder.send(writer, Method::Delete, &format!("/v1/runs/{run}/artifacts"), None).await;
    }
    recorder.get(user, &file(run, artifact)).await;
    file(run, artifact)
}

/// Sends requests for a run that remains active until it is canceled.
async fn active_run(recorder: &mut StatusRecorder) {
    let user = user_with_config("speed = 0.000001").await;
    let stranger = user.other_user(STRANGER).await;
    let run = user.submit(&submission()).await.1["run_id"].as_str().unwrap().to_owned();
    recorder.send(&user, Method::Delete, &format!("/v1/runs/{run}/artifacts"), None).await;
    let run = run.as_str();
    for (writer, run) in [(&stranger, run), (&user, run), (&user, run), (&user, UNKNOWN_ID), (&user, "x")] {
        recorder.send(writer, Method::Post, &format!("/v1/runs/{run}/cancel"), None).await;
    }
}

async fn access(recorder: &mut StatusRecorder, user: &User, stranger: &User, run: &str) {
    let grant = |run: &str, relation: &str| json!({ "resource_type": "run", "resource_id": run, "subject_type": "user", "subject_id": STRANGER, "relation": relation });
    let grants = "/v1/access/grants";
    for (sender, body) in
        [(stranger, grant(run, "viewer")), (user, grant(UNKNOWN_ID, "viewer")), (user, grant(run, "owner"))]
    {
        recorder.send(sender, Method::Post, grants, Some(body)).await;
    }
    let created = recorder.send(user, Method::Post, grants, Some(grant(run, "viewer"))).await;
    let grant_id = created["grant_id"].as_str().unwrap().to_owned();
    let tokens = "/v1/access/share-tokens";
    recorder.send(user, Method::Post, tokens, Some(json!({ "expires_at": "2001-01-01T00:00:00Z" }))).await;
    let token = recorder.send(user, Method::Post, tokens, Some(json!({}))).await;
    let token = token["share_token_id"].as_str().unwrap().to_owned();
    let colleague = user.other_user("auth0|emulator-2").await;
    for (list, id) in [(grants, &grant_id), (tokens, &token)] {
        for query in ["", "?page=0"] {
            recorder.get(user, &format!("{list}{query}")).await;
        }
        for method in [Method::Get, Method::Delete] {
            for (sender, id) in [(&colleague, id.as_str()), (user, id), (user, id), (user, UNKNOWN_ID), (user, "x")] {
                recorder.send(sender, method, &format!("{list}/{id}"), None).await;
            }
        }
    }
}

/// Injects faults for statuses that requests cannot produce.
async fn inject(recorder: &mut StatusRecorder, user: &User, paths: [(&str, Method, &str); 1]) {
    let control = user.emulator.control().unwrap();
    for (id, status, _) in INJECTED_STATUSES {
        let (_, method, path) = paths.into_iter().find(|(operation, _, _)| *operation == id).unwrap();
        let fault = Fault::new(Effect::Status { status, body: None }).on(Server::Api).times(1);
        control.inject(&fault.with_path(format!("/api{path}"))).await.unwrap();
        recorder.send(user, method, path, None).await;
    }
}

#[tokio::test]
async fn every_declared_status_can_be_produced() {
    let mut recorder = StatusRecorder { operations: operations(), seen_statuses: BTreeSet::new() };
    let declared = recorder
        .operations
        .iter()
        .flat_map(|operation| operation.statuses.iter().map(|status| (operation.id.clone(), *status)));
    let declared: BTreeSet<_> = declared.collect();
    let user = user_with_config("").await;
    let stranger = user.other_user(STRANGER).await;
    catalog(&mut recorder, &user).await;
    let run = submit(&mut recorder, &user, &stranger).await;
    runs(&mut recorder, &user, &stranger, &run).await;
    access(&mut recorder, &user, &stranger, &run).await;
    let file = results(&mut recorder, &user, &stranger, &run).await;
    active_run(&mut recorder).await;

    let missing: BTreeSet<_> = declared.difference(&recorder.seen_statuses).cloned().collect();
    let injected: BTreeSet<_> = INJECTED_STATUSES.map(|(id, status, _)| (id.to_owned(), status)).into();
    assert_eq!(missing, injected, "exactly the statuses of INJECTED_STATUSES need faults");
    let paths = [("get_artifact_file", Method::Get, file.as_str())];
    inject(&mut recorder, &user, paths).await;
    let missing: Vec<_> = declared.difference(&recorder.seen_statuses).collect();
    assert!(missing.is_empty(), "statuses that no request produced: {missing:?}");
}
