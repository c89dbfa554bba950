//! The clients, and the settings of their runs.

/// A client of the conformance run.
pub(super) struct Client {
    /// The name of its section in the document.
    pub(super) name: &'static str,
    /// The folder of the client below the folder of the test tools; empty for that folder itself.
    pub(super) peer: &'static str,
    /// The program that runs the driver, in the folder of the client.
    pub(super) program: &'static str,
    /// The file name of the driver in `tests/clients`.
    pub(super) driver: &'static str,
    /// Arguments of the driver. `{command}` stands for this project's command, `{tools}` for the folder of the test tools.
    pub(super) arguments: &'static [&'static str],
    /// The configuration of the emulator.
    pub(super) config: &'static str,
    pub(super) emulator: Emulator,
    /// Another requirement, if any.
    pub(super) needs: Option<Need>,
}

/// The way in which the emulator is started.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Emulator {
    /// The emulator has control routes, and the driver gets its ready line.
    Controlled,
    /// The same as `Controlled`, over TLS.
    Tls,
    /// `emulator exec` runs the driver, which gets only the variables.
    Exec,
}

#[derive(Clone, Copy)]
pub(super) enum Need {
    /// A program in the path.
    Program(&'static str),
    /// Another peer.
    Peer(&'static str),
    /// The platform's own document, which is available in development only.
    Reference,
}

const PYTHON: &str = "bin/python";
const AUTOMATIC_LOGIN: &str = "automatic_login = true\n";
/// The SDK always uses this host for the storage. Slides below `stalled/` keep their runs in progress.
const FIXED_HOST: &str = r#"
hosts = ["storage.googleapis.com"]
replica_lag_ms = 0

[[faults]]
effect = { kind = "stall", after_bytes = 0 }
server = "storage"
method = "GET"
path = "/*/stalled/*"
"#;

/// The default settings of a client.
const DEFAULT_CLIENT: Client = Client {
    name: "",
    peer: "python-clients",
    program: PYTHON,
    driver: "",
    arguments: &[],
    config: "",
    emulator: Emulator::Controlled,
    needs: None,
};

/// All clients, in the order of the document.
pub(super) const CLIENTS: &[Client] = &[
    Client {
        name: "Python SDK: commands",
        peer: "python-sdk",
        driver: "python_sdk_commands.py",
        config: FIXED_HOST,
        emulator: Emulator::Exec,
        ..DEFAULT_CLIENT
    },
    Client {
        name: "Python SDK: library",
        peer: "python-sdk",
        driver: "python_sdk_library.py",
        config: "replica_lag_ms = 0\n",
        ..DEFAULT_CLIENT
    },
    Client {
        name: "openid-client",
        peer: "openid-client",
        program: "node_modules/node/bin/node",
        driver: "openid_client_login.mjs",
        arguments: &["{tools}/openid-client"],
        config: AUTOMATIC_LOGIN,
        ..DEFAULT_CLIENT
    },
    Client { name: "Authlib", driver: "authlib_login.py", config: AUTOMATIC_LOGIN, ..DEFAULT_CLIENT },
    Client { name: "boto3", driver: "boto3_storage.py", ..DEFAULT_CLIENT },
    Client { name: "boto3 over https", driver: "boto3_storage.py", emulator: Emulator::Tls, ..DEFAULT_CLIENT },
    Client { name: "google-cloud-storage", driver: "google_storage.py", ..DEFAULT_CLIENT },
    Client { name: "rclone", driver: "rclone_storage.py", needs: Some(Need::Program("rclone")), ..DEFAULT_CLIENT },
    Client {
        name: "s5cmd",
        driver: "s5cmd_storage.py",
        arguments: &["{tools}/python-clients/bin/s5cmd"],
        ..DEFAULT_CLIENT
    },
    Client {
        name: "Prism",
        driver: "prism_api.py",
        arguments: &["{command}", "{tools}/prism"],
        needs: Some(Need::Peer("prism")),
        ..DEFAULT_CLIENT
    },
    Client {
        name: "schemathesis",
        peer: "",
        driver: "schemathesis_api.py",
        config: "replica_lag_ms = 0\n",
        needs: Some(Need::Reference),
        ..DEFAULT_CLIENT
    },
];
