use platform_api::SignedUrl;
use platform_api::models::{ApplicationId, Document, VersionNumber};
use platform_api::operations::{GetDocument, GetDocumentContent, GetDocumentFile, ListDocuments};

use crate::client::Client;
use crate::core::Group;
use crate::error::Error;

/// The maximum size of a document that is read into memory, in bytes.
#[cfg(feature = "download")]
const MAX_READ_SIZE: usize = 64 * 1024 * 1024;

/// The documents of an application version.
#[derive(Clone, Debug)]
pub struct Documents {
    client: Client,
    application: ApplicationId,
    version: VersionNumber,
}

impl Documents {
    pub(crate) fn new(client: Client, application: ApplicationId, version: VersionNumber) -> Self {
        Self { client, application, version }
    }

    /// Lists all documents.
    ///
    /// # Errors
    ///
    /// The request failed, or the version does not exist.
    pub async fn list(&self) -> Result<Vec<Document>, Error> {
        let operation = ListDocuments::new(self.application.as_str(), self.version.as_str());
        self.client.core.read_cached(operation, Group::Version).await
    }

    /// Returns a document.
    ///
    /// # Errors
    ///
    /// The request failed, or the document does not exist.
    pub async fn get(&self, name: &str) -> Result<Document, Error> {
        let operation = GetDocument::new(self.application.as_str(), self.version.as_str(), name);
        self.client.core.read_cached(operation, Group::Version).await
    }

    /// Returns a short-lived URL for downloading the file.
    ///
    /// # Errors
    ///
    /// The same as [`get`](Self::get).
    pub async fn file_url(&self, name: &str) -> Result<SignedUrl, Error> {
        let operation = GetDocumentFile::new(self.application.as_str(), self.version.as_str(), name);
        self.client.core.read_uncached(operation, Group::Version).await
    }

    /// Returns a short-lived URL for displaying the file in a browser.
    ///
    /// # Errors
    ///
    /// The same as [`get`](Self::get).
    pub async fn content_url(&self, name: &str) -> Result<SignedUrl, Error> {
        let operation = GetDocumentContent::new(self.application.as_str(), self.version.as_str(), name);
        self.client.core.read_uncached(operation, Group::Version).await
    }

    /// Downloads a document to the file `target`. An existing file is replaced only after the download is complete.
    /// The platform has no checksums for documents. If the storage sends a checksum, it is verified.
    ///
    /// # Errors
    ///
    /// [`Error::download`]: the document could not be downloaded or written.
    #[cfg(feature = "download")]
    pub async fn download(&self, name: &str, target: &std::path::Path) -> Result<platform_download::Outcome, Error> {
        use platform_download::{Expected, Target};

        let source = DocumentSource { documents: self, name };
        let downloader = self.client.downloader()?.with_retry_policy(self.client.settings().retry.for_requests());
        Ok(downloader.fetch(&source, Expected::unknown(), &Target::from(target), &|_| {}).await?)
    }

    /// Returns the content of a document of at most 64 MiB. The content is not verified, because the platform has no
    /// checksums for documents.
    ///
    /// # Errors
    ///
    /// The errors of [`get`](Self::get), or the storage request failed.
    #[cfg(feature = "download")]
    pub async fn read(&self, name: &str) -> Result<Vec<u8>, Error> {
        let url = self.file_url(name).await?;
        let policy = self.client.settings().retry.for_requests();
        let mut attempts = self.client.storage_http()?.attempts(url.expose(), &policy);
        loop {
            attempts.wait_until_ready().await.map_err(Error::unavailable)?;
            match self.read_once(&url).await {
                Err(error) if error.is_transient() => attempts.record_failure(&error, None).map_err(|_| error)?,
                outcome => {
                    attempts.record_response();
                    return outcome;
                }
            }
        }
    }

    #[cfg(feature = "download")]
    async fn read_once(&self, url: &SignedUrl) -> Result<Vec<u8>, Error> {
        let request = auth_http::Request::get(url.expose().clone()).with_timeout(self.client.settings().run.timeout);
        let response = self.client.storage_http()?.send(request).await.map_err(Error::storage)?;
        match response.status() {
            200 => Ok(response.bytes(MAX_READ_SIZE).await.map_err(Error::storage)?.to_vec()),
            status => Err(Error::storage_status(status)),
        }
    }
}

/// The source of URLs for a document.
#[cfg(feature = "download")]
#[derive(Debug)]
struct DocumentSource<'a> {
    documents: &'a Documents,
    name: &'a str,
}

#[cfg(feature = "download")]
#[async_trait::async_trait]
impl platform_download::Source for DocumentSource<'_> {
    async fn resolve(&self) -> Result<platform_download::ResolvedUrl, Box<dyn std::error::Error + Send + Sync>> {
        Ok(self.documents.file_url(self.name).await?.into())
    }
}
