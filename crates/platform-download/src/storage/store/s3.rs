//! Stores with the protocol of S3.

mod profile;

use std::env;

use http::{HeaderMap, HeaderName, HeaderValue};
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::{ClientOptions, RetryConfig};

use super::address::StoreAddress;
use super::connection::Connection;
use super::error::{Kind, StoreError};
use profile::Profile;

/// The header that requests the checksum of an object.
const CHECKSUM_MODE: HeaderName = HeaderName::from_static("x-amz-checksum-mode");
/// The variables that have precedence over a profile.
const KEYS: [&str; 2] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];

/// Returns the options of a store, which is requested to state the checksums of its objects if it is a source. The client
/// signs the headers in them.
fn options(is_source: bool) -> ClientOptions {
    let checksums = HeaderMap::from_iter([(CHECKSUM_MODE, HeaderValue::from_static("ENABLED"))]);
    if is_source { ClientOptions::new().with_default_headers(checksums) } else { ClientOptions::new() }
}

pub(super) fn open(
    address: &StoreAddress,
    connect: impl FnOnce(Option<&str>) -> Result<Connection, StoreError>,
    retry: RetryConfig,
    is_source: bool,
) -> Result<AmazonS3, StoreError> {
    let about = |error: StoreError| error.about(&address.to_string());
    let profile =
        Profile::of_environment().map_err(|error| about(Kind::Store { is_transient: false }.with(error.into())))?;
    let connection = connect(profile.as_ref().and_then(Profile::endpoint))?;
    let mut store = AmazonS3Builder::from_env()
        .with_client_options(options(is_source))
        .with_bucket_name(address.bucket().unwrap_or_default())
        .with_retry(retry)
        .with_http_connector(connection);
    // The name that the tools of AWS use.
    if let Ok(endpoint) = env::var("AWS_EC2_METADATA_SERVICE_ENDPOINT") {
        store = store.with_metadata_endpoint(endpoint.trim_end_matches('/'));
    }
    let has_keys = KEYS.iter().any(|name| env::var_os(name).is_some());
    if let Some(profile) = profile {
        let has_region = store.get_config_value(&AmazonS3ConfigKey::Region).is_some();
        if let Some(region) = profile.region().filter(|_| !has_region) {
            store = store.with_region(region);
        }
        if let Some(endpoint) = profile.endpoint() {
            let has_endpoint = [AmazonS3ConfigKey::Endpoint, AmazonS3ConfigKey::S3Endpoint]
                .iter()
                .any(|key| store.get_config_value(key).is_some());
            store = if has_endpoint { store } else { store.with_endpoint(endpoint) };
        }
        if !has_keys && let Some(credentials) = profile.credentials() {
            store = store.with_credentials(credentials);
        }
    }
    store.build().map_err(|error| about(StoreError::store(error)))
}
