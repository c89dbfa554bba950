//! The npm and Python packages of peers, which are the programs that tests communicate with. The versions are pinned in
//! `tests/peers`.

use std::env;
use std::fs;
use std::path::PathBuf;

use crate::needs;

/// Returns the folder with the packages of a peer, if they have the locked versions. Otherwise reports the required
/// installation.
pub(crate) fn installed(peer: &str, locked: &str) -> Option<PathBuf> {
    let folder = folder(peer);
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

/// Returns the path of the Node.js that is installed with the packages in `folder`.
pub(crate) fn node(folder: &std::path::Path) -> PathBuf {
    folder.join("node_modules/node/bin/node")
}

/// Returns the Python interpreter with the packages of a peer, if they have the pinned versions. Otherwise reports the
/// required installation.
#[allow(dead_code, reason = "some tests use packages from npm only")]
pub(crate) fn python(peer: &str, pinned: &str) -> Option<PathBuf> {
    let is_installed = |folder: &PathBuf| {
        fs::read_to_string(folder.join("requirements.txt")).is_ok_and(|requirements| requirements == pinned)
    };
    if let Some(folder) = folder(peer).filter(is_installed) {
        return Some(folder.join("bin/python"));
    }
    let remedy = format!(
        "make a virtual environment in ~/.cache/aignostics-test-tools/{peer}, or below what AIGNOSTICS_TEST_TOOLS names, \
         with tests/peers/{peer}/requirements.txt, and copy that file there, as .ci/run does"
    );
    needs::missing(&format!("the PyPI packages of {peer}, as pinned"), &remedy);
    None
}

/// Returns the folder with the packages of a peer.
fn folder(peer: &str) -> Option<PathBuf> {
    let tools = env::var_os("AIGNOSTICS_TEST_TOOLS").map(PathBuf::from);
    let tools = tools.or_else(|| Some(env::home_dir()?.join(".cache/aignostics-test-tools")));
    Some(tools?.join(peer))
}
