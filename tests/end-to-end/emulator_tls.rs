//! `aignostics emulator` with TLS and with faults from the start.

use std::process::Command;

use auth_http::{HttpClient, Request};
use tokio::runtime::Runtime;

use crate::command::{BINARY, Lab};
use crate::emulator::Running;

const OUTAGE: &str = r#"{"effect": {"kind": "status", "status": 503}, "server": "api", "path": "/health", "times": 1}"#;

#[test]
fn fault_and_authority_are_there_from_the_start() {
    let lab = Lab::new();
    let file = lab.path("authority.pem");
    let running = Running::start(&lab, &["--tls", file.to_str().unwrap(), "--fault", OUTAGE]);
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
    let lab = Lab::new();
    for options in [&[][..], &["--no-http2"]] {
        let mut command = Command::new(BINARY);
        // The path is relative, because the command runs in another folder.
        command.current_dir(lab.path("")).args(["emulator", "--tls", "authority.pem"]).args(options);
        command.args(["exec", "--", "sh", "-c", r#"cd / && exec "$0" user whoami"#, BINARY]);
        command.env("TMPDIR", lab.temporary()).env("HOME", lab.path(""));
        let ended = command.output().unwrap();
        let (said, errors) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
        assert!(ended.status.success() && said.contains("Ada Emulator"), "{options:?}: {said}{errors}");
    }
}
