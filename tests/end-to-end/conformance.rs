//! Tests the emulator against the platform's own document with thousands of requests that schemathesis generates.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::command::Sandbox;
use crate::emulator::{RunningEmulator, journal, token};
use crate::needs;

/// The folder of the workspace.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// The statuses that the emulator uses although the document does not declare them: method, path, status and reason.
const UNDECLARED: [(&str, &str, u16, &str); 1] = [("*", "*", 405, "a method that the document does not know")];

fn matches(template: &str, path: &str) -> bool {
    let (template, path): (Vec<_>, Vec<_>) = (template.split('/').collect(), path.split('/').collect());
    template.len() == path.len()
        && template.iter().zip(&path).all(|(expected, part)| expected.starts_with('{') || expected == part)
}

#[test]
fn every_response_conforms_to_the_platform_document() {
    let Some(document) = crate::reference::document(Path::new(ROOT)) else {
        return needs::absent("the document of the platform", "it is available in development only");
    };
    if !needs::has("schemathesis") {
        return needs::missing("schemathesis", "pip install schemathesis==4.32.5");
    }
    let sandbox = Sandbox::new();
    let (config, reference) = (sandbox.path("config.toml"), sandbox.path("reference.json"));
    fs::write(&reference, document.to_string()).unwrap();
    // A small quota, so that it is exhausted.
    let organization = "[[organizations]]\nid = \"org\"\nname = \"org\"\nslide_quota = 3\n";
    let user =
        "[[users]]\nid = \"auth0|1\"\nemail = \"a@b.test\"\nname = \"A\"\norganization = \"org\"\nrole = \"admin\"\n";
    fs::write(&config, format!("replica_lag_ms = 0\nspeed = 0.001\n{organization}{user}")).unwrap();
    let running = RunningEmulator::start(&sandbox, &["--control", "--seed", "1", "--config", config.to_str().unwrap()]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let bearer = runtime.block_on(token(&running));
    runtime.block_on(crate::emulator::exhaust_quota(&running, &bearer));
    let result = Command::new("schemathesis")
        .args(["run", reference.to_str().unwrap(), "--url", running.url("api_root", "/api").as_str(), "--seed", "1", "--no-color"])
        .args(["--phases", "examples,coverage,fuzzing", "--max-examples", "30", "--generation-deterministic"])
        .args(["--header", &format!("Authorization: Bearer {bearer}")])
        .args(["--checks", "not_a_server_error,content_type_conformance,response_schema_conformance,response_headers_conformance,negative_data_rejection,missing_required_header"])
        .args(["--warnings", "off"])
        .current_dir(sandbox.path("."))
        .output()
        .unwrap();
    let printed = [result.stdout, result.stderr].concat();
    assert!(result.status.success(), "{}", String::from_utf8_lossy(&printed));

    let entries = runtime.block_on(journal(&running));
    let mut used_exceptions = BTreeSet::new();
    let mut unexpected = BTreeSet::new();
    for entry in entries.iter().filter(|entry| entry["server"] == "api") {
        let (method, path) = (entry["method"].as_str().unwrap(), entry["path"].as_str().unwrap());
        let Some(path) = path.strip_prefix("/api") else { continue };
        let status = u16::try_from(entry["status"].as_u64().unwrap()).unwrap();
        let paths = document["paths"].as_object().unwrap();
        let template = paths.keys().find(|template| matches(template, path)).map_or("(none)", String::as_str);
        let operation = &document["paths"][template][method.to_lowercase()];
        if operation["responses"].get(status.to_string()).is_some() {
            continue;
        }
        let exception = UNDECLARED.iter().position(|(exception_method, exception_path, exception_status, _)| {
            *exception_status == status
                && ["*", method].contains(exception_method)
                && ["*", template].contains(exception_path)
        });
        match exception {
            Some(exception) => _ = used_exceptions.insert(exception),
            // A path that is not in the document.
            None if template == "(none)" && status == 404 => {}
            None => _ = unexpected.insert(format!("{method} {template}: {status}")),
        }
    }
    assert!(entries.len() > 500, "only {} requests", entries.len());
    assert!(unexpected.is_empty(), "not declared: {unexpected:?}");
    let unused: Vec<_> =
        (0..UNDECLARED.len()).filter(|index| !used_exceptions.contains(index)).map(|index| UNDECLARED[index]).collect();
    assert!(unused.is_empty(), "never used: {unused:?}");
}
