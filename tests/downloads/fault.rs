//! A system call that fails, or at which the process is killed.

use std::fs;
use std::path::{Path, PathBuf};

use fastrand::Rng;
use rustix::io::Errno;
use tokio::process::Command;

use crate::needs;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Kill,
    InputOutput,
    Full,
}

/// The library that injects faults.
pub(crate) struct Injector {
    library: PathBuf,
    log: PathBuf,
}

/// A fault of one process.
#[derive(Debug)]
pub(crate) struct Fault {
    operation: &'static str,
    /// An errno, or the moment of a kill.
    action: i32,
    /// The bytes that are written before, or the number of calls.
    after: u64,
    times: u64,
}

/// Calls at which a process is killed; most of them write.
const KILLS: [&str; 11] = [
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
/// Calls that a broken device fails.
const BROKEN: [&str; 9] =
    ["pwrite64", "pwrite64", "write", "fsync", "fdatasync", "rename", "ftruncate64", "pread64", "read"];
/// Calls that a full disk fails.
const FULL: [&str; 6] = ["pwrite64", "pwrite64", "write", "open64", "rename", "ftruncate64"];

impl Fault {
    /// Draws a fault. `bytes` is the most that is written before it.
    pub(crate) fn draw(kind: Kind, bytes: u64, random: &mut Rng) -> Self {
        let operations: &[&str] = match kind {
            Kind::Kill => &KILLS,
            Kind::InputOutput => &BROKEN,
            Kind::Full => &FULL,
        };
        let operation = operations[random.usize(..operations.len())];
        let action = match kind {
            Kind::Kill => -random.i32(1..=2),
            Kind::InputOutput => Errno::IO.raw_os_error(),
            Kind::Full => Errno::NOSPC.raw_os_error(),
        };
        // A read is repeated twice.
        let is_read = ["pread64", "read"].contains(&operation);
        let times = if is_read { random.u64(1..=4) } else { 1 };
        Self { operation, action, after: random.u64(0..if operation == "pwrite64" { bytes } else { 12 }), times }
    }
}

impl Injector {
    /// Compiles the library into `folder`; `None`, said aloud, without a compiler.
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

    /// Lets a command meet a fault on the files below a folder.
    pub(crate) fn arm(&self, command: &mut Command, fault: &Fault, below: &Path) {
        let Fault { operation, action, after, times } = fault;
        fs::write(&self.log, "").unwrap();
        command.env("LD_PRELOAD", &self.library);
        command.env("AIGNOSTICS_FAULT", format!("{operation} {action} {after} {times}"));
        command.env("AIGNOSTICS_FAULT_BELOW", below).env("AIGNOSTICS_FAULT_LOG", &self.log);
    }

    /// Returns true if the last fault happened.
    pub(crate) fn has_struck(&self) -> bool {
        fs::metadata(&self.log).is_ok_and(|log| log.len() > 0)
    }
}
