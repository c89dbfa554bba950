//! The maximum number of logins for servers that keep requiring another login.

use std::sync::Arc;
use std::time::Duration;

use agent_gateway::{AuthorizationError, Gateway, McpAuthorization, Principal};
use auth_core::Clock;

use super::list_error;
use super::protected_server::{Options, ProtectedServer, User};
use crate::clock::ManualClock;
use crate::fake_server::{list, user};

/// Returns a gateway with a manual clock.
fn gateway(server: &ProtectedServer) -> (Gateway, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::start());
    (server.builder(McpAuthorization::new(User::new())).with_clock(clock.clone()).build(), clock)
}

#[tokio::test(flavor = "multi_thread")]
async fn short_lived_tokens_lead_to_at_most_three_logins() {
    let options = Options { lifetime: Some(60), without_refresh_tokens: true, ..Options::default() };
    let server = ProtectedServer::start(options);
    let (gateway, clock) = gateway(&server);
    let start = clock.now();
    for logins in 1..=3 {
        gateway.evict();
        list(&gateway, &Principal::System).await;
        assert_eq!(server.logins(), logins);
        clock.advance(Duration::from_secs(61));
    }
    for _ in 0..5 {
        let error = list_error(&gateway).await;
        let next_login = error.authorization_error().and_then(AuthorizationError::next_login);
        assert_eq!(next_login, Some(start + Duration::from_secs(600)), "{error:?}");
        clock.advance(Duration::from_secs(61));
    }
    assert_eq!(server.logins(), 3);
    list(&gateway, &user("alice")).await;
    assert_eq!(server.logins(), 4, "another principal may still log in");
    clock.advance(Duration::from_secs(120));
    gateway.evict();
    list(&gateway, &Principal::System).await;
    assert_eq!(server.logins(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn revoked_tokens_lead_to_at_most_three_logins() {
    let server = ProtectedServer::start(Options { without_refresh_tokens: true, ..Options::default() });
    let (gateway, clock) = gateway(&server);
    for _ in 0..3 {
        gateway.evict();
        list(&gateway, &Principal::System).await;
        server.revoke();
        clock.advance(Duration::from_secs(61));
    }
    for _ in 0..5 {
        assert!(list_error(&gateway).await.authorization_error().is_some());
        clock.advance(Duration::from_secs(61));
    }
    assert_eq!(server.logins(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn client_that_is_always_refused_is_registered_twice() {
    let server = ProtectedServer::start(Options { refuses_clients: true, ..Options::default() });
    let (gateway, clock) = gateway(&server);
    for _ in 0..9 {
        assert!(list_error(&gateway).await.authorization_error().is_some());
        clock.advance(Duration::from_secs(61));
    }
    assert_eq!((server.logins(), server.registrations()), (3, 2));
    // The period of the limit has passed.
    clock.advance(Duration::from_secs(600));
    for _ in 0..4 {
        assert!(list_error(&gateway).await.authorization_error().is_some());
        clock.advance(Duration::from_secs(61));
    }
    assert_eq!((server.logins(), server.registrations()), (6, 3));
}
