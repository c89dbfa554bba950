//! Sources of artifact URLs that can be resolved ahead of time.

use std::error::Error;
use std::mem;
use std::sync::Arc;

use async_trait::async_trait;
use platform_api::models::ArtifactId;
use platform_download::{ResolvedUrl, Source, SourceUnavailable};
use tokio::sync::Mutex;

use super::report::DeletedFile;
use crate::{Actor, RunHandle};

type Resolved = Result<ResolvedUrl, Box<dyn Error + Send + Sync>>;

/// The source of URLs for an artifact. The first URL can be resolved before it is needed.
#[derive(Debug)]
pub(super) struct ArtifactSource {
    run: Arc<RunHandle>,
    id: ArtifactId,
    deleted: Option<Actor>,
    first: Mutex<First>,
}

/// The first URL of an artifact.
#[derive(Debug)]
enum First {
    Unresolved,
    Resolved(Resolved),
    Used,
}

impl ArtifactSource {
    pub(super) fn new(run: Arc<RunHandle>, id: ArtifactId, deleted: Option<Actor>) -> Self {
        Self { run, id, deleted, first: Mutex::new(First::Unresolved) }
    }

    /// Resolves the first URL, unless the download has already requested it.
    pub(super) async fn resolve_ahead(&self) {
        let mut first = self.first.lock().await;
        if matches!(*first, First::Unresolved) {
            *first = First::Resolved(self.request().await);
        }
    }

    async fn request(&self) -> Resolved {
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
    async fn resolve(&self) -> Resolved {
        let (mut first, is_in_flight) = match self.first.try_lock() {
            Ok(first) => (first, false),
            Err(_) => (self.first.lock().await, true),
        };
        match mem::replace(&mut *first, First::Used) {
            First::Resolved(Ok(url)) if url.is_usable() => Ok(url),
            // An earlier failure is not returned, because its cause may have been resolved.
            First::Resolved(Err(error)) if is_in_flight => Err(error),
            _ => self.request().await,
        }
    }
}
