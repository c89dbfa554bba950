use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use clap::Args;
use serde_json::{Value, json};

use super::input::{Application, Version};
use super::mapping::{self, Mapping};
use super::scan::{Found, Scanned};
use super::table::{CHECKSUM, HEIGHT, RESOLUTION, Row, Table, URL, WIDTH};
use crate::access::Shell;
use crate::bars::Screen;
use crate::exit::Failure;
use crate::output::{self, Output};
use crate::shown::shown;

/// The name of the table where none is given.
const NAME: &str = "metadata.csv";

#[derive(Args)]
#[command(
    override_usage = "aignostics run prepare [OPTIONS] APPLICATION CSV DIR\n       aignostics run prepare [OPTIONS] DIR"
)]
pub(crate) struct Arguments {
    /// The application, the table and the folder with the slides: TIFF, BigTIFF, SVS and DICOM, also in folders below it.
    /// With the folder alone, the table is `metadata.csv` in it, and nobody is asked about the application.
    #[arg(value_name = "APPLICATION CSV DIR", num_args = 1..=3, required = true)]
    places: Vec<PathBuf>,
    #[command(flatten)]
    version: Version,
    #[command(flatten)]
    how: How,
}

/// How a table is made.
#[derive(Args, Clone)]
pub(super) struct How {
    /// Sets values for the slides whose path the expression is found in: `REGEX:KEY=VALUE,KEY=VALUE`, such as
    /// `.*:staining_method=H&E,tissue=LUNG,disease=LUNG_CANCER`. May be said several times; the last one counts.
    #[arg(long, value_name = "MAPPING")]
    mapping: Vec<Mapping>,
    /// Writes the table anew. Without it, what stands in a table that is there already stays: rows of slides that are as they
    /// were are not touched, but by --mapping. Rows of DICOM files that turned out to be levels of another go.
    #[arg(long)]
    overwrite: bool,
}

pub(crate) async fn run(arguments: Arguments, shell: &Shell) -> Result<(), Failure> {
    let (application, csv, folder) = match arguments.places.as_slice() {
        [folder] => (None, folder.join(NAME), folder.clone()),
        [application, csv, folder] => (Some(application.display().to_string()), csv.clone(), folder.clone()),
        _ => return Err(Failure::bad_input(anyhow!("give APPLICATION CSV DIR, or DIR alone"))),
    };
    if let Some(application) = application {
        shell.within(async { Application::find(&shell.client()?, &application, &arguments.version).await }).await?;
    }
    let prepared = prepare(&csv, &folder, &arguments.how, &shell.output).await?;
    shell.output.one(&prepared.shape(&csv), || prepared.text(&csv, &shell.output))?;
    prepared.judge()
}

/// A table that was written.
pub(super) struct Prepared {
    pub(super) table: Table,
    states: Vec<State>,
    skipped: Vec<(PathBuf, String)>,
    failed: Vec<(PathBuf, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It is new in the table.
    Added,
    /// The file is another than before.
    Changed,
    /// The file is as it was.
    Kept,
    /// It is in the table alone.
    Absent,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Changed => "changed",
            Self::Kept => "kept",
            Self::Absent => "absent",
        }
    }
}

/// Looks for slides, and writes the table, unless that would change nothing.
pub(super) async fn prepare(csv: &Path, folder: &Path, how: &How, output: &Output) -> Result<Prepared, Failure> {
    let before = if csv.exists() && !how.overwrite { Some(Table::read(csv)?) } else { None };
    let found = Found::within(folder).await?;
    let skipped = found.skipped.iter().map(|(path, what)| format!("{}: skipped: {what}", path.display()));
    if found.len() == 0 && !found.skipped.is_empty() {
        let text = format!("{}: no slides, but files that are none of their own", folder.display());
        return Err(Failure::problems(text, skipped.collect()));
    }
    skipped.for_each(|line| output.note(line));
    if found.len() == 0 {
        let text = format!("{}: no slides; they end with .tif, .tiff, .svs or .dcm", folder.display());
        return Err(Failure::bad_input(anyhow!(text)));
    }
    output.note(format!("reading {} slides in {}", found.len(), folder.display()));
    let bar = Screen::new(output.has_bars()).slides(found.len());
    let scanned = found.read(|| bar.inc(1)).await?;
    bar.finish_and_clear();
    let mut table = before.clone().unwrap_or_default();
    // What was taken for a slide before the rest of it was there would be submitted beside it.
    let skipped: HashSet<_> = found.skipped.iter().filter_map(|(path, _)| path.to_str()).collect();
    for row in table.rows.extract_if(.., |row| skipped.contains(row.external_id())) {
        output.note(format!("{}: its row is taken out of the table", row.external_id()));
    }
    let mut prepared = merge(table, scanned);
    prepared.skipped = found.skipped;
    let applied = mapping::apply(&how.mapping, &mut prepared.table);
    for key in applied.unknown {
        output
            .note(format!("there is no column {key} for --mapping; there are {}", prepared.table.columns().join(", ")));
    }
    if applied.replaced > 0 {
        output.note(format!("--mapping replaced {} values", applied.replaced));
    }
    if before.as_ref() != Some(&prepared.table) {
        prepared.table.write(csv)?;
    }
    Ok(prepared)
}

