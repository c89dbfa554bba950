//! Cycles in a directed graph.

use std::collections::{BTreeMap, BTreeSet};

type Edges = BTreeSet<(String, String)>;

/// Returns the strongly connected components that contain more than one node.
pub(super) fn cycles(edges: &Edges) -> Vec<BTreeSet<String>> {
    let reachable: BTreeMap<&String, BTreeSet<&String>> =
        edges.iter().map(|(from, _)| (from, reachable_nodes(edges, from))).collect();
    let reaches = |from: &String, to: &String| reachable.get(from).is_some_and(|nodes| nodes.contains(to));
    let mut components = BTreeSet::new();
    for node in reachable.keys().copied().filter(|node| reaches(node, node)) {
        let component: BTreeSet<String> =
            reachable.keys().copied().filter(|other| reaches(node, other) && reaches(other, node)).cloned().collect();
        components.insert(component);
    }
    components.into_iter().collect()
}

fn reachable_nodes<'a>(edges: &'a Edges, start: &String) -> BTreeSet<&'a String> {
    let mut nodes = BTreeSet::new();
    let mut pending = vec![start];
    while let Some(node) = pending.pop() {
        for (_, to) in edges.iter().filter(|(from, _)| from == node) {
            if nodes.insert(to) {
                pending.push(to);
            }
        }
    }
    nodes
}
