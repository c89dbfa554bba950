//! Clients of authorization servers: registration, client metadata and refresh tokens.

use std::sync::Arc;
use std::time::Duration;

use agent_gateway::{
    AuthorizationError, ClientRegistration, McpAuthorization, MemoryRegistrations, Principal, RegistrationStore,
};
use auth_core::Secret;

use super::protected_server::{Options, ProtectedServer, User};
use super::{call, list_error};
use crate::fake_server::list;

#[tokio::test(flavor = "multi_thread")]
async fn registered_client_is_used_for_its_issuer_only() {
    let server = ProtectedServer::start(Options::default());
    let client = |issuer: String| ClientRegistration::new(issuer, "mine").with_secret(Secret::new("canary-secret"));
    let authorization = McpAuthorization::new(User::new()).with_client(client(server.issuer()));
    list(&server.builder(authorization).build(), &Principal::System).await;
    assert_eq!(server.request_counts(), (1, 0, 0));
    assert_eq!(server.with_state(|state| state.authorizations[0]["client_id"].clone()), "mine");

    let other = ProtectedServer::start(Options::default());
    let authorization = McpAuthorization::new(User::new()).with_client(client(server.issuer()));
    list(&other.builder(authorization.clone()).build(), &Principal::System).await;
    assert_eq!(other.with_state(|state| state.authorizations[0]["client_id"].clone()), "client-1");
    let error =
        list_error(&ProtectedServer::start(Options::default()).builder(authorization.without_registration()).build())
            .await;
    assert!(error.authorization_error().is_some_and(AuthorizationError::is_registration), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn client_of_one_server_is_not_used_by_another() {
    let (server, other) = (ProtectedServer::start(Options::default()), ProtectedServer::start(Options::default()));
    // The metadata of the other server name the authorization server of the first one.
    other.with_state(|state| state.options.other_issuer = Some(server.issuer()));
    let client_of_one_server = ClientRegistration::new(server.issuer(), "mine").with_server(server.mcp());
    let client_of_all_servers = ClientRegistration::new(server.issuer(), "everyone");
    let authorization = McpAuthorization::new(User::new()).without_registration();
    let error =
        list_error(&other.builder(authorization.clone().with_client(client_of_one_server.clone())).build()).await;
    assert!(error.authorization_error().is_some_and(AuthorizationError::is_registration), "{error:?}");
    assert_eq!(server.request_counts(), (0, 0, 0));

    let authorization = authorization.with_client(client_of_all_servers).with_client(client_of_one_server);
    list(&server.builder(authorization.clone()).build(), &Principal::System).await;
    assert!(list_error(&other.builder(authorization).build()).await.is_unauthorized());
    let ids = server
        .with_state(|state| state.authorizations.iter().map(|form| form["client_id"].clone()).collect::<Vec<_>>());
    assert_eq!(ids, ["mine", "everyone"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn client_metadata_is_preferred_to_a_registration() {
    for accepts_client_metadata in [true, false] {
        let server = ProtectedServer::start(Options { accepts_client_metadata, ..Options::default() });
        let url = "https://agent.example/client.json";
        let authorization = McpAuthorization::new(User::new()).with_client_metadata(url.parse().unwrap());
        list(&server.builder(authorization).build(), &Principal::System).await;
        let expected = if accepts_client_metadata { (url, 0) } else { ("client-1", 1) };
        let id = server.with_state(|state| state.authorizations[0]["client_id"].clone());
        assert_eq!((id.as_str(), server.registrations()), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn client_metadata_requires_an_issuer_that_identifies_itself() {
    let options = || Options { accepts_client_metadata: true, without_issuer: true, ..Options::default() };
    let server = ProtectedServer::start(options());
    let url: url::Url = "https://agent.example/client.json".parse().unwrap();
    let authorization = McpAuthorization::new(User::new()).with_client_metadata(url);
    list(&server.builder(authorization.clone()).build(), &Principal::System).await;
    assert_eq!(server.with_state(|state| state.authorizations[0]["client_id"].clone()), "client-1");
    let error =
        list_error(&ProtectedServer::start(options()).builder(authorization.without_registration()).build()).await;
    assert!(error.authorization_error().is_some_and(AuthorizationError::is_registration), "{error:?}");
    assert!(format!("{error:?}").contains("SharedRedirect"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn issuer_that_redirects_to_another_issuer_gets_no_code() {
    let honest_server = ProtectedServer::start(Options { without_issuer: true, ..Options::default() });
    for (client, is_dynamic) in [("mine", false), ("client-1", true)] {
        let options = Options {
            without_issuer: true,
            redirects_logins_to: Some((honest_server.url.clone(), client)),
            ..Options::default()
        };
        let hostile_server = ProtectedServer::start(options);
        let authorization = McpAuthorization::new(User::new()).with_login_timeout(Duration::from_secs(2));
        let authorization = if is_dynamic {
            list(&honest_server.builder(authorization.clone()).build(), &Principal::System).await;
            authorization
        } else {
            authorization.with_client(ClientRegistration::new(honest_server.issuer(), client))
        };
        let logins = honest_server.logins();
        let error = list_error(&hostile_server.builder(authorization).build()).await;
        assert!(error.authorization_error().is_some(), "{error:?}");
        assert!(hostile_server.with_state(|state| state.token_requests.is_empty()), "no code was sent");
        assert_eq!((hostile_server.registrations(), honest_server.logins()), (1, logins));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn registration_is_stored_until_it_is_refused() {
    let server = ProtectedServer::start(Options::default());
    let store = Arc::new(MemoryRegistrations::default());
    let gateway = || {
        let authorization = McpAuthorization::new(User::new()).with_registrations(store.clone());
        server.builder(authorization).build()
    };
    list(&gateway(), &Principal::System).await;
    list(&gateway(), &Principal::System).await;
    assert_eq!(server.request_counts(), (2, 0, 1));
    assert_eq!(store.load(&server.issuer()).await.unwrap().unwrap().client_id(), "client-1");

    server.with_state(|state| state.options.refuses_clients = true);
    let gateway_with_refused_client = gateway();
    let error = list_error(&gateway_with_refused_client).await;
    assert!(error.token_error().is_some_and(auth_core::TokenError::is_refused), "{error:?}");
    assert!(store.load(&server.issuer()).await.unwrap().is_none());
    server.with_state(|state| state.options.refuses_clients = false);
    list(&gateway_with_refused_client, &Principal::System).await;
    assert_eq!(server.registrations(), 2);

    // Another redirect URL needs another registration.
    let redirect = "http://127.0.0.1:0/other".parse().unwrap();
    let authorization = McpAuthorization::new(User::new()).with_registrations(store.clone());
    let authorization = authorization.with_redirect(redirect).unwrap();
    list(&server.builder(authorization).build(), &Principal::System).await;
    let redirect = server.with_state(|state| state.registrations[2]["redirect_uris"][0].as_str().unwrap().to_owned());
    assert!(redirect.starts_with("http://127.0.0.1/other/"), "{redirect}");
}

#[tokio::test(flavor = "multi_thread")]
async fn refresh_token_needs_no_user() {
    let server = ProtectedServer::start(Options::default());
    let first_refresh_token = "canary-refresh-0";
    server.with_state(|state| state.refresh_tokens.insert(first_refresh_token.to_owned(), ["read".to_owned()].into()));
    let authorization = McpAuthorization::headless()
        .with_client(ClientRegistration::new(server.issuer(), "mine"))
        .with_refresh_token(server.mcp(), server.issuer(), Secret::new(first_refresh_token));
    let gateway = server.builder(authorization).build();
    call(&gateway, &Principal::System).await.unwrap();
    server.revoke();
    call(&gateway, &Principal::System).await.unwrap();
    assert_eq!(server.request_counts(), (0, 2, 0));
    let forms = server.with_state(|state| state.token_requests.clone());
    let resource = server.mcp().to_string();
    assert!(forms.iter().all(|form| form["resource"] == resource && form["client_id"] == "mine"), "{forms:?}");
    let redeemed_tokens: Vec<_> = forms.iter().map(|form| form["refresh_token"].as_str()).collect();
    assert_eq!(redeemed_tokens, [first_refresh_token, "canary-refresh-1"], "each refresh token is redeemed only once");

    let error = call(&gateway, &crate::fake_server::user("alice")).await.unwrap_err();
    assert!(error.authorization_error().is_some_and(AuthorizationError::is_login_required), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn refresh_token_is_sent_to_its_issuer_only() {
    let (server, hostile_server) =
        (ProtectedServer::start(Options::default()), ProtectedServer::start(Options::default()));
    server.with_state(|state| state.options.other_issuer = Some(hostile_server.issuer()));
    let authorization = McpAuthorization::headless();
    let authorization =
        authorization.with_refresh_token(server.mcp(), server.issuer(), Secret::new("canary-refresh-0"));
    let error = list_error(&server.builder(authorization).build()).await;
    assert!(error.authorization_error().is_some_and(AuthorizationError::is_login_required), "{error:?}");
    assert_eq!((server.refreshes(), hostile_server.refreshes()), (0, 0));
    assert!(hostile_server.with_state(|state| state.token_requests.is_empty()));
}
