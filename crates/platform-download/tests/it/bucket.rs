use std::sync::Arc;
use std::time::{Duration, SystemTime};

use auth_core::{Clock, Secret};
use platform_download::SignedBucket;

#[derive(Debug)]
struct Frozen;

impl Clock for Frozen {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
    }
}

fn bucket() -> SignedBucket {
    let endpoint = "https://storage.googleapis.com".parse().unwrap();
    SignedBucket::new(endpoint, "slides", "EUROPE-WEST3", "GOOGKEY", &Secret::new("canary"), Arc::new(Frozen)).unwrap()
}

#[test]
fn a_signed_url_names_the_object_and_its_period_but_not_the_key() {
    let signed = bucket().get_url("run 1/slide.svs", Duration::from_secs(3600)).unwrap();
    let url = signed.expose();
    assert!(!format!("{signed:?}").contains("Signature"));
    assert_eq!(url.path(), "/slides/run%201/slide.svs");
    let query = url.query().unwrap();
    for part in
        ["X-Amz-Date=20270115T080000Z", "X-Amz-Expires=3600", "GOOGKEY%2F20270115%2FEUROPE-WEST3%2Fs3%2Faws4_request"]
    {
        assert!(query.contains(part), "{query}");
    }
    assert!(!url.as_str().contains("canary") && !format!("{:?}", bucket()).contains("canary"));
    assert_ne!(signed, bucket().put_url("run 1/slide.svs", Duration::from_secs(3600)).unwrap());
}

#[test]
fn a_period_that_the_storage_would_refuse_is_refused_here() {
    for (seconds, good) in [(59, false), (60, true), (604_800, true), (604_801, false)] {
        assert_eq!(bucket().get_url("slide", Duration::from_secs(seconds)).is_ok(), good, "{seconds} s");
    }
}

#[test]
fn a_key_whose_url_would_name_another_object_is_refused() {
    for key in ["", ".", "..", "../other-bucket/x", "a/../../other/x", "a//b", "/a", "a/"] {
        assert!(bucket().put_url(key, Duration::from_secs(3600)).is_err(), "{key}");
        assert!(bucket().get_url(key, Duration::from_secs(3600)).is_err(), "{key}");
    }
}
