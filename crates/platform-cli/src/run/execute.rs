//! From a folder of slides to verified results, in one command that can be killed at any point and called again.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::Args;
use platform_pipeline::{Study, StudyStep};
use platform_resources::models::ApplicationId;
use platform_resources::{Client, ResultFolder, RunHandle, RunReport};

use super::download::Folders;
use super::events::observer;
use super::input::{Force, Version, unknown};
use super::object_keys::{UploadArgs, bucket_user};
use super::options::Options;
use super::prepare::How;
use crate::access::Shell;
use crate::bars::Screen;
use crate::exit::Failure;
use crate::results;

/// The option that submits again.
const RESUBMIT: &str = "--resubmit";

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
    to: UploadArgs,
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

pub(crate) async fn run(arguments: Arguments, shell: &Shell) -> Result<(), Failure> {
    let target = folder_of(&arguments.csv);
    check_folders(&arguments, &target)?;
    let client = shell.client()?;
    // What is wrong with the folder shows before anything is uploaded or billed.
    let results =
        ResultFolder::open(&target).await.context("the folder of the table, where the results go, cannot be used")?;
    arguments.force.check(&client, shell).await?;
    let study = study(&client, &arguments, shell).await?;
    let run = Box::pin(submitted(&study, &arguments, shell)).await?;
    let report = Box::pin(fetch(&run, results, &arguments, shell)).await?;
    study.finish(&report).await?;
    results::print(&report, &target, &shell.output)
}

async fn study(client: &Client, arguments: &Arguments, shell: &Shell) -> Result<Study, Failure> {
    let id = ApplicationId::from(arguments.application.as_str());
    let options = arguments.options.run_options(&client.me().await?);
    let observer = observer(&shell.output);
    let portal = arguments.options.portal();
    Ok(Study::new(client, id, &arguments.csv, &arguments.folder, options)
        .with_version(arguments.version.application_version.clone())
        .with_prepare(arguments.how.prepare())
        .with_object_keys(bucket_user(), arguments.to.upload_prefix.clone(), portal)
        .with_resubmit(arguments.resubmit)
        .with_observer(move |event| observer(event)))
}

/// Submits the slides, unless they were submitted before.
async fn submitted(study: &Study, arguments: &Arguments, shell: &Shell) -> Result<RunHandle, Failure> {
    let id = ApplicationId::from(arguments.application.as_str());
    match study.advance().await.map_err(|error| unknown(error, &id))? {
        StudyStep::Ready(ready) => {
            let (application, version) = ready.application();
            let of = format!("{application} {version}");
            let run = Box::pin(ready.submit()).await?;
            shell.follow(run.id(), &[RESUBMIT]);
            shell.output.note(format!("run {} of {of} is submitted", run.id()));
            Ok(run)
        }
        StudyStep::Submitted(run) => Ok(run),
        _ => Err(anyhow!("the study is in an unknown state").into()),
    }
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

/// Downloads the results, by the custom of the Python tool: to the end, and into a folder for the run.
async fn fetch(
    run: &RunHandle,
    folder: ResultFolder,
    arguments: &Arguments,
    shell: &Shell,
) -> Result<RunReport, Failure> {
    let bars = Screen::new(shell.output.has_bars()).follow();
    // A second `--resubmit` would be billed again.
    let followed = shell.follow(run.id(), &[RESUBMIT]);
    let download = run.download(folder).with_layout(arguments.folders.layout(true));
    let download = download.with_observer(move |event| {
        followed.learn(&event);
        bars.show(&event);
    });
    Ok(if arguments.no_wait_for_completion { download.fetch().await? } else { download.follow().await? })
}

/// The folder that a file is in.
fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        Some(_) => PathBuf::from("."),
        None => path.to_owned(),
    }
}