/// Adds what was found. Somebody may have edited the table: what still fits a slide stays as it is.
fn merge(mut table: Table, scanned: Vec<Scanned>) -> Prepared {
    let mut states = vec![State::Absent; table.rows.len()];
    let places: HashMap<_, _> =
        table.rows.iter().enumerate().map(|(place, row)| (row.external_id().to_owned(), place)).collect();
    for column in [CHECKSUM, RESOLUTION, WIDTH, HEIGHT, URL] {
        table.require(column);
    }
    let mut failed = Vec::new();
    for slide in scanned {
        let slide = match slide {
            Ok(slide) => slide,
            Err(reason) => {
                failed.push(reason);
                continue;
            }
        };
        match places.get(slide.external_id()) {
            Some(place) if table.rows[*place].get(CHECKSUM) == slide.get(CHECKSUM) => states[*place] = State::Kept,
            Some(place) => {
                states[*place] = State::Changed;
                measure(&mut table.rows[*place], &slide);
            }
            None => {
                states.push(State::Added);
                table.rows.push(slide);
            }
        }
    }
    Prepared { table, states, skipped: Vec::new(), failed }
}

/// What was measured of a slide, which is not in the bucket any more as it is now.
fn measure(row: &mut Row, slide: &Row) {
    for column in [CHECKSUM, RESOLUTION, WIDTH, HEIGHT] {
        row.set(column, slide.get(column));
    }
    row.set(URL, "");
}

impl Prepared {
    fn count(&self, state: State) -> usize {
        self.states.iter().filter(|other| **other == state).count()
    }

    /// Whether all that looks like a slide is one.
    pub(super) fn judge(&self) -> Result<(), Failure> {
        if self.failed.is_empty() {
            return Ok(());
        }
        let lines = self.failed.iter().map(|(path, reason)| format!("{}: {reason}", path.display()));
        let text = "some files cannot be used as slides, and are not in the table";
        Err(Failure::several(text, lines.collect()))
    }

    fn shape(&self, csv: &Path) -> Value {
        let slides = self.table.rows.iter().zip(&self.states);
        let slides = slides.map(|(row, state)| json!({ "external_id": row.external_id(), "state": state.name() }));
        let reason = |(path, reason): &(PathBuf, String)| {
            let file = path.display().to_string();
            json!({ "file": file, "reason": reason })
        };
        let (skipped, failed) = (self.skipped.iter().map(reason), self.failed.iter().map(reason));
        json!({
            "csv": csv.display().to_string(),
            "slides": slides.collect::<Vec<_>>(),
            "skipped": skipped.collect::<Vec<_>>(),
            "failed": failed.collect::<Vec<_>>(),
        })
    }

    fn text(&self, csv: &Path, output: &Output) -> String {
        let mut table = output.table(["slide", "state"]);
        for (row, state) in self.table.rows.iter().zip(&self.states) {
            table.add_row([shown(row.external_id()), state.name().to_owned()]);
        }
        format!("{}\ntable: {}", output::text(&table), shown(csv.display()))
    }

    /// In one line, for a note.
    pub(super) fn summary(&self) -> String {
        let states = [State::Added, State::Changed, State::Kept, State::Absent];
        let counts = states.map(|state| (self.count(state), state)).into_iter().filter(|(count, _)| *count > 0);
        counts.map(|(count, state)| format!("{count} {}", state.name())).collect::<Vec<_>>().join(", ")
    }
}
