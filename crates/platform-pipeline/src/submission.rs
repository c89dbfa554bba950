//! From a table of slides, or JSON, to a submission that has been checked.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use auth_core::{Clock, Secret, SystemClock};
use platform_resources::models::{InputArtifactSpec, InputArtifactSubmission, ItemSubmission, Run, RunSubmission};
use platform_resources::{Client, ItemSdkMetadata, JsonObject, RunHandle};
use serde_json::{Value, json};

use self::digest::ItemDigest;
use crate::object_keys::missing;
use crate::scan::external_ids::too_long;
use crate::table::{CHECKSUM, COLUMNS, HEIGHT, MAX_ID_LENGTH, RESOLUTION, URL, WIDTH};
use crate::{Error, ObjectKeys, RunOptions, SelectedApplication, SlideLocation, SlideRow, SlideTable, files};

pub(crate) mod digest;
pub(crate) mod journal;
pub(crate) mod once;
pub(crate) mod options;

/// Maximum lag of reads behind writes.
const LAG: Duration = Duration::from_secs(30);
/// The pause between two look-ups of a run.
const PAUSE: Duration = Duration::from_millis(500);

/// What a run is submitted from.
#[derive(Debug)]
pub enum SubmissionSource {
    /// A table of slides.
    Table(SlideTable),
    /// A submission in JSON.
    Submission(Box<RunSubmission>),
}

/// A submission, with what is wrong with it already.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The submission, without its options until they are [applied](crate::RunOptions::apply).
    pub submission: RunSubmission,
    name: String,
    /// The line of the table for each item.
    lines: HashMap<String, u64>,
    problems: Vec<(u64, String)>,
    /// Columns of the table that the application does not use.
    unused_columns: Vec<String>,
}

impl SubmissionSource {
    /// Reads a table or JSON, whichever it is, from a file or from stdin (`-`).
    ///
    /// # Errors
    ///
    /// [`Error::is_input`]: the file cannot be read, or is neither a table nor a submission.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let bytes = if path.as_os_str() == "-" {
            let mut bytes = Vec::new();
            let read = io::stdin().lock().read_to_end(&mut bytes);
            read.map(|_| bytes).map_err(|error| Error::input_because("stdin cannot be read", error))
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

