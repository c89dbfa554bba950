//! The platform's own API document, if it is available.

use std::fs;
use std::path::Path;

use serde_json::Value;

const DOCUMENT: &str = "../shared/openapi/aignostics-platform-1.7.0.json";
/// The later changes, as a JSON Patch (RFC 6902) that adds and replaces members.
const CHANGES: &str = "../shared/openapi/1.8.0.changes.json";

/// Returns the document of the current version of the platform, or `None` if it is absent. `root` is the folder of the
/// workspace.
pub(crate) fn document(root: &Path) -> Option<Value> {
    let read = |path: &str| -> Option<Value> {
        fs::read(root.join(path)).ok().map(|text| serde_json::from_slice(&text).unwrap())
    };
    let (mut document, changes) = (read(DOCUMENT)?, read(CHANGES)?);
    for change in changes.as_array().unwrap() {
        let (parent, name) = change["path"].as_str().and_then(|path| path.rsplit_once('/')).unwrap();
        assert!(["add", "replace"].contains(&change["op"].as_str().unwrap()), "{change}");
        document.pointer_mut(parent).unwrap()[name] = change["value"].clone();
    }
    Some(document)
}
