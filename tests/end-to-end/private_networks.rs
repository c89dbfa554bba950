//! Logins in private networks: TLS with a private certificate authority, and proxies.
#![cfg(target_os = "linux")]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use auth_http::HttpClient;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use url::Url;

use crate::authority::Authority;
use crate::command::Sandbox;
use crate::emulator::RunningEmulator;
use crate::login::UserHome;
use crate::process;
use crate::program::{AUTHORITY, mitmproxy, with_password};

/// An emulator that accepts only https.
struct TlsEmulator {
    authority: Authority,
    emulator: RunningEmulator,
    runtime: Runtime,
    sandbox: Sandbox,
}

/// Terminates TLS for a server without TLS, whose address is set later.
async fn terminate(authority: &Authority, server: Arc<OnceLock<SocketAddr>>) -> Url {
    let forward = move |mut stream| {
        let server = server.clone();
        async move {
            let mut server_stream = TcpStream::connect(server.get().unwrap()).await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut stream, &mut server_stream).await;
        }
    };
    authority.serve(None, forward).await
}

impl TlsEmulator {
    fn start() -> Self {
        let (authority, runtime, sandbox) = (Authority::new(), Runtime::new().unwrap(), Sandbox::new());
        let servers = [(); 3].map(|()| Arc::new(OnceLock::new()));
        let urls = servers.clone().map(|server| runtime.block_on(terminate(&authority, server)));
        let [api, issuer, storage] = &urls;
        let config = sandbox.path("config.toml");
        let public = format!("[public]\napi_root = \"{api}\"\nissuer = \"{issuer}\"\nstorage = \"{storage}\"\n");
        std::fs::write(&config, format!("automatic_login = true\ndevice_interval_seconds = 0\n{public}")).unwrap();
        let port = free_ports();
        let emulator =
            RunningEmulator::start(&sandbox, &["--port", &port.to_string(), "--config", config.to_str().unwrap()]);
        for (server, port) in servers.iter().zip(port..) {
            server.set(SocketAddr::from(([127, 0, 0, 1], port))).unwrap();
        }
        Self { authority, emulator, runtime, sandbox }
    }

    /// Returns an empty home folder in a network with these variables.
    fn home<'a>(&'a self, sandbox: &'a Sandbox, variables: Vec<(&'static str, String)>) -> UserHome<'a> {
        let http =
            HttpClient::builder().with_plain_loopback().with_root_certificates(self.authority.file()).build().unwrap();
        UserHome::new(sandbox, &self.emulator).with_http(http).with_variables(variables)
    }
}

/// Returns the first of three consecutive free ports.
fn free_ports() -> u16 {
    let bind = |port: u16| std::net::TcpListener::bind(("127.0.0.1", port)).ok();
    std::iter::repeat_with(|| bind(0).unwrap())
        .find_map(|first| {
            let port = first.local_addr().unwrap().port();
            let others = (bind(port.checked_add(1)?)?, bind(port.checked_add(2)?)?);
            drop(others);
            Some(port)
        })
        .unwrap()
}

fn path_text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// Logs in with both methods, checks the user, and logs out. `options` are added to every command.
fn assert_login_cycle(home: &UserHome<'_>, options: &[&str]) {
    for option in ["--no-browser", "--device"] {
        let login = home.start(&[&["user", "login", option], options].concat());
        match option {
            "--device" => home.approve(&login.line),
            _ => home.visit(&login.line),
        }
        let printed = login.succeeded();
        assert!(printed.ends_with("logged in as Ada Emulator of org_emulator\n"), "{printed}");
        let whoami = home.run(&[&["user", "whoami"], options].concat());
        whoami.assert_code(0);
        assert!(whoami.stdout.contains("auth0|emulator-1"), "{}", whoami.stdout);
        let logout = home.run(&[&["user", "logout"], options].concat());
        logout.assert_code(0);
        assert_eq!(logout.stderr, "logged out\n");
    }
}

#[test]
fn private_ca_is_trusted_by_option() {
    let emulator_over_tls = TlsEmulator::start();
    let authority = path_text(&emulator_over_tls.authority.file());
    let home = emulator_over_tls.home(&emulator_over_tls.sandbox, Vec::new());
    let untrusting = home.run(&["user", "login", "--no-browser"]);
    untrusting.assert_code(1);
    assert!(
        untrusting.stderr.contains("not trusted") && !untrusting.stderr.contains("to log in"),
        "{}",
        untrusting.stderr
    );
    assert_login_cycle(&home, &["--ca-cert", &authority]);
    for variable in ["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"] {
        let sandbox = Sandbox::new();
        assert_login_cycle(&emulator_over_tls.home(&sandbox, vec![(variable, authority.clone())]), &[]);
    }
}

#[test]
fn proxy_password_works_and_a_wrong_one_is_reported() {
    let emulator_over_tls = TlsEmulator::start();
    let authority = path_text(&emulator_over_tls.authority.file());
    for program in with_password() {
        let Some(proxy) = emulator_over_tls.runtime.block_on(process::RunningProxy::start(program)) else {
            continue;
        };
        let proxy_variables = |password: &str| {
            vec![("HTTPS_PROXY", proxy.url_with(password).to_string()), ("REQUESTS_CA_BUNDLE", authority.clone())]
        };
        let sandbox = Sandbox::new();
        assert_login_cycle(&emulator_over_tls.home(&sandbox, proxy_variables("pass%2Eword")), &[]);
        // Some proxies refuse a wrong password like a server that does not respond, which is retried.
        let login = ["user", "login", "--no-browser", "--retry-for", "0s"];
        let refused = emulator_over_tls.home(&sandbox, proxy_variables("canary")).run(&login);
        refused.assert_code(1);
        assert!(refused.stderr.contains(&proxy.shown()) && !refused.stderr.contains("canary"), "{}", refused.stderr);
    }
}

#[test]
fn intercepting_proxy_is_trusted_by_option() {
    let emulator_over_tls = TlsEmulator::start();
    let program = mitmproxy(emulator_over_tls.authority.file());
    let Some(proxy) = emulator_over_tls.runtime.block_on(process::RunningProxy::start(program)) else { return };
    let sandbox = Sandbox::new();
    let home = emulator_over_tls.home(&sandbox, vec![("HTTPS_PROXY", proxy.url().to_string())]);
    assert_login_cycle(&home, &["--ca-cert", &path_text(&proxy.file(AUTHORITY))]);
    let refused = home.run(&["user", "login", "--no-browser"]);
    refused.assert_code(1);
    assert!(refused.stderr.contains(&proxy.shown()) && refused.stderr.contains("not trusted"), "{}", refused.stderr);
    assert!(!refused.stderr.contains("given up"), "the login is retried: {}", refused.stderr);
}
