//! API representations of runs, items and artifacts.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::state::Records;
use crate::state::access::Reader;
use crate::state::run::{Deletion, Failure, InputArtifact, Item, OutputArtifact, Progress, Run};

/// Returns a checksum of metadata, or `None` if there are no metadata. A client sends the checksum with an update to
/// prevent lost updates.
pub(super) fn checksum(metadata: &Value) -> Option<String> {
    (!metadata.is_null()).then(|| format!("{:08x}", crc32c::crc32c(metadata.to_string().as_bytes())))
}

pub(super) fn run_state(run: &Run) -> &'static str {
    match run.end {
        Some(_) => "TERMINATED",
        None if run.items.iter().all(|item| matches!(item.progress, Progress::Pending)) => "PENDING",
        None => "PROCESSING",
    }
}

pub(super) fn run(records: &Records, run: &Run) -> Value {
    let preceding = run.pending().next().map(|_| records.preceding_items(run));
    let count = |is_match: fn(&Progress) -> bool| run.count(is_match);
    let succeeded = count(|progress| matches!(progress, Progress::Succeeded(_)));
    json!({
        "run_id": run.id,
        "application_id": run.application,
        "version_number": run.version,
        "state": run_state(run),
        "output": match succeeded { 0 => "NONE", count if count == run.items.len() => "FULL", _ => "PARTIAL" },
        "termination_reason": run.end.map(|end| end.reason),
        "error_code": run.error.as_ref().map(|error| &error.error_code),
        "error_message": run.error.as_ref().map(|error| &error.error_message),
        "statistics": {
            "item_count": run.items.len(),
            "item_pending_count": count(|progress| matches!(progress, Progress::Pending)),
            "item_processing_count": count(|progress| matches!(progress, Progress::Processing)),
            "item_user_error_count": count(|progress| matches!(progress, Progress::Failed(Failure::User(_)))),
            "item_system_error_count": count(|progress| matches!(progress, Progress::Failed(Failure::System(_)))),
            "item_skipped_count": count(|progress| matches!(progress, Progress::Skipped)),
            "item_succeeded_count": succeeded,
        },
        "custom_metadata": run.custom_metadata,
        "custom_metadata_checksum": checksum(&run.custom_metadata),
        "submitted_at": run.submitted_at.to_string(),
        "submitted_by": run.submitted_by,
        "organization_id": run.organization,
        "terminated_at": run.end.map(|end| end.at.to_string()),
        "scheduling": run.scheduling,
        "num_preceding_items_org": preceding.map(|items| items.organization),
        "num_preceding_items_platform": preceding.map(|items| items.platform),
    })
}

pub(super) fn item_state(item: &Item) -> &'static str {
    match item.progress {
        Progress::Pending => "PENDING",
        Progress::Processing => "PROCESSING",
        Progress::Succeeded(_) | Progress::Failed(_) | Progress::Skipped => "TERMINATED",
    }
}

pub(super) fn termination_reason(item: &Item) -> Option<&'static str> {
    match item.progress {
        Progress::Pending | Progress::Processing => None,
        Progress::Succeeded(_) => Some("SUCCEEDED"),
        Progress::Failed(Failure::User(_)) => Some("USER_ERROR"),
        Progress::Failed(Failure::System(_)) => Some("SYSTEM_ERROR"),
        Progress::Skipped => Some("SKIPPED"),
    }
}

/// Returns the API representation of an item. The URLs of inputs are secret, so that only users who manage the run
/// receive them.
pub(super) fn item(reader: &Reader<'_>, run: &Run, item: &Item, now: Timestamp) -> Value {
    let (code, message) = match &item.progress {
        Progress::Failed(Failure::User(message)) => (Some("APPLICATION.USER_ERROR"), Some(message)),
        Progress::Failed(Failure::System(message)) => (Some("APPLICATION.SYSTEM_ERROR"), Some(message)),
        _ => (None, None),
    };
    let deletion = run.results_deletion(now);
    let can_manage = reader.user().manages_run(run);
    let preceding = matches!(item.progress, Progress::Pending).then(|| reader.records().preceding_items(run));
    // Positions start at 1.
    let queue_position =
        |preceding: usize| preceding + run.pending().position(|other| other.id == item.id).unwrap_or(0) + 1;
    json!({
        "item_id": item.id,
        "external_id": item.external_id,
        "custom_metadata": item.custom_metadata,
        "custom_metadata_checksum": checksum(&item.custom_metadata),
        "state": item_state(item),
        "queue_position_org": preceding.map(|items| queue_position(items.organization)),
        "queue_position_platform": preceding.map(|items| queue_position(items.platform)),
        "output": if matches!(item.progress, Progress::Succeeded(_)) { "FULL" } else { "NONE" },
        "termination_reason": termination_reason(item),
        "error_code": code,
        "error_message": message,
        "terminated_at": item.terminated_at.map(|moment| moment.to_string()),
        "input_artifacts": item.inputs.iter().map(|artifact| input_artifact(artifact, can_manage)).collect::<Vec<_>>(),
        "output_artifacts": item.artifacts().iter().map(|artifact| output_artifact(artifact, deletion)).collect::<Vec<_>>(),
    })
}

fn input_artifact(artifact: &InputArtifact, can_manage: bool) -> Value {
    json!({
        "input_artifact_id": artifact.id,
        "name": artifact.name,
        "metadata": artifact.metadata,
        "download_url": can_manage.then_some(&artifact.download_url),
    })
}

fn output_artifact(artifact: &OutputArtifact, deletion: Option<Deletion>) -> Value {
    json!({
        "output_artifact_id": artifact.id,
        "name": artifact.name,
        "metadata": artifact.metadata,
        "state": "TERMINATED",
        "termination_reason": "SUCCEEDED",
        "output": match deletion {
            None => "AVAILABLE",
            Some(Deletion::ByUser) => "DELETED_BY_USER",
            Some(Deletion::BySystem) => "DELETED_BY_SYSTEM",
        },
    })
}
