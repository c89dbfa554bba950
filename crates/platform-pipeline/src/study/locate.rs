//! The look-up of the latest run of each slide on the platform.
//!
//! Candidates are the runs in the record and all runs with the id of the study. Without a record (the folder was copied
//! without it, or the study was submitted by other means), they are the runs with items of the same ids.

use std::collections::{BTreeMap, HashMap, HashSet};

use futures_util::TryStreamExt;
use platform_resources::models::{Item, ItemOutput, Run, RunId, RunState};
use platform_resources::operations::ListRuns;
use platform_resources::{ItemOutcome, RunHandle};
use serde_json::{Value, json};

use super::Study;
use super::journal::StudyJournal;
use super::record::STUDY;
use crate::Error;
use crate::submission::digest::ItemDigest;
use crate::submission::settled;

/// The maximum number of ids that are looked up without a record. They are distributed over the table, because new
/// slides can be adjacent.
const PROBES: usize = 5;
/// The maximum number of runs that one query considers, divided by 50.
const RUNS_OF_AN_ID: usize = 20;

/// The latest run of a slide.
#[derive(Clone, Debug)]
pub(super) struct Located {
    pub(super) run: RunId,
    pub(super) outcome: ItemOutcome,
    pub(super) is_processed: bool,
    pub(super) message: Option<String>,
}

/// The runs with the slides of a study.
#[derive(Debug, Default)]
pub(super) struct LocatedRuns {
    pub(super) items: HashMap<ItemDigest, Located>,
    /// The runs that are the latest for a slide, oldest first, with all of their items.
    pub(super) runs: Vec<(RunHandle, Vec<(String, ItemDigest)>)>,
}

/// Finds the latest run of each of these items, by digest and id.
pub(super) async fn locate(
    study: &Study,
    journal: &StudyJournal,
    items: &[(ItemDigest, &str)],
) -> Result<LocatedRuns, Error> {
    let mut wanted: HashSet<_> = items.iter().map(|(digest, _)| *digest).collect();
    let mut located = LocatedRuns::default();
    for run in candidates(study, journal, items).await? {
        if wanted.is_empty() {
            break;
        }
        let handle = study.client.run(run.run_id.clone());
        let found: Vec<Item> = handle.clone().nocache().items().try_collect().await?;
        let found: Vec<_> = found.into_iter().map(|item| (ItemDigest::of_item(&item), item)).collect();
        let latest: Vec<_> = found.iter().filter(|(digest, _)| wanted.remove(digest)).collect();
        if latest.is_empty() {
            continue;
        }
        let entries = latest.iter().map(|(digest, item)| (*digest, Located::of(&run, item)));
        located.items.extend(entries);
        let all = found.iter().map(|(digest, item)| (item.external_id.clone(), *digest)).collect();
        located.runs.insert(0, (handle, all));
    }
    Ok(located)
}

impl Located {
    fn of(run: &Run, item: &Item) -> Self {
        let (outcome, message) = (ItemOutcome::of(item), item.error_message.clone());
        let is_processed = run.state != RunState::Terminated || item.output == ItemOutput::Full;
        Self { run: run.run_id.clone(), outcome, is_processed, message }
    }
}

/// Returns the runs that may contain these items, latest first.
async fn candidates(study: &Study, journal: &StudyJournal, items: &[(ItemDigest, &str)]) -> Result<Vec<Run>, Error> {
    let mut runs: BTreeMap<String, Run> = BTreeMap::new();
    let (recorded, id): (Vec<_>, _) = {
        let submissions = journal.submissions().into_iter();
        (submissions.filter_map(|submission| submission.run).collect(), journal.record().id().to_owned())
    };
    for run in study.list(|query| query.with_custom_metadata(format!("$.{STUDY} ? (@ == {})", json!(id)))).await? {
        runs.insert(run.run_id.to_string(), run);
    }
    for run in recorded {
        // Reads lag behind writes, so that a list may not contain a new run yet.
        if !runs.contains_key(run.as_str()) {
            match settled(&study.client.run(run)).await {
                Ok(run) => drop(runs.insert(run.run_id.to_string(), run)),
                // The run belongs to another platform or user.
                Err(error) if error.platform().is_some_and(platform_resources::Error::is_not_found) => {}
                Err(error) => return Err(error),
            }
        }
    }
    if runs.is_empty() {
        for (_, external_id) in items.iter().step_by(items.len().div_ceil(PROBES).max(1)) {
            for run in study.list(|query| query.with_external_id(*external_id)).await? {
                runs.insert(run.run_id.to_string(), run);
            }
        }
        adopt(journal, runs.values())?;
    }
    let stated = study.version.as_ref();
    let mut runs: Vec<_> =
        runs.into_values().filter(|run| stated.is_none_or(|stated| run.version_number == *stated)).collect();
    runs.sort_by(|one, other| {
        other.submitted_at.cmp(&one.submitted_at).then_with(|| other.run_id.as_str().cmp(one.run_id.as_str()))
    });
    Ok(runs)
}

/// Adopts the study id of a run that was found, so that this folder continues the study of that run.
fn adopt<'a>(journal: &StudyJournal, mut runs: impl Iterator<Item = &'a Run>) -> Result<(), Error> {
    let id = |run: &'a Run| run.custom_metadata.as_ref()?.get(STUDY).and_then(Value::as_str);
    match runs.find_map(id) {
        Some(id) => journal.record().adopt(id),
        None => Ok(()),
    }
}

impl Study {
    /// Returns the caller's runs of the application that match a query.
    async fn list(&self, select: impl FnOnce(ListRuns) -> ListRuns) -> Result<Vec<Run>, Error> {
        let query = ListRuns::new().with_submitted_by("me").with_application_id(self.application.to_string());
        let runs = self.client.clone().nocache().runs().list_with(select(query));
        Ok(runs.limit(RUNS_OF_AN_ID * 50).try_collect().await?)
    }
}
