use std::collections::HashMap;

use platform_resources::models::{Item, Run, RunId};
use platform_resources::{FileEvent, FileStep, ItemOutcome, RunOutcome, RunReport, Verification};
use serde_json::{Value, json};

use super::ledger::Ledger;
use crate::exit::Failure;
use crate::output::Output;
use crate::shapes;
use crate::shown::shown;
use auth_core::error_chain;

/// A printer of events. Each is printed once, with a cursor for it and all earlier ones.
pub(super) struct Teller<'a> {
    run: RunId,
    ledger: Ledger,
    output: &'a Output,
    /// The printed items, by external id.
    known: HashMap<String, Item>,
    /// Files of items that are not printed yet.
    early: HashMap<String, Vec<FileEvent>>,
}

impl<'a> Teller<'a> {
    pub(super) fn new(run: RunId, ledger: Ledger, output: &'a Output) -> Self {
        Self { run, ledger, output, known: HashMap::new(), early: HashMap::new() }
    }

    /// Prints that an item has ended.
    pub(super) fn item(&mut self, item: Item) -> Result<(), Failure> {
        if self.ledger.item(&item) {
            let message = item.error_message.as_ref().map(|message| format!(": {}", shown(message)));
            let outcome = ItemOutcome::of(&item);
            let text = format!("{}: {}{}", shown(&item.external_id), shown(outcome), message.unwrap_or_default());
            self.tell("item_ended", json!({ "item": shapes::item(&item)? }), text)?;
            self.ledger.printed(item.item_id.as_str())?;
        }
        let early = self.early.remove(&item.external_id);
        self.known.insert(item.external_id.clone(), item);
        early.into_iter().flatten().try_for_each(|file| self.file(file))
    }

    /// Prints that a file is published.
    pub(super) fn file(&mut self, file: FileEvent) -> Result<(), Failure> {
        let FileStep::InPlace(verification) = file.progress.step else { return Ok(()) };
        let Some(item) = self.known.get(&file.item) else {
            self.early.entry(file.item.clone()).or_default().push(file);
            return Ok(());
        };
        if !self.ledger.artifact(item, &file.artifact_id) {
            return Ok(());
        }
        let verified = verification != Verification::Unverified;
        let (event, how) =
            if verified { ("artifact_verified", "verified") } else { ("artifact_unverified", "unverified") };
        let about = json!({
            "external_id": file.item, "artifact": file.artifact, "artifact_id": file.artifact_id,
            "file": file.file, "bytes": file.bytes, "verification": verification,
        });
        let (item, artifact, place) = (shown(&file.item), shown(&file.artifact), shown(&file.file));
        self.tell(event, about, format!("{item}, {artifact}: {how}, {place}"))?;
        self.ledger.printed(file.artifact_id.as_str())
    }

    /// Prints the files that failed. A later call retries them.
    pub(super) fn failures(&mut self, report: &RunReport) -> Result<(), Failure> {
        for item in &report.items {
            for artifact in &item.artifacts {
                let Err(error) = &artifact.outcome else { continue };
                let error = error_chain(&**error);
                let text =
                    format!("{}, {}: failed: {}", shown(&item.external_id), shown(&artifact.name), shown(&error));
                let about = json!({
                    "external_id": item.external_id, "artifact": artifact.name, "file": artifact.file, "error": error,
                });
                self.tell("artifact_failed", about, text)?;
            }
        }
        Ok(())
    }

    /// Prints the end of the run, the last event.
    pub(super) fn end(&mut self, run: &Run) -> Result<(), Failure> {
        if !self.ledger.end() {
            return Ok(());
        }
        let text = format!("run {}: {}", shown(&run.run_id), shown(RunOutcome::of(run)));
        self.tell("run_ended", json!({ "run": shapes::run(run)? }), text)?;
        self.ledger.printed(self.run.as_str())
    }

    fn tell(&self, event: &str, about: Value, text: String) -> Result<(), Failure> {
        let mut shape = json!({ "event": event, "run_id": self.run, "cursor": self.ledger.cursor() });
        if let (Value::Object(shape), Value::Object(mut about)) = (&mut shape, about) {
            shape.append(&mut about);
        }
        self.output.event(&shape, || text)
    }
}
