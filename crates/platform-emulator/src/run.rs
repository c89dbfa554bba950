//! Runs and their items, and how they get done.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::Value;
use uuid::Uuid;

use crate::application;
use crate::platform::Platform;

/// All runs by their id.
#[derive(Default)]
pub(crate) struct Runs(Mutex<HashMap<Uuid, Run>>);

pub(crate) struct Run {
    pub(crate) id: Uuid,
    pub(crate) custom_metadata: Value,
    pub(crate) submitted_at: Timestamp,
    pub(crate) submitted_by: String,
    pub(crate) terminated_at: Option<Timestamp>,
    pub(crate) items: Vec<Item>,
}

#[derive(Clone)]
pub(crate) struct Item {
    pub(crate) id: Uuid,
    pub(crate) external_id: String,
    pub(crate) custom_metadata: Value,
    pub(crate) input: InputArtifact,
    pub(crate) progress: Progress,
    pub(crate) terminated_at: Option<Timestamp>,
}

#[derive(Clone)]
pub(crate) struct InputArtifact {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    pub(crate) download_url: String,
    pub(crate) metadata: Value,
}

#[derive(Clone)]
pub(crate) enum Progress {
    Pending,
    Processing,
    Succeeded(Vec<OutputArtifact>),
    Failed(Failure),
}

/// Why an item brought no results.
#[derive(Clone)]
pub(crate) enum Failure {
    /// The input is at fault.
    User(String),
    /// The application is.
    System(String),
}

#[derive(Clone)]
pub(crate) struct OutputArtifact {
    pub(crate) id: Uuid,
    pub(crate) name: &'static str,
    /// Where the file lies in the bucket.
    pub(crate) key: String,
    pub(crate) metadata: Value,
}

impl Runs {
    pub(crate) fn insert(&self, run: Run) {
        self.0.lock().insert(run.id, run);
    }

    /// Looks at a run that `user` submitted.
    pub(crate) fn read<T>(&self, id: Uuid, user: &str, look: impl FnOnce(&Run) -> T) -> Option<T> {
        self.0.lock().get(&id).filter(|run| run.submitted_by == user).map(look)
    }

    fn change<T>(&self, id: Uuid, change: impl FnOnce(&mut Run) -> T) -> Option<T> {
        self.0.lock().get_mut(&id).map(change)
    }
}

/// Works off the items of a run, one after the other.
pub(crate) async fn process(platform: Arc<Platform>, id: Uuid) {
    let count = platform.runs.change(id, |run| run.items.len()).unwrap_or_default();
    for index in 0..count {
        let started = platform.runs.change(id, |run| {
            run.items[index].progress = Progress::Processing;
            run.items[index].clone()
        });
        let Some(item) = started else { return };
        let progress = match application::process(&platform, id, &item).await {
            Ok(artifacts) => Progress::Succeeded(artifacts),
            Err(failure) => Progress::Failed(failure),
        };
        let now = platform.timestamp();
        platform.runs.change(id, |run| {
            run.items[index].progress = progress;
            run.items[index].terminated_at = Some(now);
        });
    }
    let now = platform.timestamp();
    platform.runs.change(id, |run| run.terminated_at = Some(now));
}
