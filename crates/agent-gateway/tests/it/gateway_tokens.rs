//! Tokens for requests that the application sends itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use agent_gateway::{CredentialError, CredentialSource, Credentials, Gateway, Principal, Server};
use async_trait::async_trait;
use auth_core::{Secret, StaticToken, static_token};
use url::Url;

/// A source whose credentials and gateway are replaced during the test.
#[derive(Clone, Debug)]
struct RotatingSource {
    providers: [Arc<StaticToken>; 2],
    is_replaced: Arc<AtomicBool>,
    /// True if the credentials contain the URL.
    has_url: bool,
}

impl RotatingSource {
    fn new(has_url: bool) -> Self {
        let provider = |text: &str| Arc::new(static_token(Secret::new(text)).unwrap());
        let providers = ["token-0", "token-1"].map(provider);
        Self { providers, is_replaced: Arc::default(), has_url }
    }

    fn index(&self) -> usize {
        usize::from(self.is_replaced.load(Ordering::SeqCst))
    }

    fn url(&self) -> Url {
        format!("https://gateway-{}.test/", self.index()).parse().unwrap()
    }
}

#[async_trait]
impl CredentialSource for RotatingSource {
    async fn credentials(&self) -> Result<Credentials, CredentialError> {
        let credentials = Credentials::from_provider(self.providers[self.index()].clone());
        Ok(if self.has_url { credentials.with_gateway_url(self.url()) } else { credentials })
    }

    async fn gateway_url(&self, _: &Principal) -> Result<Option<Url>, CredentialError> {
        Ok(Some(self.url()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn token_is_never_paired_with_the_gateway_of_other_credentials() {
    for has_url in [true, false] {
        let source = RotatingSource::new(has_url);
        let gateway = Gateway::builder(source.clone(), Vec::<Server>::new()).build();
        let token_and_gateway = async || {
            let token = gateway.system_token().await.unwrap();
            (token.token().secret().expose().to_owned(), token.gateway_url().unwrap().to_string())
        };
        let [first, second] = [0, 1].map(|index| (format!("token-{index}"), format!("https://gateway-{index}.test/")));
        assert_eq!(token_and_gateway().await, first);
        // Credentials with a URL stay in use until the source is read again after an interval.
        source.is_replaced.store(true, Ordering::SeqCst);
        assert_eq!(token_and_gateway().await, if has_url { first } else { second });
    }
}
