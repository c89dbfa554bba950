use platform_api::SignedUrl;
use platform_api::models::{ApplicationId, Document, VersionNumber};
use platform_api::operations::{GetDocument, GetDocumentContent, GetDocumentFile, ListDocuments};

use crate::core::Group;
use crate::{Client, Error};

/// A larger document is not read into memory.
#[cfg(feature = "download")]
const LARGEST: usize = 64 * 1024 * 1024;

/// What comes with a version of an application for people to read.
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

    /// All of them.
    ///
    /// # Errors
    ///
    /// The platform could not be asked, or there is no such version.
    pub async fn list(&self) -> Result<Vec<Document>, Error> {
        let operation = ListDocuments::new(self.application.as_str(), self.version.as_str());
        self.client.core.read(operation, Group::Version).await
    }

    /// One of them.
    ///
    /// # Errors
    ///
    /// The platform could not be asked, or there is no such document.
    pub async fn get(&self, name: &str) -> Result<Document, Error> {
        let operation = GetDocument::new(self.application.as_str(), self.version.as_str(), name);
        self.client.core.read(operation, Group::Version).await
    }

    /// A URL that leads to the file for a short time, as something to save.
    ///
    /// # Errors
    ///
    /// Those of [`get`](Self::get).
    pub async fn file_url(&self, name: &str) -> Result<SignedUrl, Error> {
        let operation = GetDocumentFile::new(self.application.as_str(), self.version.as_str(), name);
        self.client.core.fetch(operation, Group::Version).await
    }

    /// A URL that leads to the file for a short time, as something to show.
    ///
    /// # Errors
    ///
    /// Those of [`get`](Self::get).
    pub async fn content_url(&self, name: &str) -> Result<SignedUrl, Error> {
        let operation = GetDocumentContent::new(self.application.as_str(), self.version.as_str(), name);
        self.client.core.fetch(operation, Group::Version).await
    }

    /// Fetches a document into a file, in the place of what was there, whole or not at all. The platform states no checksum for
    /// documents: what comes is compared with that of the storage, if it has one.
    ///
    /// # Errors
    ///
    /// [`Error::download`]: the document could not be fetched or written.
    #[cfg(feature = "download")]
    pub async fn download(&self, name: &str, target: &std::path::Path) -> Result<platform_download::Outcome, Error> {
        use platform_download::{Expected, Target};

        let source = DocumentSource { documents: self, name };
        let downloader = self.client.downloader()?.with_retry_policy(self.client.settings().retry.for_requests());
        Ok(downloader.fetch(&source, Expected::unknown(), &Target::from(target), &|_| {}).await?)
    }

    /// The bytes of a document, up to 64 MiB of them. The platform states no checksum for documents.
    ///
    /// # Errors
    ///
    /// Those of [`get`](Self::get), or the storage could not be asked.
    #[cfg(feature = "download")]
    pub async fn read(&self, name: &str) -> Result<Vec<u8>, Error> {
        let url = self.file_url(name).await?;
        let policy = self.client.settings().retry.for_requests();
        let mut attempts = self.client.storage_http()?.attempts(url.expose(), &policy);
        loop {
            attempts.ready().await.map_err(Error::unavailable)?;
            match self.read_once(&url).await {
                Err(error) if error.is_transient() => attempts.failed(&error, None).map_err(|_| error)?,
                outcome => {
                    attempts.answered();
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
            200 => Ok(response.bytes(LARGEST).await.map_err(Error::storage)?.to_vec()),
            status => Err(Error::storage_status(status)),
        }
    }
}

/// Where a document comes from.
#[cfg(feature = "download")]
#[derive(Debug)]
struct DocumentSource<'a> {
    documents: &'a Documents,
    name: &'a str,
}

#[cfg(feature = "download")]
#[async_trait::async_trait]
impl platform_download::Source for DocumentSource<'_> {
    async fn resolve(&self) -> Result<SignedUrl, Box<dyn std::error::Error + Send + Sync>> {
        Ok(self.documents.file_url(self.name).await?)
    }
}
