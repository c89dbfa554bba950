//! The limit of logins for servers that always require another one.

use std::sync::Arc;
use std::time::Duration;

use agent_gateway::{AuthorizationError, Gateway, McpAuthorization, Principal};
use auth_core::Clock;

use super::list_error;
use super::site::{Options, Site, User};
use crate::clock::ManualClock;
use crate::fake_server::{list, user};

fn gateway(site: &Site) -> (Gateway, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::start());
    (site.builder(McpAuthorization::new(User::new())).with_clock(clock.clone()).build(), clock)
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_end_at_once_lead_to_three_logins() {
    let options = Options { lifetime: Some(60), without_refresh_tokens: true, ..Options::default() };
    let site = Site::start(options);
    let (gateway, clock) = gateway(&site);
    let start = clock.now();
    for logins in 1..=3 {
        gateway.evict();
        list(&gateway, &Principal::System).await;
        assert_eq!(site.counts().0, logins);
        clock.advance(Duration::from_secs(61));
    }
    for _ in 0..5 {
        let error = list_error(&gateway).await;
        let next = error.authorization_error().and_then(AuthorizationError::next_login);
        assert_eq!(next, Some(start + Duration::from_secs(600)), "{error:?}");
        clock.advance(Duration::from_secs(61));
    }
    assert_eq!(site.counts().0, 3);
    list(&gateway, &user("alice")).await;
    assert_eq!(site.counts().0, 4, "a login of another principal");
    clock.advance(Duration::from_secs(120));
    gateway.evict();
    list(&gateway, &Principal::System).await;
    assert_eq!(site.counts().0, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_are_accepted_and_then_rejected_lead_to_three_logins() {
    let site = Site::start(Options { without_refresh_tokens: true, ..Options::default() });
    let (gateway, clock) = gateway(&site);
    for _ in 0..3 {
        gateway.evict();
        list(&gateway, &Principal::System).await;
        site.revoke();
        clock.advance(Duration::from_secs(61));
    }
    for _ in 0..5 {
        assert!(list_error(&gateway).await.authorization_error().is_some());
        clock.advance(Duration::from_secs(61));
    }
    assert_eq!(site.counts().0, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn client_that_is_always_refused_is_registered_twice() {
    let site = Site::start(Options { refuses_clients: true, ..Options::default() });
    let (gateway, clock) = gateway(&site);
    for _ in 0..9 {
        assert!(list_error(&gateway).await.authorization_error().is_some());
        clock.advance(Duration::from_secs(61));
    }
    assert_eq!((site.counts().0, site.counts().2), (3, 2));
    // The period has passed.
    clock.advance(Duration::from_secs(600));
    for _ in 0..4 {
        assert!(list_error(&gateway).await.authorization_error().is_some());
        clock.advance(Duration::from_secs(61));
    }
    assert_eq!((site.counts().0, site.counts().2), (6, 3));
}
