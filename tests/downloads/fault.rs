//! A system call that fails, or at which the process is killed.

use std::fs;
use std::path::{Path, PathBuf};

use fastrand::Rng;
use platform_emulator::{Effect, Server};
use rustix::io::Errno;
use tokio::process::Command;

use crate::needs;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FaultKind {
    Kill,
    InputOutput,
    FullDisk,
    /// The storage resets a connection.
    Reset,
    /// The storage is unavailable for some requests.
    Unavailable,
}

impl FaultKind {
    /// Returns true for a network fault, which the process survives.
    pub(crate) fn is_remote(self) -> bool {
        matches!(self, Self::Reset | Self::Unavailable)
    }

    /// Draws a network fault. A reset occurs within the first `bytes` of the response.
    pub(crate) fn draw_remote(self, bytes: u64, random: &mut Rng) -> platform_emulator::Fault {
        let fault = match self {
            Self::Reset => platform_emulator::Fault::new(Effect::Reset { after_bytes: random.u64(0..bytes) }),
            _ => platform_emulator::Fault::new(Effect::Status { status: 503, body: None }),
        };
        let times = if self == Self::Reset { 1 } else { random.u32(1..4) };
        fault.on(Server::Storage).with_method("GET").after(random.u32(0..8)).times(times)
    }
}

/// The library that injects faults.
pub(crate) struct Injector {
    library: PathBuf,
    log: PathBuf,
}

#[derive(Debug)]
pub(crate) struct Fault {
    operation: &'static str,
    /// The errno of the failing calls, or -1 or -2 to kill the process before or after the call.
    action: i32,
    /// The number of bytes that are written before the fault or, for other operations, of calls.
    after: u64,
    /// The number of calls that fail.
    times: u64,
}

/// The calls at which a process is killed. Most of them write.
const KILL_CALLS: [&str; 11] = [
    "pwrite64",
    "pwrite64",
    "pwrite64",
    "write",
    "fsync",
    "fdatasync",
    "rename",
    "ftruncate64",
    "open64",
    "unlink",
    "pread64",
];
/// The calls that fail with an I/O error.
const DEVICE_ERROR_CALLS: [&str; 9] =
    ["pwrite64", "pwrite64", "write", "fsync", "fdatasync", "rename", "ftruncate64", "pread64", "read"];
/// The calls that fail on a full disk.
const FULL_DISK_CALLS: [&str; 6] = ["pwrite64", "pwrite64", "write", "open64", "rename", "ftruncate64"];

impl Fault {
    /// Draws a fault. `bytes` is the maximum number of bytes that are written before it.
    pub(crate) fn draw(kind: FaultKind, bytes: u64, random: &mut Rng) -> Self {
        let operations: &[&str] = match kind {
            FaultKind::Kill => &KILL_CALLS,
            FaultKind::InputOutput => &DEVICE_ERROR_CALLS,
            _ => &FULL_DISK_CALLS,
        };
        let operation = operations[random.usize(..operations.len())];
        let action = match kind {
            FaultKind::Kill => -random.i32(1..=2),
            FaultKind::InputOutput => Errno::IO.raw_os_error(),
            _ => Errno::NOSPC.raw_os_error(),
        };
        // A failed read is repeated twice, so the fault can affect several calls.
        let is_read = ["pread64", "read"].contains(&operation);
        let times = if is_read { random.u64(1..=4) } else { 1 };
        Self { operation, action, after: random.u64(0..if operation == "pwrite64" { bytes } else { 12 }), times }
    }
}

impl Injector {
    /// Compiles the library into `folder`. Returns `None` and reports it if no compiler is installed.
    pub(crate) fn compile(folder: &Path) -> Option<Self> {
        if !cfg!(target_os = "linux") {
            needs::absent("Linux", "faults are injected by a library that is preloaded");
            return None;
        }
        if !needs::has("cc") {
            needs::missing("a C compiler", "install gcc");
            return None;
        }
        let (library, log) = (folder.join("faults.so"), folder.join("faults.log"));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/downloads/faults.c");
        let mut compiler = std::process::Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]).arg(&library).arg(source).arg("-ldl");
        assert!(compiler.status().unwrap().success());
        Some(Self { library, log })
    }

    /// Injects a fault into the system calls that a command makes on files below a folder.
    pub(crate) fn inject_into(&self, command: &mut Command, fault: &Fault, folder: &Path) {
        let Fault { operation, action, after, times } = fault;
        fs::write(&self.log, "").unwrap();
        command.env("LD_PRELOAD", &self.library);
        command.env("AIGNOSTICS_FAULT", format!("{operation} {action} {after} {times}"));
        command.env("AIGNOSTICS_FAULT_BELOW", folder).env("AIGNOSTICS_FAULT_LOG", &self.log);
    }

    /// Returns true if the last fault happened.
    pub(crate) fn has_occurred(&self) -> bool {
        fs::metadata(&self.log).is_ok_and(|log| log.len() > 0)
    }
}
