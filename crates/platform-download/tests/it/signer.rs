//! Signed URLs, verified by the emulator's storage.

use std::time::Duration;

use auth_http::{Method, Request};
use platform_download::{ObjectAddress, SignedUrl};

use crate::http;
use crate::storage::Storage;

const UNUSUAL_KEYS: [&str; 6] =
    ["run 1/slide 2.svs", "größe/切片/🔬.svs", "plus+minus~", "100%/%2F%2e", "?a=1&b#c", "!*'();:@&=$,[]{}|\\^`<>\" "];

async fn send(method: Method, url: &SignedUrl, body: &str) -> (u16, String) {
    let request = Request::new(method, url.expose().clone()).with_body("text/plain", body.to_owned());
    let response = http().send(request).await.unwrap();
    let status = response.status();
    (status, String::from_utf8(response.bytes(100_000).await.unwrap().to_vec()).unwrap())
}

fn object(key: &str) -> ObjectAddress {
    ObjectAddress::new("gs", "emulator-bucket", key).unwrap()
}

#[tokio::test]
async fn signed_url_works_for_any_object_name() {
    let storage = Storage::start().await;
    let signer = storage.service_account().await;
    for key in UNUSUAL_KEYS {
        let object = object(key);
        assert_eq!(send(Method::Put, &signer.put_url(&object, None).unwrap(), key).await.0, 200, "{key}");
    }
    for key in UNUSUAL_KEYS {
        let response = send(Method::Get, &signer.get_url(&object(key), None).unwrap(), "").await;
        assert_eq!(response, (200, key.to_owned()));
    }
}

#[tokio::test]
async fn signed_url_is_valid_only_for_its_method_and_lifetime() {
    let storage = Storage::start().await;
    let signer = storage.service_account().await;
    let object = object("slide");
    let put = signer.put_url(&object, Duration::from_secs(60)).unwrap();
    assert_eq!(send(Method::Put, &put, "content").await.0, 200);
    let get = signer.get_url(&object, Duration::from_secs(60)).unwrap();
    let (start, last) = get.expose().as_str().split_at(get.expose().as_str().len() - 1);
    let forged_url = format!("{start}{}", if last == "0" { "1" } else { "0" }).parse::<url::Url>().unwrap().into();
    for url in [&forged_url, &put] {
        let (status, body) = send(Method::Get, url, "").await;
        assert!(status == 403 && body.contains("SignatureDoesNotMatch"), "{status} {body}");
    }
    assert_eq!(send(Method::Get, &get, "").await, (200, "content".to_owned()));
    storage.control.shift_clock(60).await.unwrap();
    let (status, body) = send(Method::Get, &get, "").await;
    assert!(status == 400 && body.contains("ExpiredToken"), "{status} {body}");
}