    /// A draft for an application. A slide that is not uploaded is a problem, unless the draft is made `beforehand`.
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

/// A run as the platform knows it now. One that was just submitted is asked for again while reads lag behind.
pub(crate) async fn settled(run: &RunHandle) -> Result<Run, Error> {
    let mut waited = Duration::ZERO;
    loop {
        match run.clone().nocache().get().await {
            Err(error) if error.is_not_found() && waited < LAG => {
                wait(PAUSE).await;
                waited += PAUSE;
            }
            found => return Ok(found?),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a platform whose reads lag is asked again")]
async fn wait(pause: Duration) {
    tokio::time::sleep(pause).await;
}

/// Refuses dates of the scheduling without a time zone: the platform would take them for UTC.
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

/// What is wrong with JSON, without the values in it: one may be the key to a slide.
fn unparsed(path: &Path, error: &serde_json::Error) -> Error {
    let text = error.to_string();
    let known = ["missing field", "unknown field", "duplicate field", "expected", "EOF", "trailing"];
    let what = if known.iter().any(|start| text.starts_with(start)) {
        text
    } else {
        format!("a value of another kind at line {} column {}", error.line(), error.column())
    };
    Error::input(format!("{} is no submission: {what}", name(path)))
}

/// One item for each row of a table.
pub(crate) fn of_table(
    table: &SlideTable,
    name: &str,
    application: &SelectedApplication,
    keys: &ObjectKeys,
    beforehand: bool,
) -> Result<Draft, Error> {
    let input = application.input()?;
    let (mut items, mut problems, mut lines) = (Vec::new(), Vec::new(), HashMap::new());
    for (row, location) in table.rows.iter().zip(keys.locate(table)?) {
        let found = row_problems(table, row, beforehand).into_iter();
        problems.extend(found.map(|problem| (row.line, format!("{}: {problem}", row.named()))));
        if let Some(first) = lines.insert(row.external_id().to_owned(), row.line) {
            problems.push((row.line, format!("{}: line {first} is of the same slide", row.named())));
            // Other problems are reported for one of them.
            lines.insert(row.external_id().to_owned(), first);
            continue;
        }
        let metadata = metadata(table, row, input);
        let mut artifact = InputArtifactSubmission::new(input.name.as_str(), Secret::new(""), metadata);
        let mut sdk = None;
        match location {
            SlideLocation::Url(url) => artifact.download_url = Secret::new(url),
            SlideLocation::Object(key) => sdk = Some(sign(&mut artifact, &key, keys)?),
        }
        items.push(described(ItemSubmission::new(row.external_id(), vec![artifact]), sdk)?);
    }
    let submission = RunSubmission::new(application.id.clone(), items).with_version_number(application.number());
    let unused_columns = unused_columns(table, input);
    Ok(Draft { submission, name: name.to_owned(), lines, problems, unused_columns })
}

/// The digests of the slides of a table, in its order.
pub(crate) fn item_digests(table: &SlideTable, application: &SelectedApplication) -> Result<Vec<ItemDigest>, Error> {
    let input = application.input()?;
    let digest = |row: &SlideRow| {
        let artifact = InputArtifactSubmission::new(input.name.as_str(), Secret::new(""), metadata(table, row, input));
        ItemDigest::of_submission(&ItemSubmission::new(row.external_id(), vec![artifact]))
    };
    Ok(table.rows().iter().map(digest).collect())
}

fn row_problems(table: &SlideTable, row: &SlideRow, beforehand: bool) -> Vec<String> {
    let mut problems = Vec::new();
    if row.get(URL).is_empty() {
        let problem = if beforehand {
            missing(table, row)
        } else {
            Some(format!("{URL} is empty: `aignostics run upload` fills it"))
        };
        problems.extend(problem);
    }
    let length = row.external_id().chars().count();
    problems.extend((length > MAX_ID_LENGTH).then(|| too_long(length)));
    problems
}

/// The columns that neither this crate nor the application knows.
fn unused_columns(table: &SlideTable, input: &InputArtifactSpec) -> Vec<String> {
    let properties = input.metadata_schema.get("properties").and_then(Value::as_object);
    let is_used = |column: &str| {
        COLUMNS.contains(&column) || properties.is_some_and(|properties| properties.contains_key(column))
    };
    table.columns().iter().filter(|column| !is_used(column)).cloned().collect()
}

/// A submission as it is, with URLs that the platform can read.
fn of_submission(
    mut submission: RunSubmission,
    name: &str,
    application: &SelectedApplication,
    places: &ObjectKeys,
) -> Result<Draft, Error> {
    if submission.application_id != application.id {
        let text = format!("{name} is for {}, not for {}", submission.application_id, application.id);
        return Err(Error::input(text));
    }
    submission.version_number = Some(application.number().to_owned());
    let mut items = Vec::new();
    for mut item in submission.items {
        let mut sdk = None;
        for artifact in &mut item.input_artifacts {
            let url = artifact.download_url.expose().to_owned();
            if let Some(key) = places.key(&url) {
                sdk = Some(sign(artifact, key, places)?);
            }
        }
        items.push(described(item, sdk)?);
    }
    submission.items = items;
    let lengths = submission.items.iter().map(|item| (item, item.external_id.chars().count()));
    let found = lengths.filter(|(_, length)| *length > MAX_ID_LENGTH);
    let problems =
        found.map(|(item, length)| (0, format!("item {}: {}", item.external_id, too_long(length)))).collect();
    let (lines, unused_columns) = (HashMap::new(), Vec::new());
    Ok(Draft { submission, name: name.to_owned(), lines, problems, unused_columns })
}

/// Lets whoever has the URL of the artifact read an object.
fn sign(artifact: &mut InputArtifactSubmission, key: &str, places: &ObjectKeys) -> Result<ItemSdkMetadata, Error> {
    let url = places.bucket.get_url(key, None)?;
    let sdk = ItemSdkMetadata::new().with_bucket(places.bucket.name(), key, &url);
    artifact.download_url = url.into();
    Ok(sdk)
}

fn described(mut item: ItemSubmission, sdk: Option<ItemSdkMetadata>) -> Result<ItemSubmission, Error> {
    if let Some(sdk) = sdk {
        let written = sdk.write(item.custom_metadata.get_or_insert_default(), SystemClock.now());
        written.map_err(|error| Error::input_because("the slide cannot be described", error))?;
    }
    Ok(item)
}

/// The media types of a slide, by its name; the Python tool uses the first.
pub(crate) fn media_types(path: &Path) -> &'static [&'static str] {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    match ending.to_ascii_lowercase().as_str() {
        "tif" | "tiff" => &["image/tiff"],
        "dcm" => &["application/dicom"],
        // These files are TIFF too.
        "svs" => &["application/octet-stream", "image/tiff"],
        _ => &["application/octet-stream"],
    }
}

/// What the application is told of a slide: the columns of the Python tool, and those that the schema of the input names. What
/// is no number where there should be one stays a text, and the schema says so.
fn metadata(table: &SlideTable, row: &SlideRow, input: &InputArtifactSpec) -> JsonObject {
    let properties = input.metadata_schema.get("properties").and_then(Value::as_object);
    let schema = |name: &str| properties.and_then(|properties| properties.get(name));
    let mut metadata = JsonObject::new();
    for (column, is_text) in
        [(CHECKSUM, true), (RESOLUTION, false), (WIDTH, false), (HEIGHT, false), ("staining_method", true)]
    {
        if !row.get(column).is_empty() {
            metadata.insert(column.to_owned(), value(row.get(column), is_text));
        }
    }
    let specimen = ["disease", "tissue"].into_iter().filter(|column| !row.get(column).is_empty());
    let specimen: JsonObject = specimen.map(|column| (column.to_owned(), row.get(column).into())).collect();
    if !specimen.is_empty() {
        metadata.insert("specimen".to_owned(), specimen.into());
    }
    let accepted = schema("media_type").and_then(|schema| schema.get("enum")).and_then(Value::as_array);
    let types = media_types(&table.path_of(row));
    let fits = |media_type: &&&str| accepted.is_none_or(|accepted| accepted.contains(&json!(media_type)));
    metadata.insert("media_type".to_owned(), (*types.iter().find(fits).unwrap_or(&types[0])).into());
    for (name, schema) in properties.into_iter().flatten().filter(|(name, _)| !row.get(name).is_empty()) {
        let is_text = schema.get("type").is_none_or(|kind| kind == "string");
        metadata.insert(name.clone(), value(row.get(name), is_text));
    }
    if input.metadata_schema.get("additionalProperties") == Some(&Value::Bool(false)) {
        metadata.retain(|name, _| schema(name).is_some());
    }
    metadata
}

fn value(text: &str, is_text: bool) -> Value {
    let parsed = if is_text { None } else { serde_json::from_str(text).ok() };
    parsed.unwrap_or_else(|| text.into())
}

impl Draft {
    /// Columns of the table that the application does not use.
    pub fn unused_columns(&self) -> &[String] {
        &self.unused_columns
    }

    /// The digests of the items.
    pub(crate) fn item_digests(&self) -> Vec<ItemDigest> {
        self.submission.items.iter().map(ItemDigest::of_submission).collect()
    }

    /// Adds the options and checks everything. Returns the submission with its digest, and with a token that no other
    /// submission has.
    ///
    /// # Errors
    ///
    /// Those of [`check`](Self::check) and [`RunOptions::apply`].
    pub async fn described(
        mut self,
        client: &Client,
        version: Option<&str>,
        options: &RunOptions,
    ) -> Result<(RunSubmission, String), Error> {
        options.apply(&mut self.submission)?;
        let me = client.me().await?;
        let (application, items) = (&self.submission.application_id, self.item_digests());
        let digest = digest::submission_digest(&me, application, version, &items, None);
        let token = digest::submission_token(&format!("{digest}\n{:032x}", fastrand::u128(..)), 0);
        let mut submission = self.check(client).await?;
        digest::write(&mut submission, &digest);
        submission.custom_metadata.get_or_insert_default().insert("submission_token".to_owned(), token.clone().into());
        Ok((submission, token))
    }

    /// Checks everything.
    ///
    /// # Errors
    ///
    /// [`Error::is_input`] with all problems, row by row; [`Error::platform`] if the application cannot be asked for.
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
