//! Rotation of certificates on disk.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use agent_gateway::Principal;
use auth_core::Secret;
use auth_http::ClientCertificate;
use futures_util::future::join_all;

use crate::test_bed::{TestBed, all_tools, caller};

fn thumbprint((chain, key): &(String, String)) -> String {
    ClientCertificate::from_pem(chain, Secret::new(key)).unwrap().thumbprint().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn certificate_rotation_during_calls_loses_no_call() {
    let Some(test_bed) = TestBed::with_sessions() else { return };
    let gateway = test_bed.builder().with_watch_interval(Duration::from_millis(20)).build();
    let principals = [Principal::System, test_bed.user("alice")];
    let found = all_tools(&gateway, &Principal::System).await;
    // Both have a token of the first certificate.
    caller(&gateway, &found, "orders", &principals[1]).await;
    let (over, calls) = (AtomicBool::new(false), AtomicUsize::new(0));
    let calling = join_all(principals.iter().cycle().take(4).map(|principal| async {
        while !over.load(Ordering::Relaxed) {
            // A failed call ends the test.
            caller(&gateway, &found, "orders", principal).await;
            calls.fetch_add(1, Ordering::Relaxed);
        }
    }));
    let exchanging = async {
        for _ in 0..4 {
            let certificate = test_bed.clients.sign("machine.test");
            test_bed.bind(&certificate);
            let bound_to_it = async {
                let expected = thumbprint(&certificate);
                while caller(&gateway, &found, "orders", &principals[1]).await["cnf"]["x5t#S256"] != expected {}
            };
            tokio::time::timeout(Duration::from_secs(30), bound_to_it).await.unwrap();
        }
        over.store(true, Ordering::Relaxed);
    };
    tokio::join!(calling, exchanging);
    let (system, user, request_count) = test_bed.tokens();
    assert_eq!((user, request_count), (5, system + 5), "one for each certificate");
    assert!((1..=5).contains(&system), "{system}");
    assert!(calls.load(Ordering::Relaxed) >= 8, "{calls:?}");
    assert_eq!(test_bed.mcp.requests("initialize").len(), 5 + 1, "the sessions still exist");
}

#[tokio::test(flavor = "multi_thread")]
async fn unusable_certificate_keeps_the_previous_one() {
    let Some(test_bed) = TestBed::open() else { return };
    let gateway = test_bed.builder().with_watch_interval(Duration::ZERO).build();
    let found = all_tools(&gateway, &Principal::System).await;
    test_bed.bind_nothing();
    caller(&gateway, &found, "orders", &Principal::System).await;
    let ((chain, _), (_, key)) = (test_bed.clients.sign("machine.test"), test_bed.clients.sign("machine.test"));
    test_bed.bind(&(chain, key));
    caller(&gateway, &found, "orders", &Principal::System).await;
    assert_eq!(test_bed.tokens(), (1, 0, 1));
    test_bed.bind(&test_bed.clients.sign("machine.test"));
    caller(&gateway, &found, "orders", &Principal::System).await;
    assert_eq!(test_bed.tokens(), (2, 0, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_certificate_is_reloaded_at_once() {
    let Some(test_bed) = TestBed::open() else { return };
    test_bed.bind(&test_bed.clients.sign("another.test"));
    let gateway = test_bed.builder().with_watch_interval(Duration::from_secs(3600)).build();
    let filter = agent_gateway::ToolFilter::new().with_ord_id("orders");
    let error = gateway.list_tools(&Principal::System, &filter).strict().await.unwrap_err();
    assert!(error.token_error().unwrap().is_refused(), "{error:?}");
    test_bed.bind(&test_bed.clients.sign("machine.test"));
    gateway.list_tools(&Principal::System, &filter).strict().await.unwrap();
}
