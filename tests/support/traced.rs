//! Processes whose system calls are traced.

use std::process::{Command, Stdio};

use crate::needs;

/// Returns true if `strace` can trace processes on this machine.
pub(crate) fn can_trace() -> bool {
    if !needs::has("strace") {
        needs::missing("strace", "apt-get install strace");
        return false;
    }
    let traced = Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).stderr(Stdio::null()).status();
    let can_trace = traced.unwrap().success();
    if !can_trace {
        needs::absent("permission to trace processes", "run the test where ptrace is permitted");
    }
    can_trace
}
