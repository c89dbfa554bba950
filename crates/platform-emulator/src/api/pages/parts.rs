//! Parts of pages about runs.

use crate::page::format::{count_with_noun, escaped};
use crate::platform::Platform;
use crate::state::run::{Failure, Item, Progress, Run, RunEndReason};

/// The number of characters of an abbreviated id.
const SHORT_ID_LENGTH: usize = 8;

/// The number of items of a run in each state.
pub(super) struct ItemCounts {
    total: usize,
    succeeded: usize,
    failed: usize,
    skipped: usize,
    processing: usize,
}

impl ItemCounts {
    pub(super) fn of(run: &Run) -> Self {
        Self {
            total: run.items.len(),
            succeeded: run.count(|progress| matches!(progress, Progress::Succeeded(_))),
            failed: run.count(|progress| matches!(progress, Progress::Failed(_))),
            skipped: run.count(|progress| matches!(progress, Progress::Skipped)),
            processing: run.count(|progress| matches!(progress, Progress::Processing)),
        }
    }

    /// Returns a progress bar with a section for each state, and a summary of the counts.
    pub(super) fn progress_bar(&self) -> String {
        let summary = self.summary();
        let (mut x, mut sections) = (0, String::new());
        for (number, class) in
            [(self.succeeded, "good"), (self.failed, "bad"), (self.skipped, "idle"), (self.processing, "active")]
        {
            if number > 0 {
                sections += &format!(r#"<rect class="{class}" x="{x}" width="{number}" height="1"/>"#);
            }
            x += number;
        }
        let total = self.total;
        format!(
            r#"<svg class="bar" viewBox="0 0 {total} 1" preserveAspectRatio="none" aria-hidden="true">{sections}</svg><small>{summary}</small>"#
        )
    }

    /// Returns a text such as "3 of 4 items succeeded, 1 failed".
    fn summary(&self) -> String {
        let mut text = format!("{} of {} succeeded", self.succeeded, count_with_noun(self.total, "item"));
        for (number, state) in [(self.failed, "failed"), (self.skipped, "skipped"), (self.processing, "running")] {
            if number > 0 {
                text += &format!(", {number} {state}");
            }
        }
        text
    }

    /// Returns the outcome of the run as a badge.
    pub(super) fn outcome_badge(&self, run: &Run) -> String {
        let (class, text) = match run.end.map(|end| end.reason) {
            None if self.succeeded + self.failed + self.skipped + self.processing == 0 => ("idle", "Waiting"),
            None => ("active", "Running"),
            Some(RunEndReason::CanceledByUser) => ("idle", "Canceled"),
            Some(RunEndReason::CanceledBySystem) => ("bad", "Canceled by the platform"),
            Some(RunEndReason::AllItemsProcessed) if self.succeeded == self.total => ("good", "Succeeded"),
            Some(RunEndReason::AllItemsProcessed) if self.succeeded == 0 => ("bad", "Failed"),
            Some(RunEndReason::AllItemsProcessed) => ("warn", "Partly succeeded"),
        };
        badge(class, text)
    }
}

/// Returns the state or the outcome of an item as a badge.
pub(super) fn item_outcome_badge(item: &Item) -> String {
    let (class, text) = match item.progress {
        Progress::Pending => ("idle", "Waiting"),
        Progress::Processing => ("active", "Running"),
        Progress::Succeeded(_) => ("good", "Succeeded"),
        Progress::Failed(Failure::User(_)) => ("bad", "User error"),
        Progress::Failed(Failure::System(_)) => ("bad", "System error"),
        Progress::Skipped => ("idle", "Skipped"),
    };
    badge(class, text)
}

fn badge(class: &str, text: &str) -> String {
    format!(r#"<span class="badge {class}">{text}</span>"#)
}

/// Returns an abbreviated id with the whole id as its tooltip.
pub(super) fn short_id(id: uuid::Uuid) -> String {
    let id = id.to_string();
    format!(r#"<code title="{id}">{}</code>"#, &id[..SHORT_ID_LENGTH])
}

/// Returns the display name of an application, or its id if the configuration no longer has it.
pub(super) fn application_name(platform: &Platform, run: &Run) -> String {
    escaped(platform.applications.find(&run.application).map_or(&run.application, |application| &application.name))
}

/// Returns the name of a user, or the id if the configuration no longer has the user.
pub(super) fn user_name(platform: &Platform, id: &str) -> String {
    escaped(platform.accounts.user(id).map_or(id, |user| &user.name))
}
