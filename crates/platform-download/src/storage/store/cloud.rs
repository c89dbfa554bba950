//! Opening of stores by their address, with the credentials of the environment.

#[cfg(any(feature = "store-s3", feature = "store-gcs", feature = "store-azure"))]
use std::env;
use std::sync::Arc;

use auth_http::HttpClientBuilder;
use object_store::ObjectStore;
use object_store::multipart::MultipartStore;

use super::address::{Scheme, StoreAddress};
#[cfg(any(feature = "store-s3", feature = "store-gcs", feature = "store-azure"))]
use super::connection::Connection;
use super::error::{Kind, StoreError};
use super::{Store, StoreKind};
use crate::retry::RetryPolicy;
#[cfg(any(feature = "store-s3", feature = "store-gcs", feature = "store-azure"))]
use crate::retry::for_object_store;

impl Store {
    /// Opens the store of an address, without its prefix. `http` determines the connections: root certificates and
    /// proxies.
    ///
    /// Each kind of store needs a feature of this crate, and takes its credentials from the environment of the process,
    /// like the tools of its provider:
    ///
    /// - `s3://` (`store-s3`): `AWS_ACCESS_KEY_ID`, or else the profile `AWS_PROFILE` with keys or a
    ///   `credential_process`, a web identity, the container or the instance. The credentials
    ///   of profiles with SSO or a role are obtained from the AWS command line.
    ///   `AWS_ENDPOINT_URL_S3` or `AWS_ENDPOINT_URL` names another server.
    /// - `gs://` (`store-gcs`): `GOOGLE_APPLICATION_CREDENTIALS`, or else the login of `gcloud`, or the instance.
    /// - `az://` (`store-azure`): `AZURE_STORAGE_ACCOUNT_NAME` with a key, a client secret, a workload identity or the
    ///   instance. `AZURE_STORAGE_ENDPOINT` names another server.
    ///
    /// Plain http is permitted only on loopback and for the fixed addresses of metadata servers.
    ///
    /// # Errors
    ///
    /// [`StoreError::is_store`]: the feature is not enabled, or the credentials are invalid. No request is sent.
    pub fn open(address: &StoreAddress, http: &HttpClientBuilder, retry: RetryPolicy) -> Result<Self, StoreError> {
        Self::open_as(address, http, retry, false)
    }

    /// Opens the store of an address like [`open`](Self::open), for reading: each request to S3 asks for the
    /// checksum of the object.
    ///
    /// # Errors
    ///
    /// Those of [`open`](Self::open).
    pub fn open_source(
        address: &StoreAddress,
        http: &HttpClientBuilder,
        retry: RetryPolicy,
    ) -> Result<Self, StoreError> {
        Self::open_as(address, http, retry, true)
    }

    fn open_as(
        address: &StoreAddress,
        http: &HttpClientBuilder,
        retry: RetryPolicy,
        is_source: bool,
    ) -> Result<Self, StoreError> {
        if address.scheme() == Scheme::File {
            return Ok(Self::local(address.folder())?.with_retry(retry));
        }
        let StoreInterfaces { inner, parts } = open(address, http, &retry, is_source)?;
        Ok(Self::new(inner, StoreKind::Cloud, retry).with_uploads(parts, address.root()))
    }
}

/// The two interfaces of an open store.
struct StoreInterfaces {
    inner: Arc<dyn ObjectStore>,
    parts: Arc<dyn MultipartStore>,
}

#[cfg(any(feature = "store-s3", feature = "store-gcs", feature = "store-azure"))]
impl StoreInterfaces {
    fn of(store: impl ObjectStore + MultipartStore) -> Self {
        let inner = Arc::new(store);
        Self { inner: inner.clone(), parts: inner }
    }
}

#[cfg(any(feature = "store-s3", feature = "store-gcs", feature = "store-azure"))]
fn open(
    address: &StoreAddress,
    http: &HttpClientBuilder,
    retry: &RetryPolicy,
    #[cfg_attr(not(feature = "store-s3"), expect(unused_variables, reason = "only S3 treats sources differently"))]
    is_source: bool,
) -> Result<StoreInterfaces, StoreError> {
    #[cfg(any(feature = "store-gcs", feature = "store-azure"))]
    let store_error = |error: object_store::Error| StoreError::store(error).with_key(&address.to_string());
    match address.scheme() {
        #[cfg(feature = "store-s3")]
        Scheme::S3 => {
            let variables = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"];
            let connect = |profile: Option<&str>| connection(http, &variables, profile);
            super::s3::open(address, connect, for_object_store(retry), is_source).map(StoreInterfaces::of)
        }
        #[cfg(feature = "store-gcs")]
        Scheme::Google => {
            let connection = connection(http, &["STORAGE_EMULATOR_HOST", "GOOGLE_BASE_URL"], None)?;
            google(address, Connection { has_goog_hash: true, ..connection }, retry)
                .map(StoreInterfaces::of)
                .map_err(store_error)
        }
        #[cfg(feature = "store-azure")]
        Scheme::Azure => {
            let connection = connection(http, &["AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"], None)?;
            super::azure::open(address, connection, retry).map(StoreInterfaces::of).map_err(store_error)
        }
        _ => Err(unsupported(address)),
    }
}

#[cfg(not(any(feature = "store-s3", feature = "store-gcs", feature = "store-azure")))]
fn open(
    address: &StoreAddress,
    _: &HttpClientBuilder,
    _: &RetryPolicy,
    _: bool,
) -> Result<StoreInterfaces, StoreError> {
    Err(unsupported(address))
}

fn unsupported(address: &StoreAddress) -> StoreError {
    StoreError::from(Kind::Unsupported).with_key(&address.to_string())
}

/// Returns the HTTP clients for a store. The first set variable, or else `endpoint`, is the URL of the store. If it is
/// plain http, it must be on loopback.
#[cfg(any(feature = "store-s3", feature = "store-gcs", feature = "store-azure"))]
fn connection(http: &HttpClientBuilder, variables: &[&str], endpoint: Option<&str>) -> Result<Connection, StoreError> {
    let build_error = |error: auth_http::BuildError| Kind::Store { is_transient: false }.with(error.into());
    let endpoint = variables.iter().find_map(|name| env::var(name).ok()).or_else(|| endpoint.map(str::to_owned));
    let is_plain_http = endpoint.is_some_and(|url| url.starts_with("http://"));
    let storage = http.clone().without_decompression().with_http1();
    let storage = if is_plain_http { storage.with_plain_loopback() } else { storage };
    let metadata = http.clone().with_plain_metadata().with_plain_loopback();
    Ok(Connection {
        storage: storage.build().map_err(build_error)?,
        metadata: metadata.build().map_err(build_error)?,
        has_goog_hash: false,
        #[cfg(feature = "store-azure")]
        account: None,
    })
}

#[cfg(feature = "store-gcs")]
fn google(
    address: &StoreAddress,
    connection: Connection,
    retry: &RetryPolicy,
) -> object_store::Result<object_store::gcp::GoogleCloudStorage> {
    let store = object_store::gcp::GoogleCloudStorageBuilder::from_env()
        .with_client_options(object_store::ClientOptions::new())
        .with_bucket_name(address.bucket().unwrap_or_default())
        .with_retry(for_object_store(retry))
        .with_http_connector(connection);
    // The client libraries of Google read this variable.
    let endpoint = env::var("STORAGE_EMULATOR_HOST").ok();
    let store = endpoint.iter().fold(store, |store, url| store.with_base_url(url.trim_end_matches('/')));
    store.build()
}
