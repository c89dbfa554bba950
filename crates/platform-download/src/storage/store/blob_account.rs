//! An Azure storage account, which adds the checksum to a request for which `object_store` sets no metadata.

use std::fmt;
use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue};
use object_store::azure::{AzureAccessKey, AzureAuthorizer, AzureCredential};
use object_store::client::HttpRequest;

use super::parts::COMPLETED;

/// The header with the checksum in the metadata of an object.
const CHECKSUM_HEADER: HeaderName = HeaderName::from_static("x-ms-meta-aignosticscrc32c");

/// An Azure storage account.
#[derive(Clone)]
pub(super) struct BlobAccount {
    name: String,
    /// The account key; `None` if the requests are authorized otherwise.
    key: Option<Arc<AzureCredential>>,
}

impl BlobAccount {
    /// Creates an account, with its key in base64 if it has one. An invalid key is ignored here: opening the store
    /// fails with it.
    pub(super) fn new(name: String, key: Option<&str>) -> Self {
        let key = key.and_then(|key| AzureAccessKey::try_new(key).ok());
        Self { name, key: key.map(AzureCredential::AccessKey).map(Arc::new) }
    }

    /// Adds the checksum to the request that joins the blocks of an object.
    pub(super) fn add_checksum(&self, request: &mut HttpRequest) -> object_store::Result<()> {
        let joins_blocks =
            request.uri().query().is_some_and(|query| query.split('&').any(|pair| pair == "comp=blocklist"));
        let Some(crc32c) = COMPLETED.try_with(|crc32c| *crc32c).ok().filter(|_| joins_blocks) else { return Ok(()) };
        // This cannot fail, because the text of a checksum is base64.
        let Ok(value) = HeaderValue::from_str(&crc32c.to_string()) else { return Ok(()) };
        request.headers_mut().insert(CHECKSUM_HEADER, value);
        let is_signed = |value: &HeaderValue| value.as_bytes().starts_with(b"SharedKey ");
        if let Some(key) = self.key.as_ref().filter(|_| request.headers().get(AUTHORIZATION).is_some_and(is_signed)) {
            // The signature covers the metadata, so that the request is signed again.
            request.headers_mut().remove(AUTHORIZATION);
            AzureAuthorizer::new(key, &self.name).try_authorize(request)?;
        }
        Ok(())
    }
}

/// Omits the key, which is a secret.
impl fmt::Debug for BlobAccount {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("BlobAccount").field("name", &self.name).finish_non_exhaustive()
    }
}
