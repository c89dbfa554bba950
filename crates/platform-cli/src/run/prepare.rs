use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use clap::Args;
use platform_pipeline::{BucketSlides, ExternalIds, Mapping, Prepare, Prepared, ScanOptions};
use platform_resources::Pattern;
use serde_json::json;
use slide_metadata::{IdentifierKind, PLAUSIBLE};
use terminal::{Output, sanitize};

use super::events::observer;
use super::options::VersionArgs;
use crate::context::Context;
use crate::error::CliError;

/// The default name of the table.
const DEFAULT_TABLE: &str = "metadata.csv";

#[derive(Args)]
#[command(
    override_usage = "aignostics run prepare [OPTIONS] APPLICATION CSV DIR\n       aignostics run prepare [OPTIONS] DIR\n       aignostics run prepare [OPTIONS] --from-bucket PREFIX APPLICATION CSV"
)]
pub(crate) struct Arguments {
    /// Application, table and folder with the slides: TIFF, BigTIFF, SVS, NDPI, SCN, BIF and DICOM, including
    /// subfolders. With the folder alone, the table is `metadata.csv` in it and is not checked against an application
    #[arg(value_name = "APPLICATION CSV DIR", num_args = 1..=3, required = true)]
    paths: Vec<PathBuf>,
    /// Prefix of slides that are in the organization's bucket already, instead of DIR. Only their headers are read; ids
    /// are keys below the prefix
    #[arg(long, value_name = "PREFIX", conflicts_with_all = ["follow_links", "deduplicate", "rehash"])]
    from_bucket: Option<String>,
    /// Read the objects of `--from-bucket` and compute their checksums, instead of using the checksums from the storage
    #[arg(long, requires = "from_bucket")]
    verify: bool,
    #[command(flatten)]
    version: VersionArgs,
    #[command(flatten)]
    prepare: PrepareArgs,
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
    #[arg(long, value_name = "MPP", value_parser = parse_resolution)]
    resolution_mpp: Option<f64>,
    /// Reject slides that may identify a patient by a label, a barcode, a name, a date, a text or an attribute
    #[arg(long)]
    no_phi: bool,
    /// Kinds of identifying data that --no-phi accepts: label, macro, barcode, name, date, text, attribute, uid
    #[arg(long, value_name = "KINDS", value_delimiter = ',', requires = "no_phi", value_parser = parse_kind)]
    allow: Vec<IdentifierKind>,
}

fn parse_kind(text: &str) -> Result<IdentifierKind, String> {
    let kind = IdentifierKind::ALL.into_iter().find(|kind| kind.name() == text);
    kind.ok_or_else(|| format!("expected one of {}", IdentifierKind::ALL.map(IdentifierKind::name).join(", ")))
}

fn parse_resolution(text: &str) -> Result<f64, String> {
    let value = text.parse::<f64>().ok().filter(|value| PLAUSIBLE.contains(value));
    value.ok_or_else(|| format!("expected {} to {} micrometers per pixel", PLAUSIBLE.start(), PLAUSIBLE.end()))
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<(), CliError> {
    if let Some(prefix) = &arguments.from_bucket {
        return from_bucket(&arguments, prefix, context).await;
    }
    let (application, csv, folder) = match arguments.paths.as_slice() {
        [folder] => (None, folder.join(DEFAULT_TABLE), folder.clone()),
        [application, csv, folder] => (Some(application.display().to_string()), csv.clone(), folder.clone()),
        _ => return Err(CliError::bad_input(anyhow!("give APPLICATION CSV DIR, or DIR alone"))),
    };
    let application = match application {
        Some(application) => Some(arguments.version.resolve(&context.read_client()?, &application).await?),
        None => None,
    };
    let prepared = arguments
        .prepare
        .prepare()
        .with_application(application)
        .with_overwrite(arguments.overwrite)
        .run(&csv, &folder, &observer(&context.output))
        .await?;
    print(&prepared, &csv, &context.output)
}

/// Prepares the table of slides that are in the bucket.
async fn from_bucket(arguments: &Arguments, prefix: &str, context: &Context) -> Result<(), CliError> {
    let [application, csv] = arguments.paths.as_slice() else {
        return Err(CliError::bad_input(anyhow!("give APPLICATION CSV with --from-bucket")));
    };
    if matches!(arguments.prepare.external_id, Some(ExternalIds::Stem | ExternalIds::Absolute)) {
        return Err(CliError::bad_input(anyhow!(
            "--external-id: the id of a slide in the bucket is its key below the prefix, or the value of a COLUMN"
        )));
    }
    let client = context.read_client()?;
    let application = arguments.version.resolve(&client, &application.display().to_string()).await?;
    let bucket = client.bucket().await?;
    let root = bucket.root();
    let prefix = prefix.strip_prefix(&root).unwrap_or(prefix).to_owned();
    let slides = BucketSlides::new(bucket, prefix).with_verify(arguments.verify);
    let prepare = arguments.prepare.prepare().with_application(Some(application)).with_overwrite(arguments.overwrite);
    let prepared = Box::pin(prepare.run_from_bucket(csv, &slides, &observer(&context.output))).await?;
    print(&prepared, csv, &context.output)
}

/// Prints the table, and returns an error if a slide is unusable.
fn print(prepared: &Prepared, csv: &Path, output: &Output) -> Result<(), CliError> {
    let mut value = json!(prepared);
    value["csv"] = json!(csv.display().to_string());
    output.print_object(&value, || preparation_text(prepared, csv, output))?;
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

fn preparation_text(prepared: &Prepared, csv: &Path, output: &Output) -> String {
    let slides: Vec<_> = prepared.table.rows().iter().zip(&prepared.states).collect();
    let table = output.table(
        &slides,
        &[("slide", &|(row, _)| row.external_id().to_owned()), ("state", &|(_, state)| state.name().to_owned())],
    );
    format!("{table}\ntable: {}", sanitize(csv.display()))
}
