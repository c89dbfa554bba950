//! The client at an authorization server, and its refresh token.

use std::sync::Arc;
use std::time::Duration;

use agent_gateway::{
    AuthorizationError, ClientRegistration, McpAuthorization, MemoryRegistrations, Principal, RegistrationStore,
};
use auth_core::Secret;

use super::site::{Options, Site, User};
use super::{call, list_error};
use crate::fake_server::list;

#[tokio::test(flavor = "multi_thread")]
async fn registered_client_is_used_for_its_issuer_only() {
    let site = Site::start(Options::default());
    let client = |issuer: String| ClientRegistration::new(issuer, "mine").with_secret(Secret::new("canary-secret"));
    let authorization = McpAuthorization::new(User::new()).with_client(client(site.issuer()));
    list(&site.builder(authorization).build(), &Principal::System).await;
    assert_eq!(site.counts(), (1, 0, 0));
    assert_eq!(site.with(|state| state.authorizations[0]["client_id"].clone()), "mine");

    let other = Site::start(Options::default());
    let authorization = McpAuthorization::new(User::new()).with_client(client(site.issuer()));
    list(&other.builder(authorization.clone()).build(), &Principal::System).await;
    assert_eq!(other.with(|state| state.authorizations[0]["client_id"].clone()), "client-1");
    let error =
        list_error(&Site::start(Options::default()).builder(authorization.without_registration()).build()).await;
    assert!(error.authorization_error().is_some_and(AuthorizationError::is_registration), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn client_of_one_server_is_not_used_by_another() {
    let (site, other) = (Site::start(Options::default()), Site::start(Options::default()));
    // The other server names the authorization server of this one, next to its own.
    other.with(|state| state.options.other_issuer = Some(site.issuer()));
    let limited = ClientRegistration::new(site.issuer(), "mine").with_server(site.mcp());
    let everyone = ClientRegistration::new(site.issuer(), "everyone");
    let authorization = McpAuthorization::new(User::new()).without_registration();
    let error = list_error(&other.builder(authorization.clone().with_client(limited.clone())).build()).await;
    assert!(error.authorization_error().is_some_and(AuthorizationError::is_registration), "{error:?}");
    assert_eq!(site.counts(), (0, 0, 0));

    let authorization = authorization.with_client(everyone).with_client(limited);
    list(&site.builder(authorization.clone()).build(), &Principal::System).await;
    assert!(list_error(&other.builder(authorization).build()).await.is_unauthorized());
    let ids = site.with(|state| state.authorizations.iter().map(|form| form["client_id"].clone()).collect::<Vec<_>>());
    assert_eq!(ids, ["mine", "everyone"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn client_metadata_is_preferred_to_a_registration() {
    for accepts_client_metadata in [true, false] {
        let site = Site::start(Options { accepts_client_metadata, ..Options::default() });
        let url = "https://agent.example/client.json";
        let authorization = McpAuthorization::new(User::new()).with_client_metadata(url.parse().unwrap());
        list(&site.builder(authorization).build(), &Principal::System).await;
        let expected = if accepts_client_metadata { (url, 0) } else { ("client-1", 1) };
        let id = site.with(|state| state.authorizations[0]["client_id"].clone());
        assert_eq!((id.as_str(), site.counts().2), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn client_metadata_requires_that_the_issuer_names_itself() {
    let options = || Options { accepts_client_metadata: true, without_issuer: true, ..Options::default() };
    let site = Site::start(options());
    let url: url::Url = "https://agent.example/client.json".parse().unwrap();
    let authorization = McpAuthorization::new(User::new()).with_client_metadata(url);
    list(&site.builder(authorization.clone()).build(), &Principal::System).await;
    assert_eq!(site.with(|state| state.authorizations[0]["client_id"].clone()), "client-1");
    let error = list_error(&Site::start(options()).builder(authorization.without_registration()).build()).await;
    assert!(error.authorization_error().is_some_and(AuthorizationError::is_registration), "{error:?}");
    assert!(format!("{error:?}").contains("SharedRedirect"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn code_of_another_issuer_is_not_sent_to_an_issuer_that_redirects_there() {
    let honest = Site::start(Options { without_issuer: true, ..Options::default() });
    for (client, is_registered_now) in [("mine", false), ("client-1", true)] {
        let options =
            Options { without_issuer: true, mixes_up: Some((honest.url.clone(), client)), ..Options::default() };
        let evil = Site::start(options);
        let authorization = McpAuthorization::new(User::new()).with_login_timeout(Duration::from_secs(2));
        let authorization = if is_registered_now {
            list(&honest.builder(authorization.clone()).build(), &Principal::System).await;
            authorization
        } else {
            authorization.with_client(ClientRegistration::new(honest.issuer(), client))
        };
        let logins = honest.counts().0;
        let error = list_error(&evil.builder(authorization).build()).await;
        assert!(error.authorization_error().is_some(), "{error:?}");
        assert!(evil.with(|state| state.forms.is_empty()), "no code was sent");
        assert_eq!((evil.counts().2, honest.counts().0), (1, logins));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn registration_is_stored_until_it_is_refused() {
    let site = Site::start(Options::default());
    let store = Arc::new(MemoryRegistrations::default());
    let gateway = || {
        let authorization = McpAuthorization::new(User::new()).with_registrations(store.clone());
        site.builder(authorization).build()
    };
    list(&gateway(), &Principal::System).await;
    list(&gateway(), &Principal::System).await;
    assert_eq!(site.counts(), (2, 0, 1));
    assert_eq!(store.load(&site.issuer()).await.unwrap().unwrap().client_id(), "client-1");

    site.with(|state| state.options.refuses_clients = true);
    let refused = gateway();
    let error = list_error(&refused).await;
    assert!(error.token_error().is_some_and(auth_core::TokenError::is_refused), "{error:?}");
    assert!(store.load(&site.issuer()).await.unwrap().is_none());
    site.with(|state| state.options.refuses_clients = false);
    list(&refused, &Principal::System).await;
    assert_eq!(site.counts().2, 2);

    // Another redirect URL needs another registration.
    let redirect = "http://127.0.0.1:0/other".parse().unwrap();
    let authorization = McpAuthorization::new(User::new()).with_registrations(store.clone());
    let authorization = authorization.with_redirect(redirect).unwrap();
    list(&site.builder(authorization).build(), &Principal::System).await;
    let redirect = site.with(|state| state.registrations[2]["redirect_uris"][0].as_str().unwrap().to_owned());
    assert!(redirect.starts_with("http://127.0.0.1/other/"), "{redirect}");
}

#[tokio::test(flavor = "multi_thread")]
async fn refresh_token_needs_no_user() {
    let site = Site::start(Options::default());
    let initial = "canary-refresh-0";
    site.with(|state| state.refresh_tokens.insert(initial.to_owned(), ["read".to_owned()].into()));
    let authorization = McpAuthorization::headless()
        .with_client(ClientRegistration::new(site.issuer(), "mine"))
        .with_refresh_token(site.mcp(), site.issuer(), Secret::new(initial));
    let gateway = site.builder(authorization).build();
    call(&gateway, &Principal::System).await.unwrap();
    site.revoke();
    call(&gateway, &Principal::System).await.unwrap();
    assert_eq!(site.counts(), (0, 2, 0));
    let forms = site.with(|state| state.forms.clone());
    let resource = site.mcp().to_string();
    assert!(forms.iter().all(|form| form["resource"] == resource && form["client_id"] == "mine"), "{forms:?}");
    let redeemed: Vec<_> = forms.iter().map(|form| form["refresh_token"].as_str()).collect();
    assert_eq!(redeemed, [initial, "canary-refresh-1"], "it is presented once");

    let error = call(&gateway, &crate::fake_server::user("alice")).await.unwrap_err();
    assert!(error.authorization_error().is_some_and(AuthorizationError::is_login_required), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn refresh_token_is_sent_to_its_issuer_only() {
    let (site, evil) = (Site::start(Options::default()), Site::start(Options::default()));
    site.with(|state| state.options.other_issuer = Some(evil.issuer()));
    let authorization = McpAuthorization::headless();
    let authorization = authorization.with_refresh_token(site.mcp(), site.issuer(), Secret::new("canary-refresh-0"));
    let error = list_error(&site.builder(authorization).build()).await;
    assert!(error.authorization_error().is_some_and(AuthorizationError::is_login_required), "{error:?}");
    assert_eq!((site.counts().1, evil.counts().1), (0, 0));
    assert!(evil.with(|state| state.forms.is_empty()));
}
