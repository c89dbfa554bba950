//! From a folder of slides to verified results, in one command that can be killed at any point and called again.
//!
//! What is done once is done for a key: that of the user, the application, the table (by its path), and what the table says of
//! the slides, but for their places in the bucket. Why so:
//! - **The same slides again** are the same run: the second call finds it and fetches what is missing.
//! - **Other slides, or other words about them,** are another run. The folder grows, and the table is edited.
//! - **How** – notes, processors, dates, names of folders – is no part of it: who calls again with another note wants
//!   the results, not a second bill. `--resubmit` says otherwise.
//! - **The version** is a part as far as it is said. That a new one came out between a kill and the next call bills nothing twice.
//!
//! Slides that come into the folder between a kill and the next call would make another key, and the slides of before would
//! be billed twice. So the key is noted for the table before the submission, and counts until the run has ended and its results
//! are here; as long, nothing is scanned or uploaded. The lock of the folder for results keeps others out meanwhile.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::Args;
use platform_resources::{Client, ResultFolder, RunHandle, RunReport};
use serde::{Deserialize, Serialize};

use super::download::Folders;
use super::input::{Application, Force, Version};
use super::intent::{Journal, digest};
use super::options::Options;
use super::place::{Places, Where};
use super::prepare::{self, How};
use super::submission::{Draft, of_table};
use super::table::{Table, URL};
use super::{submit, upload};
use crate::access::Shell;
use crate::bars::Screen;
use crate::exit::Failure;
use crate::{files, results};

#[derive(Args)]
pub(crate) struct Arguments {
    /// The application.
    #[arg(value_name = "APPLICATION")]
    application: String,
    /// The table of the slides, which is made or amended. The results go into the folder that it lies in.
    #[arg(value_name = "CSV")]
    csv: PathBuf,
    /// The folder with the slides: TIFF, BigTIFF and SVS, also in folders below it.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    #[command(flatten)]
    version: Version,
    #[command(flatten)]
    how: How,
    #[command(flatten)]
    to: Where,
    #[command(flatten)]
    folders: Folders,
    /// Waits for the run to end, and fetches results as they are made: so it is unless something is said.
    #[arg(long, alias = "follow", overrides_with = "no_wait_for_completion")]
    wait_for_completion: bool,
    /// Fetches what is finished now. A later call fetches the rest.
    #[arg(long, alias = "no-follow", overrides_with = "wait_for_completion")]
    no_wait_for_completion: bool,
    /// Submits again what was submitted before, or may have been: it is billed again.
    #[arg(long)]
    resubmit: bool,
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    force: Force,
}

/// What was submitted last of a table.
#[derive(Deserialize, Serialize)]
struct Execution {
    key: String,
    /// The run has ended, and what it made is here.
    ended: bool,
}

pub(crate) async fn run(arguments: Arguments, shell: &Shell) -> Result<(), Failure> {
    let target = files::folder_of(&arguments.csv);
    check_folders(&arguments, &target)?;
    let client = shell.client()?;
    // What is wrong with the folder shows before anything is uploaded or billed.
    let opened =
        ResultFolder::open(&target).await.context("the folder of the table, where the results go, cannot be used");
    let work = async {
        let results = opened?;
        arguments.force.check(&client, shell).await?;
        let journal = Journal::of(client.settings());
        let table = table_key(&client, &arguments).await?;
        let (key, run) = match unfinished(&journal, &table, &arguments)? {
            Some(key) => {
                shell
                    .output
                    .note("going on with what was begun before; slides that came since then wait for the next call");
                (key.clone(), resumed(&client, &key, shell).await?)
            }
            None => submitted(&client, &journal, &table, &arguments, shell).await?,
        };
        let report = fetch(&run, results, &arguments, shell).await?;
        if report.termination_reason.is_some() && report.failures().next().is_none() && report.manifest.is_ok() {
            remember(&journal, &table, Execution { key, ended: true })?;
        }
        Ok(report)
    };
    let report = shell.within(Box::pin(work)).await?;
    results::print(&report, &target, &shell.output)
}

/// Results that lie among the slides are known by the folder of their run.
fn check_folders(arguments: &Arguments, target: &Path) -> Result<(), Failure> {
    let unreadable = || format!("{} cannot be read", arguments.folder.display());
    let slides = arguments.folder.canonicalize().with_context(unreadable).map_err(Failure::bad_input)?;
    let is_among = target.canonicalize().is_ok_and(|target| target.starts_with(&slides));
    if is_among && !arguments.folders.has_folder_per_run(true) {
        let text = "the results would lie among the slides, and could be taken for some: \
                    put the table elsewhere, or allow a folder for the run";
        return Err(Failure::bad_input(anyhow!(text)));
    }
    Ok(())
}

