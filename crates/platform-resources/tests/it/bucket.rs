//! The organization's bucket.

use std::time::Duration;

use auth_core::async_provider_fn;
use futures_util::TryStreamExt;
use platform_download::{Deleted, SignedUrl};
use platform_resources::{Client, Settings};

use crate::lab::{Lab, settings};

fn lifetime_seconds(url: &SignedUrl) -> u64 {
    let (_, value) = url.expose().query_pairs().find(|(name, _)| name == "X-Amz-Expires").unwrap();
    value.parse().unwrap()
}

#[tokio::test]
async fn bucket_uses_the_lifetimes_and_protocol_of_the_settings() {
    let lab = Lab::open().await;
    let bucket = lab.client.bucket().await.unwrap();
    assert_eq!(lifetime_seconds(&bucket.put_url("slide", None).unwrap()), 7200);
    assert_eq!(lifetime_seconds(&bucket.get_url("slide", None).unwrap()), 604_800);
    assert_eq!(bucket.address("slide").unwrap().to_string(), "gs://emulator-bucket/slide");
    let mut settings = settings(&lab.emulator);
    settings.bucket.protocol = "s3".to_owned();
    settings.bucket.upload_lifetime = Duration::from_secs(61);
    settings.bucket.download_lifetime = Duration::from_secs(62);
    let client = Client::builder(settings).with_tokens(lab.tokens.clone()).build().unwrap();
    let bucket = client.bucket().await.unwrap();
    assert_eq!(lifetime_seconds(&bucket.put_url("slide", None).unwrap()), 61);
    assert_eq!(lifetime_seconds(&bucket.get_url("slide", None).unwrap()), 62);
    assert_eq!(lifetime_seconds(&bucket.get_url("slide", Duration::from_secs(63)).unwrap()), 63);
    assert_eq!(bucket.address("slide").unwrap().to_string(), "s3://emulator-bucket/slide");
}

#[tokio::test]
async fn uploaded_object_is_found_and_deleted() {
    let lab = Lab::open().await;
    let slides = lab.slides();
    lab.submission(&slides).await;
    let bucket = lab.client.bucket().await.unwrap();
    let objects: Vec<_> = bucket.find("*.{tif,tiff,svs}").unwrap().try_collect().await.unwrap();
    assert_eq!(objects.len(), slides.len());
    let deletions = bucket.delete(objects.into_iter().map(|entry| entry.key)).await;
    assert!(deletions.iter().all(|deletion| matches!(deletion.result, Ok(Deleted::Deleted))), "{deletions:?}");
    assert!(bucket.list("").try_next().await.unwrap().is_none());
}

#[tokio::test]
async fn storage_requests_use_http1() {
    use tokio::io::AsyncWriteExt;

    let authority = crate::authority::Authority::new();
    let (sender, mut negotiated) = tokio::sync::mpsc::unbounded_channel();
    let url = authority.serve_offering_h2(move |mut stream| {
        let sender = sender.clone();
        async move {
            sender.send(stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec)).unwrap();
            let _ = stream.shutdown().await;
        }
    });
    let url = url.await;
    let settings = Settings::at(&"https://platform.test".parse().unwrap()).unwrap();
    let tokens = async_provider_fn(|_| async { Ok("external") });
    let client =
        Client::builder(settings).with_token_provider(tokens).with_root_certificates(authority.file()).build().unwrap();
    for http in [client.storage_http().unwrap(), client.downloader().unwrap().http()] {
        let _ = http.send(auth_http::Request::get(url.clone())).await;
        assert_ne!(negotiated.recv().await.unwrap().as_deref(), Some(&b"h2"[..]));
    }
}
