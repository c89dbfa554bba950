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
use items::{of_submission, of_table};

/// Maximum lag of reads behind writes.
const MAX_LAG: Duration = Duration::from_secs(30);
/// The pause between two look-ups of a run.
const PAUSE: Duration = Duration::from_millis(500);

/// The source of a submission.
#[derive(Debug)]
pub enum SubmissionSource {
    /// A table of slides.
    Table(SlideTable),
    /// A submission in JSON.
    Submission(Box<RunSubmission>),
}

/// A submission with the problems found so far.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The submission, without its options until they are [applied](crate::RunOptions::apply).
    pub submission: RunSubmission,
    name: String,
    /// The line of each item in the table.
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
            let read = io::stdin().lock().read_to_end(&mut bytes);
            read.map(|_| bytes).map_err(|error| Error::input_because("cannot read stdin", error))
        } else {
            fs::read(path).map_err(|error| Error::unreadable(path, error))
        };
        let bytes = bytes?;
        let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).map(<[u8]>::to_vec).unwrap_or(bytes);
        let is_json = bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
        if !is_json {
            return Ok(Self::Table(SlideTable::parse(&bytes, &name(path), &files::folder_of(path))?));
        }
        let submission = serde_json::from_slice(&bytes).map_err(|error| unparsed(path, &error))?;
        require_time_zones(path, &bytes)?;
        Ok(Self::Submission(Box::new(submission)))
    }

    /// Creates a draft for an application. A slide that is not uploaded is a problem, unless the draft is made
    /// `beforehand`.
    ///
    /// # Errors
    ///
    /// [`Error::is_input`]: the submission is for another application, or a URL cannot be signed.
    pub fn draft(
        self,
        path: &Path,
        application: &SelectedApplication,
        places: &ObjectKeys,
        beforehand: bool,
    ) -> Result<Draft, Error> {
        match self {
            Self::Table(table) => of_table(&table, &name(path), application, places, beforehand),
            Self::Submission(submission) => of_submission(*submission, &name(path), application, places),
        }
    }
}

fn name(path: &Path) -> String {
    if path.as_os_str() == "-" { "stdin".to_owned() } else { path.display().to_string() }
}

/// Returns the current state of a run. A new run is requested again while reads lag behind.
pub(crate) async fn settled(run: &RunHandle) -> Result<Run, Error> {
    let mut waited = Duration::ZERO;
    loop {
        match run.clone().no_cache().get().await {
            Err(error) if error.is_not_found() && waited < MAX_LAG => {
                wait(PAUSE).await;
                waited += PAUSE;
            }
            found => return Ok(found?),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "neither replicas nor other processes announce that they are ready")]
pub(crate) async fn wait(pause: Duration) {
    tokio::time::sleep(pause).await;
}

/// Rejects scheduling dates without a time zone: the platform would interpret them as UTC.
fn require_time_zones(path: &Path, json: &[u8]) -> Result<(), Error> {
    let submission: Value = serde_json::from_slice(json).map_err(|error| unparsed(path, &error))?;
    for field in ["due_date", "deadline"] {
        let date = submission["scheduling"][field].as_str();
        if let Some(date) = date.filter(|date| date.parse::<jiff::Timestamp>().is_err()) {
            let (name, example) = (name(path), "2027-12-31T23:59:59Z");
            return Err(Error::input(format!(
                "{name}: the time zone of the {field} '{date}' is missing, such as {example}"
            )));
        }
    }
    Ok(())
}

/// Returns the problem of invalid JSON without its values, which may be signed URLs.
fn unparsed(path: &Path, error: &serde_json::Error) -> Error {
    let text = error.to_string();
    let known = ["missing field", "unknown field", "duplicate field", "expected", "EOF", "trailing"];
    let what = if known.iter().any(|start| text.starts_with(start)) {
        text
    } else {
        format!("a value of another kind at line {} column {}", error.line(), error.column())
    };
    Error::input(format!("{} is not a submission: {what}", name(path)))
}

impl Draft {
    /// Returns the columns of the table that the application does not use.
    pub fn unused_columns(&self) -> &[String] {
        &self.unused_columns
    }

    /// Returns the digests of the items.
    pub(crate) fn item_digests(&self) -> Vec<ItemDigest> {
        self.submission.items.iter().map(ItemDigest::of_submission).collect()
    }

    /// Validates everything.
    ///
    /// # Errors
    ///
    /// [`Error::is_input`] with all problems, row by row; [`Error::platform`] if a request failed.
    pub async fn check(self, client: &Client) -> Result<RunSubmission, Error> {
        let Self { submission, name, lines, mut problems, .. } = self;
        let checked = match client.runs().dry_run(submission).await {
            Ok(checked) => Some(checked.submission),
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
        match checked {
            Some(submission) if problems.is_empty() => Ok(submission),
            _ => {
                let texts = problems.into_iter().map(|(_, text)| text).collect();
                Err(Error::inputs(format!("{name} cannot be submitted"), texts))
            }
        }
    }
}
