//! The display of pipeline events: notes on stderr and progress bars.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use platform_pipeline::{Event, Observer, SkipKind, SkippedFile, SlideRemarks};
use platform_resources::SubmissionEvent;
use platform_resources::models::RunId;
use serde_json::json;
use slide_metadata::IdentifierKind;
use terminal::time::timestamp;
use terminal::{Bar, Output, ProgressBars, Unit};

/// The maximum number of files that are named for each kind. The others are counted.
const MAX_NAMED: usize = 10;

/// Returns an observer that shows events as notes and bars.
pub(super) fn observer(output: &Output) -> Observer {
    let output = output.clone();
    let bars = ProgressBars::new(&output);
    let bar: std::sync::Mutex<Option<Bar>> = std::sync::Mutex::default();
    Arc::new(move |event| {
        let mut bar = bar.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Event::FolderScanned { skipped, links } = &event {
            skipped_lines(skipped).into_iter().chain(link_lines(links)).for_each(|text| output.note(text));
        } else if let Event::Submission(SubmissionEvent::Waiting { token, sent_at, until }) = &event {
            let (sent_at, until) = (timestamp(*sent_at), timestamp(*until));
            let value = || {
                json!({
                    "event": "waiting", "for": "submission", "submission_token": token,
                    "sent_at": sent_at, "until": until,
                })
            };
            let text = || {
                format!(
                    "waiting for the run of a submission that was sent at {sent_at} and may have been accepted: \
                     looking for the submission token {token} until {until}"
                )
            };
            output.print_progress(value, text);
        } else if let Some(text) = note_text(&event) {
            output.note(text);
        }
        match event {
            Event::ReadingSlides { slides, .. } => {
                *bar = Some(bars.bar("reading slides", Unit::Count, slides as u64));
            }
            Event::SlideRead => bar.iter().for_each(|bar| bar.inc(1)),
            Event::Uploading { done, total } => {
                bar.get_or_insert_with(|| bars.bar("uploading", Unit::Bytes, 0)).set(done, total);
            }
            Event::SlidesRead | Event::Uploaded { .. } => bar.take().iter().for_each(Bar::finish),
            _ => {}
        }
    })
}

fn plan_summary(new: usize, processed: usize, failed: usize, runs: &[RunId]) -> String {
    let names: Vec<_> = runs.iter().map(RunId::as_str).collect();
    let runs_text = match names.as_slice() {
        [] => String::new(),
        [run] => format!(" in run {run}"),
        runs => format!(" in runs {}", runs.join(", ")),
    };
    let text = format!("{new} new, {processed} already processed{runs_text}");
    if failed == 0 { text } else { format!("{text}; {failed} failed or skipped: --retry-failed submits them again") }
}

fn note_text(event: &Event) -> Option<String> {
    Some(match event {
        Event::DuplicateSlide { path, same } => {
            format!("{}: the same content as {}; --deduplicate excludes it", path.display(), same.display())
        }
        Event::CacheUnusable { path, reason } => {
            format!("cannot use '{}', so the next call reads the slides again: {reason}", path.display())
        }
        Event::ReadingSlides { folder, slides } => format!("reading {slides} slides in {}", folder.display()),
        Event::SlideRemarks(remarks) => remarks_line(remarks),
        Event::RowRemoved { external_id } => format!("{external_id}: row removed from the table"),
        Event::MappingWithoutMatch { expression } => {
            format!("the expression '{expression}' of --mapping matches no slide")
        }
        Event::UnknownMappingColumn { column, columns } => {
            format!("the table has no column {column} for --mapping; it has {}", columns.join(", "))
        }
        Event::ValuesReplaced { cells } => format!("--mapping replaced {cells} values"),
        Event::TablePrepared { csv, summary } => format!("{}: {summary}", csv.display()),
        Event::Uploaded { sent, already_present } => {
            format!("{sent} slides uploaded, {already_present} already present")
        }
        Event::IdsUnchanged { rows } => {
            format!("{rows} slides keep their external id from the table, despite --external-id")
        }
        Event::Planned { new, processed, failed, runs } => plan_summary(*new, *processed, *failed, runs),
        Event::SlideFailedBefore(slide) => {
            let reason = slide.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
            format!("{}: {}{reason}", slide.file, slide.status.name())
        }
        Event::LockWaiting { path } => {
            format!("waiting for another process that is submitting slides; it holds the lock '{}'", path.display())
        }
        Event::SubmittedElsewhere => {
            "some slides were submitted elsewhere during the upload: all slides are looked up again".to_owned()
        }
        Event::RunFound { run } => format!("run {run} was submitted before"),
        _ => return None,
    })
}

/// Returns lines for skipped files: up to [`MAX_NAMED`] files of each kind, and the number of files that are not slides.
fn skipped_lines(skipped: &[SkippedFile]) -> Vec<String> {
    let (others, notable): (Vec<_>, Vec<_>) = skipped.iter().partition(|skipped| skipped.kind == SkipKind::Other);
    let mut kinds: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for skipped in notable {
        kinds.entry(skipped.kind).or_default().push(skipped);
    }
    let mut lines = Vec::new();
    for (kind, files) in kinds {
        let named_files = files.iter().take(MAX_NAMED);
        lines.extend(named_files.map(|file| format!("{}: skipped: {}", file.path.display(), file.reason)));
        if let Some(more @ 1..) = files.len().checked_sub(MAX_NAMED) {
            lines.push(format!("{more} more skipped ({}); --format json lists all", kind.name()));
        }
    }
    match others.len() {
        0 => {}
        1 => lines.push("1 other file is not a slide".to_owned()),
        count => lines.push(format!("{count} other files are not slides")),
    }
    lines
}

fn link_lines(linked_files: &[(PathBuf, PathBuf)]) -> Vec<String> {
    let first_links = linked_files.iter().take(MAX_NAMED);
    let mut lines: Vec<_> =
        first_links.map(|(link, target)| format!("{}: a link to {}", link.display(), target.display())).collect();
    if let Some(more @ 1..) = linked_files.len().checked_sub(MAX_NAMED) {
        lines.push(format!("{more} more links; --format json lists all"));
    }
    lines
}

/// Returns the remarks about a slide on one line: warnings, and the kinds of identifying data.
fn remarks_line(remarks: &SlideRemarks) -> String {
    let mut parts: Vec<_> = remarks.warnings.iter().map(ToString::to_string).collect();
    let kinds: BTreeSet<_> = remarks.identifiers.iter().map(|identifier| identifier.kind).collect();
    if !kinds.is_empty() {
        let kinds: Vec<_> = kinds.into_iter().map(IdentifierKind::name).collect();
        parts.push(format!("may identify a patient: {}", kinds.join(", ")));
    }
    format!("{}: {}", remarks.path.display(), parts.join("; "))
}