/// What stands for the table in the journal: whose, of what, and where.
async fn table_key(client: &Client, arguments: &Arguments) -> Result<String, Failure> {
    let user = client.me().await?.user.id;
    let version = arguments.version.application_version.as_ref().map_or("latest", |version| version.as_str());
    let folder = files::folder_of(&arguments.csv).canonicalize()?;
    let csv = folder.join(arguments.csv.file_name().unwrap_or_default());
    let csv = csv.to_string_lossy();
    Ok(format!("execute\n{}", digest([user.as_str(), &arguments.application, version, &csv])))
}

/// What the table says, whatever the order of its rows and wherever the slides lie in the bucket.
fn content_key(table_key: &str, table: &Table) -> String {
    let columns = table.columns().iter().filter(|column| *column != URL);
    let columns: Vec<_> = columns.map(String::as_str).collect();
    let row = |row: &super::table::Row| digest(columns.iter().flat_map(|column| [*column, row.get(column)]));
    let mut rows: Vec<_> = table.rows.iter().map(row).collect();
    rows.sort();
    format!("{table_key}\n{}", digest(rows.iter().map(String::as_str)))
}

/// The key of what was submitted, or may have been, and is not at its end.
fn unfinished(journal: &Journal, table: &str, arguments: &Arguments) -> Result<Option<String>, Failure> {
    let execution = journal.get(table).context("the journal of submissions cannot be read")?;
    let Some(Execution { key, ended: false }) = execution else { return Ok(None) };
    if arguments.resubmit {
        return Ok(None);
    }
    Ok(journal.has_intent(&key)?.then_some(key))
}

fn remember(journal: &Journal, table: &str, execution: Execution) -> Result<(), Failure> {
    Ok(journal.put(table, Some(execution)).context("the journal of submissions cannot be written")?)
}

/// The run that was submitted before, if it is found. Nothing is submitted.
async fn resumed(client: &Client, key: &str, shell: &Shell) -> Result<RunHandle, Failure> {
    let run = submit::again(client, key, shell).await?;
    shell.output.note(format!("run {} was submitted before", run.id()));
    Ok(run)
}

/// Prepares, checks, uploads and submits, unless the same was submitted before.
async fn submitted(
    client: &Client,
    journal: &Journal,
    table_key: &str,
    arguments: &Arguments,
    shell: &Shell,
) -> Result<(String, RunHandle), Failure> {
    let application = Application::find(client, &arguments.application, &arguments.version).await?;
    let prepared = prepare::prepare(&arguments.csv, &arguments.folder, &arguments.how, &shell.output).await?;
    // What is left out by mistake is found out too late.
    prepared.judge()?;
    shell.output.note(format!("{}: {}", arguments.csv.display(), prepared.summary()));
    // As it was written, with its lines.
    let table = Table::read(&arguments.csv)?;
    let key = content_key(table_key, &table);
    if arguments.resubmit {
        journal.put(&key, None::<()>).context("the journal of submissions cannot be written")?;
    }
    remember(journal, table_key, Execution { key: key.clone(), ended: false })?;
    if journal.has_intent(&key)? {
        let run = resumed(client, &key, shell).await?;
        return Ok((key, run));
    }
    let places = arguments.to.places(client, &application, arguments.options.portal()).await?;
    let draft = draft(&table, &application, &places, client, arguments, true).await?;
    draft.check(client).await?;
    let files = upload::upload(&arguments.csv, &table, &places, &shell.output).await?;
    upload::judge(&files)?;
    shell.output.note(upload::summary(&files));
    // Signed anew: the uploads may have taken days.
    let table = Table::read(&arguments.csv)?;
    if content_key(table_key, &table) != key {
        let text = format!("{} was changed meanwhile, and nothing was submitted: call again", arguments.csv.display());
        return Err(Failure::bad_input(anyhow!(text)));
    }
    let draft = self::draft(&table, &application, &places, client, arguments, false).await?;
    let run = submit::once(client, draft.check(client).await?, &key, shell).await?;
    shell.output.note(format!("run {} of {} {} is submitted", run.id(), application.id, application.number()));
    Ok((key, run))
}

async fn draft(
    table: &Table,
    application: &Application,
    places: &Places,
    client: &Client,
    arguments: &Arguments,
    beforehand: bool,
) -> Result<Draft, Failure> {
    let mut draft = of_table(table, &arguments.csv.display().to_string(), application, places, beforehand)?;
    arguments.options.write(&mut draft.submission, &client.me().await?)?;
    Ok(draft)
}

/// Downloads the results, by the custom of the Python tool: to the end, and into a folder for the run.
async fn fetch(
    run: &RunHandle,
    folder: ResultFolder,
    arguments: &Arguments,
    shell: &Shell,
) -> Result<RunReport, Failure> {
    let bars = Screen::new(shell.output.has_bars()).follow();
    let download = run.download(folder).with_layout(arguments.folders.layout(true));
    let download = download.with_observer(move |event| bars.show(&event));
    Ok(if arguments.no_wait_for_completion { download.fetch().await? } else { download.follow().await? })
}
