//! `aignostics emulator` with TLS and with faults from the start.

use std::process::Command;

use auth_http::{HttpClient, Request};
use tokio::runtime::Runtime;

use crate::command::{BINARY, Sandbox};
use crate::emulator::RunningEmulator;

const OUTAGE: &str = r#"{"effect": {"kind": "status", "status": 503}, "server": "api", "path": "/health", "times": 1}"#;

#[test]
fn faults_and_ca_certificate_exist_from_the_start() {
    let sandbox = Sandbox::new();
    let file = sandbox.path("authority.pem");
    let running = RunningEmulator::start(&sandbox, &["--tls", file.to_str().unwrap(), "--fault", OUTAGE]);
    for server in ["api_root", "issuer", "storage"] {
        assert_eq!(running.url(server, "/").scheme(), "https");
    }
    assert_eq!(running.ready["ca_file"], file.to_str().unwrap());
    let http = HttpClient::builder().with_root_certificates(&file).build().unwrap();
    let health = || http.send(Request::get(running.url("api_root", "/health")));
    let runtime = Runtime::new().unwrap();
    let statuses = [(); 2].map(|()| runtime.block_on(health()).unwrap().status());
    assert_eq!(statuses, [503, 200]);
}

#[test]
fn command_in_the_emulator_trusts_its_authority() {
    let sandbox = Sandbox::new();
    for options in [&[][..], &["--no-http2"]] {
        let mut command = Command::new(BINARY);
        // The path is relative, because the command runs in another folder.
        command.current_dir(sandbox.path("")).args(["emulator", "--tls", "authority.pem"]).args(options);
        command.args(["exec", "--", "sh", "-c", r#"cd / && exec "$0" user whoami"#, BINARY]);
        command.env("TMPDIR", sandbox.temporary()).env("HOME", sandbox.path(""));
        let result = command.output().unwrap();
        let (printed, errors) = (String::from_utf8_lossy(&result.stdout), String::from_utf8_lossy(&result.stderr));
        assert!(result.status.success() && printed.contains("Ada Emulator"), "{options:?}: {printed}{errors}");
    }
}
