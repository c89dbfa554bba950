//! The clients, and how each is run.

/// A client of the conformance run.
pub(super) struct Client {
    /// The name of its section in the document.
    pub(super) name: &'static str,
    /// The installed folder, below that of the test tools; empty for the folder itself.
    pub(super) peer: &'static str,
    /// The program that runs the driver, in that folder.
    pub(super) program: &'static str,
    /// The driver, in `tests/clients`.
    pub(super) driver: &'static str,
    /// Arguments of the driver. `{command}` stands for this project's command, `{tools}` for the folder of the test tools.
    pub(super) arguments: &'static [&'static str],
    /// The configuration of the emulator.
    pub(super) config: &'static str,
    pub(super) emulator: Emulator,
    /// Another requirement.
    pub(super) needs: Option<Need>,
}

/// The start of the emulator.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Emulator {
    /// With control routes; the driver gets the ready line.
    Controlled,
    /// The same, over TLS.
    Tls,
    /// With `emulator exec`; the driver gets the variables only.
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

/// The settings that most clients have.
const CLIENT: Client = Client {
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
        ..CLIENT
    },
    Client {
        name: "Python SDK: library",
        peer: "python-sdk",
        driver: "python_sdk_library.py",
        config: "replica_lag_ms = 0\n",
        ..CLIENT
    },
    Client {
        name: "openid-client",
        peer: "openid-client",
        program: "node_modules/node/bin/node",
        driver: "openid_client_login.mjs",
        arguments: &["{tools}/openid-client"],
        config: AUTOMATIC_LOGIN,
        ..CLIENT
    },
    Client { name: "Authlib", driver: "authlib_login.py", config: AUTOMATIC_LOGIN, ..CLIENT },
    Client { name: "boto3", driver: "boto3_storage.py", ..CLIENT },
    Client { name: "boto3 over https", driver: "boto3_storage.py", emulator: Emulator::Tls, ..CLIENT },
    Client { name: "google-cloud-storage", driver: "google_storage.py", ..CLIENT },
    Client { name: "rclone", driver: "rclone_storage.py", needs: Some(Need::Program("rclone")), ..CLIENT },
    Client { name: "s5cmd", driver: "s5cmd_storage.py", arguments: &["{tools}/python-clients/bin/s5cmd"], ..CLIENT },
    Client {
        name: "Prism",
        driver: "prism_api.py",
        arguments: &["{command}", "{tools}/prism"],
        needs: Some(Need::Peer("prism")),
        ..CLIENT
    },
    Client {
        name: "schemathesis",
        peer: "",
        driver: "schemathesis_api.py",
        config: "replica_lag_ms = 0\n",
        needs: Some(Need::Reference),
        ..CLIENT
    },
];
