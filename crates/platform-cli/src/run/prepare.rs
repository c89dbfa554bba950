use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use clap::Args;
use platform_pipeline::{ExternalIds, Mapping, Prepare, Prepared, ScanOptions, SlideRemarks};
use platform_resources::Pattern;
use serde_json::{Value, json};
use slide_metadata::{IdentifierKind, PLAUSIBLE};

use super::application_args::VersionArgs;
use super::events::observer;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{self, Output};
use crate::sanitize::sanitize;
use crate::slide;

/// The default name of the table.
const NAME: &str = "metadata.csv";

#[derive(Args)]
#[command(
    override_usage = "aignostics run prepare [OPTIONS] APPLICATION CSV DIR\n       aignostics run prepare [OPTIONS] DIR"
)]
pub(crate) struct Arguments {
    /// Application, table and folder with the slides: TIFF, BigTIFF, SVS, NDPI, SCN, BIF and DICOM, including
    /// subfolders. With the folder alone, the table is `metadata.csv` in it and is not checked against an application
    #[arg(value_name = "APPLICATION CSV DIR", num_args = 1..=3, required = true)]
    places: Vec<PathBuf>,
    #[command(flatten)]
    version: VersionArgs,
    #[command(flatten)]
    how: PrepareArgs,
    /// Replace the table. Without it, only --mapping changes the row of an unchanged slide, and rows of excluded files
    /// are removed
    #[arg(long)]
    overwrite: bool,
}

/// The options for the table.
#[derive(Args, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub(super) struct PrepareArgs {
    /// Set values for the slides whose path matches: `REGEX:KEY=VALUE,KEY=VALUE`, such as
    /// `.*:staining_method=H&E,tissue=LUNG,disease=LUNG_CANCER`. Can be repeated; the last match wins
    #[arg(long, value_name = "MAPPING")]
    mapping: Vec<Mapping>,
    /// External ids of new slides: relative (path below DIR, the default), stem (file name), absolute (path), or a
    /// COLUMN of the table, which sets the ids of all slides
    #[arg(long, value_name = "ID")]
    external_id: Option<ExternalIds>,
    /// Exclude slides whose name matches or, for a pattern with a `/`, whose path below DIR matches. Can be repeated
    #[arg(long, value_name = "GLOB")]
    exclude: Vec<Pattern>,
    /// Follow links to folders; links to files are always followed
    #[arg(long)]
    follow_links: bool,
    /// Exclude slides with the same size and checksum as another slide
    #[arg(long)]
    deduplicate: bool,
    /// Read all slides again, even if they have not changed
    #[arg(long)]
    rehash: bool,
    /// Number of slides to read in parallel
    #[arg(long, value_name = "COUNT", default_value = "4")]
    parallel_reads: NonZeroUsize,
    /// Micrometers per pixel of slides without a plausible resolution (0.05–20); a resolution in the table wins
    #[arg(long, value_name = "MPP", value_parser = plausible)]
    resolution_mpp: Option<f64>,
    /// Reject slides that may identify a patient by a label, a barcode, a name, a date, a text or an attribute
    #[arg(long)]
    no_phi: bool,
    /// Kinds of identifying data that --no-phi accepts: label, macro, barcode, name, date, text, attribute, uid
    #[arg(long, value_name = "KINDS", value_delimiter = ',', requires = "no_phi", value_parser = kind)]
    allow: Vec<IdentifierKind>,
}

fn kind(text: &str) -> Result<IdentifierKind, String> {
    let kind = IdentifierKind::ALL.into_iter().find(|kind| kind.name() == text);
    kind.ok_or_else(|| format!("expected one of {}", IdentifierKind::ALL.map(IdentifierKind::name).join(", ")))
}

/// Parses a plausible resolution.
fn plausible(text: &str) -> Result<f64, String> {
    let value = text.parse::<f64>().ok().filter(|value| PLAUSIBLE.contains(value));
    value.ok_or_else(|| format!("expected {} to {} micrometers per pixel", PLAUSIBLE.start(), PLAUSIBLE.end()))
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<(), CliError> {
    let (application, csv, folder) = match arguments.places.as_slice() {
        [folder] => (None, folder.join(NAME), folder.clone()),
        [application, csv, folder] => (Some(application.display().to_string()), csv.clone(), folder.clone()),
        _ => return Err(CliError::bad_input(anyhow!("give APPLICATION CSV DIR, or DIR alone"))),
    };
    let application = match application {
        Some(application) => Some(arguments.version.of(&context.client()?, &application).await?),
        None => None,
    };
    let prepared = arguments
        .how
        .prepare()
        .with_application(application)
        .with_overwrite(arguments.overwrite)
        .run(&csv, &folder, &observer(&context.output))
        .await?;
    context.output.one(&shape(&prepared, &csv), || text(&prepared, &csv, &context.output))?;
    Ok(prepared.require_all()?)
}

impl PrepareArgs {
    pub(super) fn prepare(&self) -> Prepare {
        let prepare = Prepare::new()
            .with_mappings(self.mapping.iter().cloned())
            .with_external_ids(self.external_id.clone())
            .with_scan(
                ScanOptions::default().with_excluded(self.exclude.iter().cloned()).with_follow_links(self.follow_links),
            )
            .with_deduplicate(self.deduplicate)
            .with_rehash(self.rehash)
            .with_parallel_reads(self.parallel_reads)
            .with_resolution(self.resolution_mpp);
        if self.no_phi { prepare.without_identifiers(self.allow.iter().copied()) } else { prepare }
    }
}

fn shape(prepared: &Prepared, csv: &Path) -> Value {
    let slides = prepared.table.rows().iter().zip(&prepared.states);
    let slides = slides.map(
        |(row, state)| json!({ "external_id": row.external_id(), "file": row.get("file"), "state": state.name() }),
    );
    let reason = |(path, reason): &(PathBuf, String)| {
        let file = path.display().to_string();
        json!({ "file": file, "reason": reason })
    };
    let skipped = prepared.skipped.iter().map(|skipped| {
        json!({ "file": skipped.path.display().to_string(), "kind": skipped.kind.name(), "reason": skipped.reason })
    });
    let pair = |name: &'static str| move |(path, other): &(PathBuf, PathBuf)| json!({ "file": path.display().to_string(), name: other.display().to_string() });
    let failed = prepared.unusable.iter().map(reason);
    json!({
        "csv": csv.display().to_string(),
        "slides": slides.collect::<Vec<_>>(),
        "skipped": skipped.collect::<Vec<_>>(),
        "links": prepared.links.iter().map(pair("target")).collect::<Vec<_>>(),
        "duplicates": prepared.duplicates.iter().map(pair("same_as")).collect::<Vec<_>>(),
        "failed": failed.collect::<Vec<_>>(),
        "excluded": prepared.excluded.iter().map(|path| path.display().to_string()).collect::<Vec<_>>(),
        "remarks": prepared.remarks.iter().map(remarks).collect::<Vec<_>>(),
    })
}

fn remarks(remarks: &SlideRemarks) -> Value {
    json!({
        "file": remarks.path.display().to_string(),
        "warnings": slide::warnings(&remarks.warnings),
        "identifiers": slide::identifiers(&remarks.identifiers),
    })
}

fn text(prepared: &Prepared, csv: &Path, output: &Output) -> String {
    let mut table = output.table(["slide", "state"]);
    for (row, state) in prepared.table.rows().iter().zip(&prepared.states) {
        table.add_row([sanitize(row.external_id()), state.name().to_owned()]);
    }
    format!("{}\ntable: {}", output::text(&table), sanitize(csv.display()))
}
