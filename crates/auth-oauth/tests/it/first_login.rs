//! Logins whose first access token cannot be used or verified. The provider returns their refresh token only once.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use auth_core::{AccessToken, AsyncTokenCache, AsyncTokenProvider, Secret, TokenRequest, TokenSource};
use auth_http::Request;
use auth_oauth::{
    Browser, BrowserLogin, DeviceAuthorization, DeviceLogin, Endpoints, FileTokenStore, OAuthClient, OAuthError,
    Prompt, UserLogin,
};
use platform_testkit::ManualClock;
use serde_json::json;
use url::Url;
use wiremock::matchers::{body_string_contains, path};
use wiremock::{Mock, ResponseTemplate};

use crate::issuer::Issuer;

const DEVICE_CLIENT: &str = "device-client";

/// A user who approves at once.
#[derive(Debug)]
struct AutoApproval(auth_http::HttpClient);

#[async_trait]
impl Prompt for AutoApproval {
    async fn show(&self, _authorization: &DeviceAuthorization) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(())
    }
}

#[async_trait]
impl Browser for AutoApproval {
    async fn open(&self, url: &Url) -> Result<(), Box<dyn Error + Send + Sync>> {
        let parameter = |name| url.query_pairs().find(|(key, _)| key == name).unwrap().1.into_owned();
        let mut callback_url: Url = parameter("redirect_uri").parse()?;
        callback_url.query_pairs_mut().append_pair("state", &parameter("state")).append_pair("code", "code-1");
        let http = self.0.clone();
        tokio::spawn(async move { http.send(Request::get(callback_url)).await.unwrap() });
        Ok(())
    }
}

/// Starts an issuer that responds to a code with `body`, and refreshes logins of the device client only.
async fn start_issuer(body: &str) -> Issuer {
    let issuer = Issuer::start().await;
    mount_token_response(&issuer, body).await;
    issuer
}

async fn mount_token_response(issuer: &Issuer, body: &str) {
    let device_response = json!({
        "device_code": "device-1", "user_code": "ABCD-EFGH", "interval": 0, "expires_in": 300,
        "verification_uri": "https://issuer.test/activate",
    });
    let json_response = |body: &str| ResponseTemplate::new(200).set_body_string(body);
    Mock::given(path("/oauth/device/code"))
        .respond_with(json_response(&device_response.to_string()))
        .mount(&issuer.server)
        .await;
    Mock::given(path("/oauth/token"))
        .and(body_string_contains("code=device-1"))
        .respond_with(json_response(body))
        .mount(&issuer.server)
        .await;
    Mock::given(path("/oauth/token"))
        .and(body_string_contains("code=code-1"))
        .respond_with(json_response(body))
        .mount(&issuer.server)
        .await;
    let refresh_response = json!({ "access_token": "opaque", "refresh_token": "refresh-2", "expires_in": 600 });
    Mock::given(path("/oauth/token"))
        .and(body_string_contains("refresh_token=refresh-1"))
        .and(body_string_contains(format!("client_id={DEVICE_CLIENT}")))
        .respond_with(json_response(&refresh_response.to_string()))
        .mount(&issuer.server)
        .await;
}

fn client(issuer: &Issuer, id: &str) -> OAuthClient {
    OAuthClient::new(issuer.http.clone(), Endpoints::auth0(&issuer.url().parse().unwrap()).unwrap(), id)
}

fn device_login(client: OAuthClient, issuer: &Issuer) -> DeviceLogin {
    DeviceLogin::new(client, Arc::new(AutoApproval(issuer.http.clone())))
}

async fn log_in_with_browser(client: OAuthClient, issuer: &Issuer) -> Result<AccessToken, OAuthError> {
    let redirect = "http://127.0.0.1:0/".parse().unwrap();
    let login = BrowserLogin::new(client, redirect, Arc::new(AutoApproval(issuer.http.clone()))).unwrap();
    login.log_in(&TokenRequest::default()).await
}

