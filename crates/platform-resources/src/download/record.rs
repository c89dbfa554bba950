//! The JSON of results. `docs/schemas/report.json` describes it.

use std::error::Error;
use std::fmt;

use auth_core::error_chain;
use platform_api::models::{RunId, RunTerminationReason};
use platform_download::{FileRecord, Verification};
use serde::{Serialize, Serializer};

use super::report::{ArtifactReport, DeletedFiles, ItemReport, RunReport};
use crate::outcome::Actor;

impl RunReport {
    /// Returns one line for each failure and each unverified file, with the reason. Deleted files have no line, because
    /// there may be thousands: [`deleted`](Self::deleted) counts them.
    pub fn problems(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for item in &self.items {
            let name = &item.external_id;
            lines.extend(item.message.iter().map(|message| format!("{name}: {}: {message}", item.outcome)));
            for artifact in item.artifacts.iter().filter(|artifact| artifact.deleted_by().is_none()) {
                let label = format!("{name}, {}", artifact.name);
                match &artifact.outcome {
                    Err(error) => lines.push(format!("{label}: {}", error_chain(&**error))),
                    Ok(outcome) if outcome.verification == Verification::Unverified => {
                        lines.push(format!("{label}: unverified, because no checksum is available"));
                    }
                    Ok(_) => {}
                }
            }
        }
        lines.extend(self.manifest.as_ref().err().map(|error| error_chain(error)));
        lines
    }
}

/// Serializes the results of a run with its items, one item at a time, because there can be many.
impl Serialize for RunReport {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct ReportRecord<'a> {
            run_id: &'a RunId,
            termination_reason: Option<&'a RunTerminationReason>,
            item_count: usize,
            left_out: usize,
            complete: bool,
            verified: bool,
            deleted: DeletedFiles,
            manifest: Option<String>,
            items: &'a [ItemReport],
        }
        let record = ReportRecord {
            run_id: &self.run,
            termination_reason: self.termination_reason.as_ref(),
            item_count: self.item_count,
            left_out: self.left_out,
            complete: self.is_complete(),
            verified: self.is_verified(),
            deleted: self.deleted(),
            manifest: self.manifest.as_ref().ok().map(|path| path.display().to_string()),
            items: &self.items,
        };
        record.serialize(serializer)
    }
}

impl Serialize for ItemReport {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct ItemRecord<'a> {
            external_id: &'a str,
            outcome: &'static str,
            error_message: Option<&'a str>,
            artifacts: &'a [ArtifactReport],
        }
        let Self { external_id, outcome, message, artifacts, .. } = self;
        let record = ItemRecord { external_id, outcome: outcome.name(), error_message: message.as_deref(), artifacts };
        record.serialize(serializer)
    }
}

impl Serialize for ArtifactReport {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct ArtifactRecord<'a> {
            name: &'a str,
            file: &'a str,
            #[serde(flatten)]
            record: FileRecord,
            deleted_by: Option<&'static str>,
        }
        let deleted_by = self.deleted_by().map(|actor| match actor {
            Actor::User => "user",
            Actor::System => "retention",
        });
        let record = FileRecord::of(self.outcome.as_ref().map_err(|error| &**error as &(dyn Error + 'static)));
        ArtifactRecord { name: &self.name, file: &self.file, record, deleted_by }.serialize(serializer)
    }
}

/// Writes a clause with the numbers of deleted files and the originators of the deletion.
impl fmt::Display for DeletedFiles {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.count() {
            1 => formatter.write_str("1 result file is")?,
            count => write!(formatter, "{count} result files are")?,
        }
        match (self.by_user, self.by_retention) {
            (_, 0) => formatter.write_str(" deleted by a user"),
            (0, _) => formatter.write_str(" deleted by the retention policy"),
            (user, retention) => {
                write!(formatter, " deleted, {user} by a user and {retention} by the retention policy")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deleted_files_are_counted_by_originator() {
        for (by_user, by_retention, text) in [
            (1, 0, "1 result file is deleted by a user"),
            (0, 2, "2 result files are deleted by the retention policy"),
            (1, 2, "3 result files are deleted, 1 by a user and 2 by the retention policy"),
        ] {
            assert_eq!(DeletedFiles { by_user, by_retention }.to_string(), text);
        }
    }
}
