//! File paths for object keys.

use std::collections::{BTreeMap, BTreeSet};

use crate::names::name::safe_names;

/// An entry of a folder: a segment of a key, and true if the segment is a folder because another segment follows.
type Child<'a> = (&'a str, bool);

/// Returns the components of a relative file path for each of `keys`. The keys must be distinct. Each segment of a key
/// before a `/` becomes a folder; names are encoded by [`safe_names`]. No path leads out of its folder, no two paths
/// are equal on any file system, and no path is both a file and a folder.
///
/// ```
/// let paths = platform_download::safe_paths(&["study/a.svs", "../etc/passwd"]);
/// assert_eq!(paths, [vec!["study", "a.svs"], vec!["%2E%2E", "etc", "passwd"]]);
/// ```
pub fn safe_paths(keys: &[&str]) -> Vec<Vec<String>> {
    let mut folders: BTreeMap<Vec<&str>, BTreeSet<Child<'_>>> = BTreeMap::new();
    for key in keys {
        let segments: Vec<_> = key.split('/').collect();
        for (depth, segment) in segments.iter().enumerate() {
            folders.entry(segments[..depth].to_vec()).or_default().insert((segment, depth + 1 < segments.len()));
        }
    }
    let mut names: BTreeMap<(Vec<&str>, Child<'_>), String> = BTreeMap::new();
    for (folder, children) in folders {
        // A folder and a file with the same name have different identities.
        let identities: Vec<_> = children.iter().map(|(segment, is_folder)| identity(segment, *is_folder)).collect();
        let names_and_identities: Vec<_> =
            children.iter().zip(&identities).map(|((segment, _), id)| (*segment, id.as_str())).collect();
        for (child, name) in children.iter().zip(safe_names(&names_and_identities)) {
            names.insert((folder.clone(), *child), name);
        }
    }
    keys.iter().map(|key| path(key, &names)).collect()
}

fn identity(segment: &str, is_folder: bool) -> String {
    if is_folder { format!("{segment}/") } else { segment.to_owned() }
}

fn path(key: &str, names: &BTreeMap<(Vec<&str>, Child<'_>), String>) -> Vec<String> {
    let segments: Vec<_> = key.split('/').collect();
    let child = |depth: usize| (segments[..depth].to_vec(), (segments[depth], depth + 1 < segments.len()));
    (0..segments.len()).filter_map(|depth| names.get(&child(depth)).cloned()).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn colliding_keys_have_distinct_paths() {
        let keys = ["a", "a/b", "A/b", "a/B", "a//b", "/a", "", "x/../y", "CON/aux", "ä/1", "a\u{308}/1"];
        let paths = safe_paths(&keys);
        let joined: Vec<_> = paths.iter().map(|path| path.join("/")).collect();
        let folded: HashSet<_> = joined.iter().map(|path| path.to_uppercase()).collect();
        assert_eq!(folded.len(), keys.len(), "{joined:?}");
        for (key, path) in keys.iter().zip(&paths) {
            assert_eq!(path.len(), key.split('/').count(), "{key}");
            assert!(
                path.iter().all(|name| !name.is_empty() && !name.starts_with('.') && !name.contains('/')),
                "{path:?}"
            );
        }
        // No file is also the folder of another file.
        for file in &joined {
            assert!(!joined.iter().any(|other| other.starts_with(&format!("{file}/"))), "{joined:?}");
        }
        assert_eq!(joined[7], "x/%2E%2E/y");
    }

    #[test]
    fn path_does_not_depend_on_the_order_of_the_keys() {
        let forward = safe_paths(&["a/x", "A/x", "b"]);
        let mut backward = safe_paths(&["b", "A/x", "a/x"]);
        backward.reverse();
        assert_eq!(forward, backward);
    }
}
