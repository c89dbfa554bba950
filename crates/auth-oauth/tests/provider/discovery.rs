//! The discovery document of the provider.

use auth_oauth::Endpoints;

use crate::provider::Provider;

#[tokio::test]
async fn endpoints_are_discovered_for_their_issuer_only() {
    let Some(provider) = Provider::start() else { return };
    let discovered = Endpoints::discover(&provider.http, &provider.issuer).await.unwrap();
    let mut expected = provider.endpoints();
    // Its responses name the issuer (RFC 9207).
    expected.sends_issuer = true;
    assert_eq!(format!("{discovered:?}"), format!("{expected:?}"), "the document has the paths of Auth0");
    let other_spellings =
        [provider.issuer.trim_end_matches('/').to_owned(), provider.issuer.replace("127.0.0.1", "localhost")];
    for spelling in other_spellings {
        let error = Endpoints::discover(&provider.http, &spelling).await.unwrap_err();
        assert!(error.to_string().contains(&format!("instead of `{spelling}`")), "{error}");
    }
}
