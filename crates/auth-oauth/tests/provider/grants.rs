//! Grants and revocation.

use auth_core::{AccessToken, AsyncTokenProvider, Secret, TokenRequest};
use auth_oauth::{ClientCredentials, OAuthClient, PrivateKey, RefreshGrant};

use crate::provider::Provider;
use crate::user::User;

pub(crate) const BASIC_CLIENT: &str = "machine: basic/1";
pub(crate) const BASIC_SECRET: &str = r#"odd: +/%&=~"<\ ?#"#;
pub(crate) const POST_SECRET: &str = "odd: +%&";

#[tokio::test]
async fn machine_authenticates_with_basic_form_or_private_key() {
    let Some(provider) = Provider::start() else { return };
    let key = PrivateKey::from_pem(&provider.machine_key).unwrap().with_id("machine-1");
    for client in [
        provider.client(BASIC_CLIENT).with_secret_basic(Secret::new(BASIC_SECRET)),
        provider.client("machine-post").with_secret_post(Secret::new(POST_SECRET)),
        provider.client("machine-key").with_private_key(key),
    ] {
        let grant = ClientCredentials::new(client.clone());
        // The grant is used twice, because each assertion is valid only once.
        for _ in 0..2 {
            let token = grant.token(&TokenRequest::default()).await.unwrap();
            let claims = provider.verifier().verify(token.secret()).await.unwrap();
            assert_eq!(claims.sub, client.id());
            assert!(token.refresh_token().is_none() && token.expires_at().is_some());
        }
    }
}

#[tokio::test]
async fn machine_without_credentials_is_refused() {
    let Some(provider) = Provider::start() else { return };
    let wrong_secret = || Secret::new("canary");
    let unknown_key = PrivateKey::from_pem(&provider.machine_key).unwrap().with_id("machine-2");
    for client in [
        provider.client(BASIC_CLIENT).with_secret_basic(wrong_secret()),
        provider.client(BASIC_CLIENT),
        provider.client("machine-post").with_secret_post(wrong_secret()),
        provider.client("machine-key").with_private_key(unknown_key),
        provider.client("nobody").with_secret_post(wrong_secret()),
    ] {
        let error = ClientCredentials::new(client.clone()).fetch(&TokenRequest::default()).await.unwrap_err();
        assert!(error.is_refused(), "{client:?}: {error}");
        assert!(!format!("{error:?}").contains("canary"), "{error:?}");
    }
}

#[tokio::test]
async fn unknown_resource_does_not_reject_the_client() {
    let Some(provider) = Provider::start() else { return };
    let client = provider.client(BASIC_CLIENT).with_secret_basic(Secret::new(BASIC_SECRET));
    let request = TokenRequest::new().with_audience("https://other.test");
    let error = ClientCredentials::new(client).token(&request).await.unwrap_err();
    assert!(!error.is_credential_refused() && error.to_string().contains("invalid_target"), "{error}");
}

/// Returns a user, the client of the login, and the login.
fn log_in_user(provider: &Provider) -> Option<(User, OAuthClient, AccessToken)> {
    let user = User::start()?;
    let client = provider.client("native").with_scopes(["openid", "offline_access"]);
    let login = user.log_in(&client);
    Some((user, client, login))
}

#[test]
fn reuse_of_a_rotated_refresh_token_ends_the_login() {
    let Some(provider) = Provider::start() else { return };
    let Some((user, client, first)) = log_in_user(&provider) else { return };
    let (grant, request) = (RefreshGrant::new(client), TokenRequest::default());
    user.browser.runtime.block_on(async {
        let second = grant.refresh(&request, &first).await.unwrap();
        let third = grant.refresh(&request, &second).await.unwrap();
        assert!(second.refresh_token() != first.refresh_token() && third.refresh_token() != second.refresh_token());
        provider.verifier().verify(third.secret()).await.unwrap();

        let reuse_error = grant.refresh(&request, &first).await.unwrap_err();
        assert!(reuse_error.is_refused(), "{reuse_error}");
        let refresh_error = grant.refresh(&request, &third).await.unwrap_err();
        assert!(refresh_error.is_refused(), "{refresh_error}");
    });
}

#[test]
fn refresh_fails_after_revocation() {
    let Some(provider) = Provider::start() else { return };
    let Some((user, client, login)) = log_in_user(&provider) else { return };
    user.browser.runtime.block_on(async {
        // An access token alone is a JWT, which this provider refuses to revoke.
        let access_token_only = AccessToken::new(login.secret().clone()).unwrap();
        let error = client.revoke(&access_token_only).await.unwrap_err();
        assert!(error.to_string().contains("unsupported_token_type"), "{error}");

        client.revoke(&login).await.unwrap();
        let error = RefreshGrant::new(client.clone()).refresh(&TokenRequest::default(), &login).await.unwrap_err();
        assert!(error.is_refused(), "{error}");
        client.revoke(&login).await.expect("RFC 7009, section 2.2: revoking an invalid token succeeds");
    });
}
