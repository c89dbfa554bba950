//! Sources of artifact URLs that can be resolved in advance.

use std::error::Error;
use std::mem;
use std::sync::Arc;

use async_trait::async_trait;
use platform_api::models::ArtifactId;
use platform_download::{ResolvedUrl, Source, SourceUnavailable};
use tokio::sync::Mutex;

use super::report::DeletedFile;
use crate::{Actor, RunHandle};

type ResolveResult = Result<ResolvedUrl, Box<dyn Error + Send + Sync>>;

/// The source of URLs for an artifact. The first URL can be resolved before it is needed.
#[derive(Debug)]
pub(super) struct ArtifactSource {
    run: Arc<RunHandle>,
    id: ArtifactId,
    deleted: Option<Actor>,
    first_url: Mutex<FirstUrl>,
}

/// The first URL of an artifact.
#[derive(Debug)]
enum FirstUrl {
    Unresolved,
    Resolved(ResolveResult),
    Used,
}

impl ArtifactSource {
    pub(super) fn new(run: Arc<RunHandle>, id: ArtifactId, deleted: Option<Actor>) -> Self {
        Self { run, id, deleted, first_url: Mutex::new(FirstUrl::Unresolved) }
    }

    /// Resolves the first URL, unless the download has already requested it.
    pub(super) async fn prefetch_url(&self) {
        let mut first_url = self.first_url.lock().await;
        if matches!(*first_url, FirstUrl::Unresolved) {
            *first_url = FirstUrl::Resolved(self.request().await);
        }
    }

    async fn request(&self) -> ResolveResult {
        if let Some(by) = self.deleted {
            return Err(DeletedFile { by }.into());
        }
        let url = self.run.artifact_url(&self.id).await.map_err(|error| {
            if error.is_transient() {
                let exhausted = error.retries_exhausted().cloned();
                Box::<dyn Error + Send + Sync>::from(SourceUnavailable::new(error, exhausted))
            } else {
                error.into()
            }
        });
        Ok(url?.into())
    }
}

#[async_trait]
impl Source for ArtifactSource {
    async fn resolve(&self) -> ResolveResult {
        let (mut first_url, is_in_flight) = match self.first_url.try_lock() {
            Ok(first_url) => (first_url, false),
            Err(_) => (self.first_url.lock().await, true),
        };
        match mem::replace(&mut *first_url, FirstUrl::Used) {
            FirstUrl::Resolved(Ok(url)) if url.is_usable() => Ok(url),
            // The failure of an earlier request is not returned, because its cause may no longer exist.
            FirstUrl::Resolved(Err(error)) if is_in_flight => Err(error),
            _ => self.request().await,
        }
    }
}
