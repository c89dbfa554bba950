//! Rotation of client certificates on disk.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use agent_gateway::Principal;
use auth_core::Secret;
use auth_http::ClientCertificate;
use futures_util::future::join_all;

use crate::test_bed::{TestBed, all_tools, whoami};

/// Returns the thumbprint of a certificate with its key.
fn thumbprint((chain, key): &(String, String)) -> String {
    ClientCertificate::from_pem(chain, Secret::new(key)).unwrap().thumbprint().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn certificate_rotation_during_calls_loses_no_call() {
    let Some(test_bed) = TestBed::with_sessions() else { return };
    let gateway = test_bed.builder().with_watch_interval(Duration::from_millis(20)).build();
    let principals = [Principal::System, test_bed.user("alice")];
    let listing = all_tools(&gateway, &Principal::System).await;
    // Both principals have a token that is bound to the first certificate.
    whoami(&gateway, &listing, "orders", &principals[1]).await;
    let (is_finished, calls) = (AtomicBool::new(false), AtomicUsize::new(0));
    let call_continuously = join_all(principals.iter().cycle().take(4).map(|principal| async {
        while !is_finished.load(Ordering::Relaxed) {
            // A failed call fails the test.
            whoami(&gateway, &listing, "orders", principal).await;
            calls.fetch_add(1, Ordering::Relaxed);
        }
    }));
    let rotate_certificates = async {
        for _ in 0..4 {
            let certificate = test_bed.client_authority.sign("machine.test");
            test_bed.write_binding(&certificate);
            let until_token_is_bound = async {
                let expected = thumbprint(&certificate);
                while whoami(&gateway, &listing, "orders", &principals[1]).await["cnf"]["x5t#S256"] != expected {}
            };
            tokio::time::timeout(Duration::from_secs(30), until_token_is_bound).await.unwrap();
        }
        is_finished.store(true, Ordering::Relaxed);
    };
    tokio::join!(call_continuously, rotate_certificates);
    let (system, user, request_count) = test_bed.tokens();
    assert_eq!((user, request_count), (5, system + 5), "the user needs one token for each certificate");
    assert!((1..=5).contains(&system), "{system}");
    assert!(calls.load(Ordering::Relaxed) >= 8, "{calls:?}");
    assert_eq!(test_bed.mcp.requests("initialize").len(), 5 + 1, "the sessions survive the rotation");
}

#[tokio::test(flavor = "multi_thread")]
async fn unusable_certificate_keeps_the_previous_one() {
    let Some(test_bed) = TestBed::open() else { return };
    let gateway = test_bed.builder().with_watch_interval(Duration::ZERO).build();
    let listing = all_tools(&gateway, &Principal::System).await;
    test_bed.write_invalid_binding();
    whoami(&gateway, &listing, "orders", &Principal::System).await;
    let ((chain, _), (_, key)) =
        (test_bed.client_authority.sign("machine.test"), test_bed.client_authority.sign("machine.test"));
    test_bed.write_binding(&(chain, key));
    whoami(&gateway, &listing, "orders", &Principal::System).await;
    assert_eq!(test_bed.tokens(), (1, 0, 1));
    test_bed.write_binding(&test_bed.client_authority.sign("machine.test"));
    whoami(&gateway, &listing, "orders", &Principal::System).await;
    assert_eq!(test_bed.tokens(), (2, 0, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_certificate_is_reloaded_at_once() {
    let Some(test_bed) = TestBed::open() else { return };
    test_bed.write_binding(&test_bed.client_authority.sign("another.test"));
    let gateway = test_bed.builder().with_watch_interval(Duration::from_secs(3600)).build();
    let filter = agent_gateway::ToolFilter::new().with_ord_id("orders");
    let error = gateway.list_tools(&Principal::System, &filter).strict().await.unwrap_err();
    assert!(error.token_error().unwrap().is_refused(), "{error:?}");
    test_bed.write_binding(&test_bed.client_authority.sign("machine.test"));
    gateway.list_tools(&Principal::System, &filter).strict().await.unwrap();
}
