//! Validated submissions from a table of slides or from JSON.

pub(crate) mod items;
pub(crate) mod journal;
pub(crate) mod once;
pub(crate) mod options;
pub(crate) mod recent;

use std::collections::HashMap;
use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use platform_resources::models::{Run, RunSubmission};
use platform_resources::{Client, RunHandle};
use serde_json::Value;

use crate::application::SelectedApplication;
use crate::digest::ItemDigest;
use crate::error::Error;
use crate::files;
use crate::object_keys::ObjectKeys;
use crate::table::SlideTable;
use items::{draft_from_json, draft_from_table};

/// The maximum time after which a new run is visible on all replicas of the platform.
const MAX_REPLICATION_LAG: Duration = Duration::from_secs(30);
/// The interval between two requests for a run that is not visible yet.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// The source of a submission.
#[derive(Debug)]
pub enum SubmissionSource {
    /// A table of slides.
    Table(SlideTable),
    /// A submission in JSON.
    Submission(Box<RunSubmission>),
}

/// An unvalidated submission, with the problems found while it was created.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The submission. [`RunOptions::apply`](crate::RunOptions::apply) adds the options.
    pub submission: RunSubmission,
    name: String,
    /// The line of each item in the table, by its external id. Empty for a submission in JSON.
    lines: HashMap<String, u64>,
    problems: Vec<(u64, String)>,
    /// Columns of the table that the application does not use.
    unused_columns: Vec<String>,
}

impl SubmissionSource {
    /// Reads a table or JSON, detected automatically, from a file or from stdin (`-`).
    ///
    /// # Errors
    ///
    /// [`Error::is_input`]: the file cannot be read, or is neither a table nor a submission.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let bytes = if path.as_os_str() == "-" {
            let mut bytes = Vec::new();
            let outcome = io::stdin().lock().read_to_end(&mut bytes);
            outcome.map(|_| bytes).map_err(|error| Error::input_because("cannot read stdin", error))
        } else {
            fs::read(path).map_err(|error| Error::unreadable(path, error))
        };
        Self::parse(bytes?, path)
    }

    /// Parses a table or JSON, detected automatically. `path` is the path of the file. It appears in
    /// messages, and relative paths of slides are resolved against its folder.
    ///
    /// # Errors
    ///
    /// [`Error::is_input`]: the bytes are neither a table nor a submission.
    pub fn parse(bytes: Vec<u8>, path: &Path) -> Result<Self, Error> {
        let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).map(<[u8]>::to_vec).unwrap_or(bytes);
        let is_json = bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
        if !is_json {
            return Ok(Self::Table(SlideTable::parse(&bytes, &display_name(path), &files::folder_of(path))?));
        }
        let submission = serde_json::from_slice(&bytes).map_err(|error| parse_error(path, &error))?;
        require_time_zones(path, &bytes)?;
        Ok(Self::Submission(Box::new(submission)))
    }

    /// Creates a draft for an application. `path` is the file named in messages. If `before_upload` is true, a slide
    /// without a URL is valid if its file can be read. Otherwise a slide without a URL is a problem.
    ///
    /// # Errors
    ///
    /// [`Error::is_input`]: the submission is for another application, or a URL cannot be signed.
    pub fn draft(
        self,
        path: &Path,
        application: &SelectedApplication,
        keys: &ObjectKeys,
        before_upload: bool,
    ) -> Result<Draft, Error> {
        match self {
            Self::Table(table) => draft_from_table(&table, &display_name(path), application, keys, before_upload),
            Self::Submission(submission) => draft_from_json(*submission, &display_name(path), application, keys),
        }
    }
}

/// Returns the name of a file in messages.
fn display_name(path: &Path) -> String {
    if path.as_os_str() == "-" { "stdin".to_owned() } else { path.display().to_string() }
}

/// Returns the current state of a run. If the run is not found, it is requested again for [`MAX_REPLICATION_LAG`],
/// because a new run may not be visible yet.
pub(crate) async fn fetch_run(run: &RunHandle) -> Result<Run, Error> {
    let mut waiting_time = Duration::ZERO;
    loop {
        match run.clone().no_cache().get().await {
            Err(error) if error.is_not_found() && waiting_time < MAX_REPLICATION_LAG => {
                wait(POLL_INTERVAL).await;
                waiting_time += POLL_INTERVAL;
            }
            run => return Ok(run?),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "replicas and lock files can only be polled")]
pub(crate) async fn wait(pause: Duration) {
    tokio::time::sleep(pause).await;
}

/// Rejects scheduling dates without a time zone, because the platform would interpret them as UTC.
fn require_time_zones(path: &Path, json: &[u8]) -> Result<(), Error> {
    let submission: Value = serde_json::from_slice(json).map_err(|error| parse_error(path, &error))?;
    for field in ["due_date", "deadline"] {
        let date = submission["scheduling"][field].as_str();
        if let Some(date) = date.filter(|date| date.parse::<jiff::Timestamp>().is_err()) {
            let (name, example) = (display_name(path), "2027-12-31T23:59:59Z");
            return Err(Error::input(format!(
                "{name}: the time zone of the {field} '{date}' is missing, such as {example}"
            )));
        }
    }
    Ok(())
}

/// Returns the error for invalid JSON. The message does not contain values, because they may be signed URLs.
fn parse_error(path: &Path, error: &serde_json::Error) -> Error {
    let text = error.to_string();
    // Messages that start with these words contain no values.
    let value_free_starts = ["missing field", "unknown field", "duplicate field", "expected", "EOF", "trailing"];
    let problem = if value_free_starts.iter().any(|start| text.starts_with(start)) {
        text
    } else {
        format!("a value of another kind at line {} column {}", error.line(), error.column())
    };
    Error::input(format!("{} is not a submission: {problem}", display_name(path)))
}

impl Draft {
    /// Returns the columns of the table that the application does not use.
    pub fn unused_columns(&self) -> &[String] {
        &self.unused_columns
    }

    pub(crate) fn item_digests(&self) -> Vec<ItemDigest> {
        self.submission.items.iter().map(ItemDigest::of_submission).collect()
    }

    /// Validates the submission and returns it.
    ///
    /// # Errors
    ///
    /// [`Error::is_input`]: the submission is invalid; [`Error::details`] lists all problems, in the order of the
    /// table. [`Error::platform`]: a request failed.
    pub async fn check(self, client: &Client) -> Result<RunSubmission, Error> {
        let Self { submission, name, lines, mut problems, .. } = self;
        let valid_submission = match client.runs().dry_run(submission).await {
            Ok(dry_run) => Some(dry_run.submission),
            Err(error) if !error.problems().is_empty() => {
                problems.extend(error.problems().iter().map(|problem| {
                    let line = problem.item.as_ref().and_then(|item| lines.get(item)).copied();
                    let text = match (line, &problem.item) {
                        (Some(line), Some(item)) => {
                            format!("line {line}, {item}: {}: {}", problem.path, problem.message)
                        }
                        _ => problem.to_string(),
                    };
                    (line.unwrap_or_default(), text)
                }));
                None
            }
            Err(error) => return Err(error.into()),
        };
        problems.sort_by_key(|(line, _)| *line);
        match valid_submission {
            Some(submission) if problems.is_empty() => Ok(submission),
            _ => {
                let texts = problems.into_iter().map(|(_, text)| text).collect();
                Err(Error::inputs(format!("{name} cannot be submitted"), texts))
            }
        }
    }
}
