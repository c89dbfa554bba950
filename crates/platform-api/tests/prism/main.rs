//! Tests of every operation with every parameter. Prism validates the requests against the platform's own document, or
//! against the project's document if the former is not available. Prism ignores unknown parameters and missing optional
//! parameters. Therefore, requests are also compared with the facts of the platform's document.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../it/document.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod document;
mod facts;
#[allow(dead_code, reason = "other tests use more of it")]
#[path = "../../../../tests/support/needs.rs"]
mod needs;
mod operations;
#[path = "../../../../tests/support/packages.rs"]
mod packages;
#[path = "../../../../tests/support/reference.rs"]
mod reference;
mod server;

use std::collections::BTreeSet;

use facts::Facts;
use operations::senders;
use server::Prism;

#[test]
fn every_operation_conforms_to_the_platform_document() {
    let Some(prism) = Prism::start() else { return };
    let facts = Facts::read();
    let mut sent_operations = BTreeSet::new();
    for (name, send) in senders() {
        let (request, outcome) = prism.send(name, &send);
        let context = || format!("{name} {}: {outcome:?}\n{}", request.url, prism.log());
        // Prism rejects an invalid request with an error status. The responses that it generates can be decoded.
        assert!(outcome.is_ok(), "{}", context());
        let problems = facts.problems(&request);
        assert!(problems.is_empty(), "{problems:#?} {}", context());
        sent_operations.insert(name);
    }
    assert_eq!(sent_operations, document::operations().map(|(name, _)| name).collect());
}

#[test]
fn prism_rejects_requests_that_the_document_does_not_allow() {
    let Some(prism) = Prism::start() else { return };
    for (name, send) in operations::invalid_requests() {
        let (_, outcome) = prism.send(name, &send);
        assert_eq!(outcome.unwrap_err().status(), Some(422), "{name}");
    }
}