#[tokio::test]
async fn error_of_an_unusable_access_token_has_the_login() {
    for (body, reason) in [
        (r#"{"access_token":"canary","token_type":"DPoP","refresh_token":"refresh-1"}"#, "'DPoP'"),
        (r#"{"access_token":"canary","access_token":"canary","refresh_token":"refresh-1"}"#, "`access_token`"),
        (r#"{"access_token":"can ary","refresh_token":"refresh-1"}"#, "cannot be used"),
        (r#"{"refresh_token":"refresh-1"}"#, "no access_token"),
    ] {
        let issuer = start_issuer(body).await;
        let device_outcome =
            device_login(client(&issuer, DEVICE_CLIENT), &issuer).log_in(&TokenRequest::default()).await;
        for outcome in [device_outcome, log_in_with_browser(client(&issuer, "browser-client"), &issuer).await] {
            let error = outcome.unwrap_err();
            let login = error.issued_login().unwrap();
            assert_eq!(login.refresh_token().unwrap().expose(), "refresh-1", "{body}");
            let unverified_reason = login.unverified_reason().unwrap();
            assert!(unverified_reason.contains(reason), "{unverified_reason}");
            assert!(
                !format!("{error:?} {unverified_reason} {}", login.secret().expose()).contains("canary"),
                "{error:?}"
            );
        }
    }
    for body in [r#"{"access_token":"a","token_type":"DPoP"}"#, r#"{"error":"a","refresh_token":"refresh-1"}"#] {
        let issuer = start_issuer(body).await;
        let error = log_in_with_browser(client(&issuer, "browser-client"), &issuer).await.unwrap_err();
        assert!(error.issued_login().is_none(), "{body}");
    }
}

/// Returns the ids of the clients that sent refresh requests, in order.
async fn refreshing_clients(issuer: &Issuer) -> Vec<String> {
    let requests = issuer.server.received_requests().await.unwrap();
    let forms = requests.iter().map(|request| String::from_utf8_lossy(&request.body).into_owned());
    let refreshes = forms.filter(|form| form.contains("grant_type=refresh_token"));
    let client = |form: String| form.split('&').find_map(|pair| pair.strip_prefix("client_id=").map(str::to_owned));
    refreshes.filter_map(client).collect()
}

/// The login contains the id of its client. A refusal of that client is therefore final, although another client is
/// configured.
#[tokio::test]
async fn refused_refresh_token_is_used_by_no_other_client() {
    let issuer = start_issuer(r#"{"access_token":"opaque-1","refresh_token":"refresh-0","expires_in":60}"#).await;
    for (client, error) in [(DEVICE_CLIENT, "invalid_grant"), ("browser-client", "invalid_client")] {
        Mock::given(path("/oauth/token"))
            .and(body_string_contains("refresh_token=refresh-0"))
            .and(body_string_contains(format!("client_id={client}")))
            .respond_with(ResponseTemplate::new(400).set_body_json(json!({ "error": error })))
            .mount(&issuer.server)
            .await;
    }
    let login = device_login(client(&issuer, DEVICE_CLIENT), &issuer).log_in(&TokenRequest::default()).await.unwrap();
    let user_login = UserLogin::new(client(&issuer, DEVICE_CLIENT)).with_client(client(&issuer, "browser-client"));
    let error = user_login.refresh(&TokenRequest::default(), &login).await.unwrap_err();
    assert!(error.is_grant_refused(), "{error:?}");
    assert_eq!(refreshing_clients(&issuer).await, [DEVICE_CLIENT]);
}

/// A record of an older version does not name the client. The refresh token is lost only if it is invalid for both
/// clients.
#[tokio::test]
async fn login_of_an_unknown_client_is_lost_only_if_all_clients_refuse_it() {
    let login = AccessToken::try_from("opaque-1").unwrap().with_refresh_token(Secret::new("refresh-0"));
    for (first, second, is_lost) in [
        ("invalid_client", "invalid_grant", false),
        ("invalid_grant", "unauthorized_client", false),
        ("invalid_grant", "invalid_grant", true),
    ] {
        let issuer = Issuer::start().await;
        for (client, error) in [("browser-client", first), (DEVICE_CLIENT, second)] {
            Mock::given(path("/oauth/token"))
                .and(body_string_contains(format!("client_id={client}")))
                .respond_with(ResponseTemplate::new(400).set_body_json(json!({ "error": error })))
                .mount(&issuer.server)
                .await;
        }
        let user_login = UserLogin::new(client(&issuer, "browser-client")).with_client(client(&issuer, DEVICE_CLIENT));
        let error = user_login.refresh(&TokenRequest::default(), &login).await.unwrap_err();
        assert!(error.is_refused(), "{error:?}");
        assert_eq!(error.is_grant_refused(), is_lost, "{first}, {second}: {error:?}");
    }
}

/// A success does not show that the client owns the token, because a provider also reports success for other clients.
#[tokio::test]
async fn login_of_an_unknown_client_is_revoked_by_every_client() {
    let issuer = Issuer::start().await;
    Mock::given(path("/oauth/revoke")).respond_with(ResponseTemplate::new(200)).mount(&issuer.server).await;
    let login = AccessToken::try_from("opaque-1").unwrap().with_refresh_token(Secret::new("refresh-0"));
    let user_login = UserLogin::new(client(&issuer, "browser-client")).with_client(client(&issuer, DEVICE_CLIENT));
    user_login.revoke(&login).await.unwrap();
    user_login.revoke(&login.with_client_id(DEVICE_CLIENT)).await.unwrap();
    let requests = issuer.server.received_requests().await.unwrap();
    let forms: Vec<_> = requests.iter().map(|request| String::from_utf8_lossy(&request.body)).collect();
    let count = |client: &str| forms.iter().filter(|form| form.contains(&format!("client_id={client}"))).count();
    assert_eq!((count("browser-client"), count(DEVICE_CLIENT)), (1, 2), "{forms:?}");
}

#[tokio::test]
async fn retry_after_of_the_provider_is_part_of_the_error() {
    let issuer = Issuer::start().await;
    let unavailable = ResponseTemplate::new(503).insert_header("retry-after", "7");
    Mock::given(path("/oauth/token")).respond_with(unavailable.clone()).mount(&issuer.server).await;
    let login = AccessToken::try_from("opaque").unwrap().with_refresh_token(Secret::new("refresh-1"));
    let user_login = UserLogin::new(client(&issuer, DEVICE_CLIENT));
    let error = user_login.refresh(&TokenRequest::default(), &login).await.unwrap_err();
    assert!(error.is_transient() && error.is_uncertain(), "{error:?}");
    assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
    issuer.respond_with(unavailable);
    let user_login = UserLogin::new(client(&issuer, DEVICE_CLIENT).with_verifier(issuer.verifier()));
    let error = user_login.refresh(&TokenRequest::default(), &login).await.unwrap_err();
    assert_eq!((error.is_transient(), error.retry_after()), (true, Some(Duration::from_secs(7))), "{error:?}");
}

/// An opaque access token does not name the client of the login, and neither does a record of an older version. The
/// first configured client is another client.
#[tokio::test]
async fn login_with_an_opaque_access_token_is_refreshed_by_its_client() {
    let issuer = start_issuer(r#"{"access_token":"opaque-1","refresh_token":"refresh-1","expires_in":60}"#).await;
    let refusal = ResponseTemplate::new(400).set_body_json(json!({ "error": "invalid_grant" }));
    Mock::given(path("/oauth/token"))
        .and(body_string_contains("client_id=browser-client"))
        .respond_with(refusal)
        .mount(&issuer.server)
        .await;
    let login = device_login(client(&issuer, DEVICE_CLIENT), &issuer).log_in(&TokenRequest::default()).await.unwrap();
    let user_login = UserLogin::new(client(&issuer, "browser-client")).with_client(client(&issuer, DEVICE_CLIENT));
    let folder = tempfile::TempDir::new().unwrap();
    let (store, key) = (FileTokenStore::new(folder.path()), client(&issuer, DEVICE_CLIENT).token_key().build());
    store.set(&key, &login).await.unwrap();
    let stored_login = store.get(&key).await.unwrap().unwrap();
    let login_of_older_version =
        AccessToken::try_from("opaque-1").unwrap().with_refresh_token(Secret::new("refresh-1"));
    for (login, clients) in [
        (stored_login, &[DEVICE_CLIENT][..]),
        (login_of_older_version, &[DEVICE_CLIENT, "browser-client", DEVICE_CLIENT][..]),
    ] {
        let refreshed = user_login.refresh(&TokenRequest::default(), &login).await.unwrap();
        assert_eq!(refreshed.refresh_token().unwrap().expose(), "refresh-2");
        assert_eq!(refreshed.client_id(), Some(DEVICE_CLIENT));
        assert_eq!(refreshing_clients(&issuer).await, clients);
    }
}

#[tokio::test]
async fn refresh_that_returns_a_token_of_another_subject_is_an_error() {
    let issuer = Issuer::start().await;
    let refresh_response =
        json!({ "access_token": issuer.token(json!({ "sub": "user-2" })), "refresh_token": "refresh-2" });
    Mock::given(path("/oauth/token"))
        .respond_with(ResponseTemplate::new(200).set_body_json(refresh_response))
        .mount(&issuer.server)
        .await;
    let login = |subject: &str| {
        let token = AccessToken::new(Secret::new(issuer.token(json!({ "sub": subject })))).unwrap();
        token.with_refresh_token(Secret::new("refresh-1"))
    };
    let user_login = UserLogin::new(client(&issuer, "browser-client").with_verifier(issuer.verifier()));
    let error = user_login.refresh(&TokenRequest::default(), &login("user-1")).await.unwrap_err();
    assert!(error.is_uncertain() && auth_core::error_chain(&error).contains("another subject"), "{error:?}");
    user_login.refresh(&TokenRequest::default(), &login("user-2")).await.unwrap();
}

/// Opaque access tokens name no subject, but ID tokens do.
#[tokio::test]
async fn refresh_with_another_subject_is_an_error() {
    let issuer = Issuer::start().await;
    let id_token = |subject: &str| issuer.token(json!({ "sub": subject }));
    let response = json!({ "access_token": "opaque-2", "refresh_token": "refresh-2", "id_token": id_token("user-2") });
    Mock::given(path("/oauth/token"))
        .respond_with(ResponseTemplate::new(200).set_body_json(response))
        .mount(&issuer.server)
        .await;
    let user_login = UserLogin::new(client(&issuer, "browser-client"));
    for (subject, is_same) in [("user-1", false), ("user-2", true)] {
        let login = AccessToken::try_from("opaque-1").unwrap().with_refresh_token(Secret::new("refresh-1"));
        let login = login.with_id_token(Secret::new(id_token(subject)));
        let outcome = user_login.refresh(&TokenRequest::default(), &login).await;
        assert_eq!(outcome.is_ok(), is_same, "{outcome:?}");
    }
}

/// The response has no access token. Its refresh token belongs to the other subject.
#[tokio::test]
async fn refresh_without_an_access_token_and_with_another_subject_is_an_error() {
    let issuer = Issuer::start().await;
    let id_token = |subject: &str| Secret::new(issuer.token(json!({ "sub": subject })));
    let refresh_response = json!({ "refresh_token": "refresh-2", "id_token": id_token("user-2").expose() });
    Mock::given(path("/oauth/token"))
        .respond_with(ResponseTemplate::new(200).set_body_json(refresh_response))
        .mount(&issuer.server)
        .await;
    let user_login = UserLogin::new(client(&issuer, "browser-client"));
    let login = AccessToken::try_from("opaque-1").unwrap().with_refresh_token(Secret::new("refresh-1"));
    for (subject, is_same) in [("user-1", false), ("user-2", true)] {
        let login = login.clone().with_id_token(id_token(subject));
        let outcome = user_login.refresh(&TokenRequest::default(), &login).await;
        let refresh_token = outcome.ok().and_then(|token| token.refresh_token().map(|token| token.expose().to_owned()));
        assert_eq!(refresh_token.as_deref(), is_same.then_some("refresh-2"));
    }
}

/// The keys are cached before the login. In the second case, the token names a key that is not cached.
#[tokio::test]
async fn error_of_an_unverified_access_token_has_the_login() {
    for (changes, is_unavailable) in [(json!({ "aud": "https://other.test" }), false), (json!({}), true)] {
        let kid = if is_unavailable { "key-2" } else { "key-1" };
        let header = crate::issuer::header(jsonwebtoken::Algorithm::RS256, kid);
        let issuer = Issuer::start().await;
        let token = crate::issuer::sign(&header, &issuer.claims(&changes), &crate::issuer::KEY);
        mount_token_response(&issuer, &json!({ "access_token": token, "refresh_token": "refresh-1" }).to_string())
            .await;
        let verifier = issuer.verifier();
        verifier.verify(&Secret::new(issuer.token(json!({})))).await.unwrap();
        if is_unavailable {
            issuer.respond_with(ResponseTemplate::new(503));
        }
        let error =
            log_in_with_browser(client(&issuer, "browser-client").with_verifier(verifier), &issuer).await.unwrap_err();
        assert_eq!(error.is_verification_unavailable(), is_unavailable, "{error:?}");
        let login = error.issued_login().unwrap();
        assert!(login.secret().expose() == token && login.unverified_reason().is_some());
    }
}

#[tokio::test]
async fn login_with_an_unusable_access_token_is_refreshed_by_its_client() {
    let issuer = start_issuer(r#"{"access_token":"a","token_type":"DPoP","refresh_token":"refresh-1"}"#).await;
    let folder = tempfile::TempDir::new().unwrap();
    let clock = Arc::new(ManualClock::default());
    let store = Arc::new(FileTokenStore::new(folder.path()).with_clock(clock.clone()));
    let source_of_new_process = |login: UserLogin| {
        let key = client(&issuer, "browser-client").token_key().with_identity("user").build();
        let source = TokenSource::builder(key, login).with_cache(store.clone()).with_lease(store.clone());
        source.with_clock(clock.clone()).build().unwrap()
    };
    let login = UserLogin::new(client(&issuer, "browser-client").with_clock(clock.clone()));
    let interactive_login =
        login.clone().with_device(device_login(client(&issuer, DEVICE_CLIENT).with_clock(clock.clone()), &issuer));
    let source = source_of_new_process(interactive_login);
    for _ in 0..3 {
        let error = source.token().await.unwrap_err();
        assert!(error.is_unverified() && error.to_string().contains("'DPoP'"), "{error}");
    }
    assert!(store.get(source.key()).await.unwrap().unwrap().unverified_reason().is_some());
    // Another process refreshes the login after the interval between two attempts.
    clock.advance(Duration::from_secs(301));
    let refreshed = source_of_new_process(login.with_client(client(&issuer, DEVICE_CLIENT).with_clock(clock.clone())))
        .token()
        .await
        .unwrap();
    assert_eq!((refreshed.secret().expose(), refreshed.refresh_token().unwrap().expose()), ("opaque", "refresh-2"));
    let requests = issuer.server.received_requests().await.unwrap();
    assert_eq!(requests.iter().filter(|request| request.url.path() == "/oauth/device/code").count(), 1);
}
