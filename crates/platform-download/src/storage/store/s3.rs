//! Stores with the S3 protocol.

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
const KEY_VARIABLES: [&str; 2] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];

/// Returns the client options of a store. For a source, each request asks for the checksum of the object.
/// `object_store` includes this header in the signature.
fn client_options(is_source: bool) -> ClientOptions {
    let checksums = HeaderMap::from_iter([(CHECKSUM_MODE, HeaderValue::from_static("ENABLED"))]);
    if is_source { ClientOptions::new().with_default_headers(checksums) } else { ClientOptions::new() }
}

pub(super) fn open(
    address: &StoreAddress,
    connect: impl FnOnce(Option<&str>) -> Result<Connection, StoreError>,
    retry: RetryConfig,
    is_source: bool,
) -> Result<AmazonS3, StoreError> {
    let with_address = |error: StoreError| error.with_key(&address.to_string());
    let profile = Profile::from_environment()
        .map_err(|error| with_address(Kind::Store { is_transient: false }.with(error.into())))?;
    let connection = connect(profile.as_ref().and_then(Profile::endpoint))?;
    let mut store = AmazonS3Builder::from_env()
        .with_client_options(client_options(is_source))
        .with_bucket_name(address.bucket().unwrap_or_default())
        .with_retry(retry)
        .with_http_connector(connection);
    // The AWS tools read this variable, but `object_store` does not.
    if let Ok(endpoint) = env::var("AWS_EC2_METADATA_SERVICE_ENDPOINT") {
        store = store.with_metadata_endpoint(endpoint.trim_end_matches('/'));
    }
    let has_keys = KEY_VARIABLES.iter().any(|name| env::var_os(name).is_some());
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
    store.build().map_err(|error| with_address(StoreError::store(error)))
}
