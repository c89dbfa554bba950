use std::collections::HashMap;

use platform_resources::models::{Item, Run, RunId};
use platform_resources::{FileEvent, FileStep, ItemOutcome, RunOutcome, RunReport, Verification};
use serde_json::{Value, json};

use super::seen::SeenEvents;
use crate::error::CliError;
use crate::format::Format;
use crate::json;
use crate::output::Output;
use crate::sanitize::sanitize;
use auth_core::error_chain;

/// A printer of events. Each is printed once, with a cursor for it and all earlier ones.
pub(super) struct EventWriter<'a> {
    run: RunId,
    seen: SeenEvents,
    output: &'a Output,
    /// The printed items, by external id.
    known: HashMap<String, Item>,
    /// Files of items that are not printed yet.
    early: HashMap<String, Vec<FileEvent>>,
    /// The events of the document that is printed at the end, with their ids.
    document: Vec<(Value, Option<String>)>,
}

impl<'a> EventWriter<'a> {
    pub(super) fn new(run: RunId, seen: SeenEvents, output: &'a Output) -> Self {
        Self { run, seen, output, known: HashMap::new(), early: HashMap::new(), document: Vec::new() }
    }

    /// Prints that an item has ended.
    pub(super) fn item(&mut self, item: Item) -> Result<(), CliError> {
        if self.seen.item(&item) {
            let message = item.error_message.as_ref().map(|message| format!(": {}", sanitize(message)));
            let outcome = ItemOutcome::of(&item);
            let text = format!("{}: {}{}", sanitize(&item.external_id), sanitize(outcome), message.unwrap_or_default());
            self.write("item_ended", json!({ "item": json::item(&item)? }), text, Some(item.item_id.as_str()))?;
        }
        let early = self.early.remove(&item.external_id);
        self.known.insert(item.external_id.clone(), item);
        early.into_iter().flatten().try_for_each(|file| self.file(file))
    }

    /// Prints that a file is published.
    pub(super) fn file(&mut self, file: FileEvent) -> Result<(), CliError> {
        let FileStep::InPlace(verification) = file.progress.step else { return Ok(()) };
        let Some(item) = self.known.get(&file.item) else {
            self.early.entry(file.item.clone()).or_default().push(file);
            return Ok(());
        };
        if !self.seen.artifact(item, &file.artifact_id) {
            return Ok(());
        }
        let verified = verification != Verification::Unverified;
        let (event, how) =
            if verified { ("artifact_verified", "verified") } else { ("artifact_unverified", "unverified") };
        let about = json!({
            "external_id": file.item, "artifact": file.artifact, "artifact_id": file.artifact_id,
            "file": file.file, "bytes": file.bytes, "verification": verification,
        });
        let (item, artifact, place) = (sanitize(&file.item), sanitize(&file.artifact), sanitize(&file.file));
        self.write(event, about, format!("{item}, {artifact}: {how}, {place}"), Some(file.artifact_id.as_str()))
    }

    /// Prints the files that failed. A later call retries them.
    pub(super) fn failures(&mut self, report: &RunReport) -> Result<(), CliError> {
        for item in &report.items {
            for artifact in &item.artifacts {
                let Err(error) = &artifact.outcome else { continue };
                let error = error_chain(&**error);
                let text = format!(
                    "{}, {}: failed: {}",
                    sanitize(&item.external_id),
                    sanitize(&artifact.name),
                    sanitize(&error)
                );
                let about = json!({
                    "external_id": item.external_id, "artifact": artifact.name, "file": artifact.file, "error": error,
                });
                self.write("artifact_failed", about, text, None)?;
            }
        }
        Ok(())
    }

    /// Prints the end of the run, the last event.
    pub(super) fn end(&mut self, run: &Run) -> Result<(), CliError> {
        if !self.seen.end() {
            return Ok(());
        }
        let text = format!("run {}: {}", sanitize(&run.run_id), sanitize(RunOutcome::of(run)));
        let id = self.run.clone();
        self.write("run_ended", json!({ "run": json::run(run)? }), text, Some(id.as_str()))
    }

    /// Prints the document with all events, if the format has one. A watch that `failed` before the first event has none.
    pub(super) fn finish(&mut self, failed: bool) -> Result<(), CliError> {
        if self.output.format() != Format::Json || (failed && self.document.is_empty()) {
            return Ok(());
        }
        let (events, ids): (Vec<_>, Vec<_>) = std::mem::take(&mut self.document).into_iter().unzip();
        self.output.several(&events, String::new)?;
        ids.iter().flatten().try_for_each(|id| self.seen.printed(id))
    }

    /// Prints an event, and records it in the state file if it has an `id`.
    fn write(&mut self, event: &str, about: Value, text: String, id: Option<&str>) -> Result<(), CliError> {
        let mut shape = json!({ "event": event, "run_id": self.run, "cursor": self.seen.cursor() });
        if let (Value::Object(shape), Value::Object(mut about)) = (&mut shape, about) {
            shape.append(&mut about);
        }
        if self.output.format() == Format::Json {
            self.document.push((shape, id.map(str::to_owned)));
            return Ok(());
        }
        self.output.event(&shape, || text)?;
        id.map_or(Ok(()), |id| self.seen.printed(id))
    }
}
