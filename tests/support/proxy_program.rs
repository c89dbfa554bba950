//! Proxy programs and their configuration.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The credentials of the proxies with a password. The dot can be written as `%2E` in a URL; tinyproxy accepts no slash.
pub(crate) const USER: &str = "lab";
pub(crate) const PASSWORD: &str = "pass.word";
/// The output of `openssl passwd -apr1 -salt labsalt1 pass.word`.
const HASH: &str = "$apr1$labsalt1$VZtdrAx6LYqYGl2By6CvD.";
/// The program of Debian's squid that checks passwords.
const SQUID_PASSWORDS: &str = "/usr/lib/squid/basic_ncsa_auth";

/// Prepares a program for a folder and a port.
pub(crate) type Prepare = dyn Fn(&Path, u16) -> Command;

/// A proxy program.
pub(crate) struct Program {
    /// The required files. The first one is the program.
    pub(crate) files: &'static [&'static str],
    pub(crate) remedy: &'static str,
    /// The status of the response to a wrong password, if the proxy requires one.
    pub(crate) refusal: Option<u16>,
    pub(crate) command: Box<Prepare>,
    /// Removes files outside of the folder that remain after a kill.
    pub(crate) tidy: fn(u16),
}

impl Program {
    pub(crate) fn name(&self) -> &'static str {
        self.files[0]
    }
}

/// Returns the proxies that require a password.
pub(crate) fn with_password() -> [Program; 2] {
    [tinyproxy(), squid()]
}

/// Returns a SOCKS 5 proxy that requires the password.
#[allow(dead_code, reason = "some tests use other proxies only")]
pub(crate) fn socks() -> Program {
    let command = |_: &Path, port: u16| {
        let mut command = Command::new("microsocks");
        command.args(["-i", "127.0.0.1", "-p", &port.to_string(), "-u", USER, "-P", PASSWORD]);
        command
    };
    let (command, remedy) = (Box::new(command), "apt-get install microsocks");
    Program { files: &["microsocks"], remedy, refusal: None, command, tidy: |_| {} }
}

fn tinyproxy() -> Program {
    let command = |folder: &Path, port: u16| {
        let file = write(folder, &format!("Listen 127.0.0.1\nPort {port}\nBasicAuth {USER} {PASSWORD}\n"));
        let mut command = Command::new("tinyproxy");
        command.arg("-d").arg("-c").arg(file);
        command
    };
    let (command, remedy) = (Box::new(command), "apt-get install tinyproxy");
    Program { files: &["tinyproxy"], remedy, refusal: Some(401), command, tidy: |_| {} }
}

fn squid() -> Program {
    let command = |folder: &Path, port: u16| {
        // The process that checks passwords does not run as root, even if the tests do.
        fs::set_permissions(folder, Permissions::from_mode(0o755)).unwrap();
        let passwords = folder.join("passwords");
        fs::write(&passwords, format!("{USER}:{HASH}\n")).unwrap();
        let settings = [
            &format!("http_port 127.0.0.1:{port}"),
            &format!("auth_param basic program {SQUID_PASSWORDS} {}", passwords.display()),
            "acl known proxy_auth REQUIRED",
            "http_access allow known",
            "http_access deny all",
            "visible_hostname localhost",
            "cache deny all",
            "cache_mem 0",
            "access_log none",
            "cache_log /dev/null",
            "pid_filename none",
        ];
        let file = write(folder, &(settings.join("\n") + "\n"));
        let mut command = Command::new("/usr/sbin/squid");
        command.arg("-N").arg("-n").arg(squid_service(port)).arg("-f").arg(file);
        command
    };
    let tidy = |port: u16| {
        for part in ["metadata", "queues", "readers"] {
            let _ = fs::remove_file(format!("/dev/shm/{}-cf__{part}.shm", squid_service(port)));
        }
    };
    let (command, remedy) = (Box::new(command), "apt-get install squid-openssl");
    Program { files: &["/usr/sbin/squid", SQUID_PASSWORDS], remedy, refusal: Some(407), command, tidy }
}

/// Returns the name of squid's shared memory, which must be unique.
fn squid_service(port: u16) -> String {
    format!("authhttp{port}")
}

/// Returns a proxy that decrypts TLS, like company proxies. It has its own certificate authority, in [`AUTHORITY`], and
/// trusts the servers of `upstream`.
pub(crate) fn mitmproxy(upstream: PathBuf) -> Program {
    let command = move |folder: &Path, port: u16| {
        let mut command = Command::new("mitmdump");
        command.args(["--quiet", "--listen-host", "127.0.0.1", "--listen-port", &port.to_string()]);
        command.arg("--set").arg(format!("confdir={}", folder.display()));
        command.arg("--set").arg(format!("ssl_verify_upstream_trusted_ca={}", upstream.display()));
        command
    };
    let (command, remedy) = (Box::new(command), "pip install mitmproxy==11.0.2, in an environment of its own");
    Program { files: &["mitmdump"], remedy, refusal: None, command, tidy: |_| {} }
}

/// The path of the certificate of mitmproxy's authority.
pub(crate) const AUTHORITY: &str = "mitmproxy-ca-cert.pem";

fn write(folder: &Path, settings: &str) -> PathBuf {
    let file = folder.join("settings");
    fs::write(&file, settings).unwrap();
    file
}
