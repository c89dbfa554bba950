//! Packages from npm, locked next to their peers. Each contains its own Node.

use std::env;
use std::fs;
use std::path::PathBuf;

use crate::needs;

/// Returns the folder with the packages of a peer, if they have the locked versions. Otherwise reports the required
/// installation.
pub(crate) fn installed(peer: &str, locked: &str) -> Option<PathBuf> {
    let tools = env::var_os("AIGNOSTICS_TEST_TOOLS").map(PathBuf::from);
    let tools = tools.or_else(|| Some(env::home_dir()?.join(".cache/aignostics-test-tools")));
    let folder = tools.map(|tools| tools.join(peer));
    let packages = folder.as_ref().and_then(|folder| fs::read_to_string(folder.join("package-lock.json")).ok());
    if packages.is_some_and(|packages| packages == locked) {
        return folder;
    }
    let remedy = format!(
        "copy tests/peers/{peer} to ~/.cache/aignostics-test-tools, or what AIGNOSTICS_TEST_TOOLS names, and run `npm ci` in \
         the copy, as .ci/run does"
    );
    needs::missing(&format!("the npm packages of {peer}, as locked"), &remedy);
    None
}

/// Returns the path of the Node of the packages in `folder`.
pub(crate) fn node(folder: &std::path::Path) -> PathBuf {
    folder.join("node_modules/node/bin/node")
}
