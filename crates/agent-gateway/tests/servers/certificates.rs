//! Certificates that are replaced on disk.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use agent_gateway::Principal;
use auth_core::Secret;
use auth_http::ClientCertificate;
use futures_util::future::join_all;

use crate::lab::{Lab, all_tools, who};

fn thumbprint((chain, key): &(String, String)) -> String {
    ClientCertificate::from_pem(chain, Secret::new(key)).unwrap().thumbprint().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_exchanged_while_calls_run_loses_no_call() {
    let Some(lab) = Lab::open() else { return };
    let gateway = lab.builder().with_watch_interval(Duration::from_millis(20)).build();
    let principals = [Principal::System, lab.user("alice")];
    let found = all_tools(&gateway, &Principal::System).await;
    // Both have a token of the first certificate.
    who(&gateway, &found, "orders", &principals[1]).await;
    let (over, calls) = (AtomicBool::new(false), AtomicUsize::new(0));
    let calling = join_all(principals.iter().cycle().take(4).map(|principal| async {
        while !over.load(Ordering::Relaxed) {
            // A failed call ends the test.
            who(&gateway, &found, "orders", principal).await;
            calls.fetch_add(1, Ordering::Relaxed);
        }
    }));
    let exchanging = async {
        for _ in 0..4 {
            let certificate = lab.clients.sign("machine.test");
            lab.bind(&certificate);
            let bound_to_it = async {
                let expected = thumbprint(&certificate);
                while who(&gateway, &found, "orders", &principals[1]).await["cnf"]["x5t#S256"] != expected {}
            };
            tokio::time::timeout(Duration::from_secs(30), bound_to_it).await.unwrap();
        }
        over.store(true, Ordering::Relaxed);
    };
    tokio::join!(calling, exchanging);
    let (system, user, asked) = lab.tokens();
    assert_eq!((user, asked), (5, system + 5), "one for each certificate");
    assert!((1..=5).contains(&system), "{system}");
    assert!(calls.load(Ordering::Relaxed) >= 8, "{calls:?}");
    assert_eq!(lab.mcp.requests("initialize").len(), 5 + 1, "the sessions stayed");
}

#[tokio::test(flavor = "multi_thread")]
async fn unusable_certificate_keeps_the_previous_one() {
    let Some(lab) = Lab::open() else { return };
    let gateway = lab.builder().with_watch_interval(Duration::ZERO).build();
    let found = all_tools(&gateway, &Principal::System).await;
    lab.bind_nothing();
    who(&gateway, &found, "orders", &Principal::System).await;
    let ((chain, _), (_, key)) = (lab.clients.sign("machine.test"), lab.clients.sign("machine.test"));
    lab.bind(&(chain, key));
    who(&gateway, &found, "orders", &Principal::System).await;
    assert_eq!(lab.tokens(), (1, 0, 1));
    lab.bind(&lab.clients.sign("machine.test"));
    who(&gateway, &found, "orders", &Principal::System).await;
    assert_eq!(lab.tokens(), (2, 0, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_certificate_is_reloaded_at_once() {
    let Some(lab) = Lab::open() else { return };
    lab.bind(&lab.clients.sign("another.test"));
    let gateway = lab.builder().with_watch_interval(Duration::from_secs(3600)).build();
    let filter = agent_gateway::ToolFilter::new().with_ord_id("orders");
    let error = gateway.list_tools(&Principal::System, &filter).strict().await.unwrap_err();
    assert!(error.token_error().unwrap().is_refused(), "{error:?}");
    lab.bind(&lab.clients.sign("machine.test"));
    gateway.list_tools(&Principal::System, &filter).strict().await.unwrap();
}
