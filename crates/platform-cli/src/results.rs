//! The report of a run download.

use std::path::Path;

use anyhow::anyhow;
use platform_resources::{ItemReport, RunReport, Verdict};
use serde::Serialize;
use terminal::{Column, Output, sanitize};

use crate::error::CliError;

#[derive(Serialize)]
struct ReportDocument<'a> {
    folder: String,
    #[serde(flatten)]
    report: &'a RunReport,
}

/// Prints the results of all items on stdout and the failures on stderr, and returns an error if ended items failed.
pub(crate) fn print(report: &RunReport, folder: &Path, output: &Output) -> Result<(), CliError> {
    output.print_failures(report.problems());
    let document = ReportDocument { folder: folder.display().to_string(), report };
    let print_result = output.print_object(&document, || report_text(report, folder, output));
    // The exit code reports failures even if printing failed.
    check_outcome(report)?;
    Ok(print_result?)
}

pub(crate) fn report_text(report: &RunReport, folder: &Path, output: &Output) -> String {
    let artifacts = |item: &ItemReport| {
        let verified = item.artifacts.iter().filter(|artifact| artifact.outcome.is_ok()).count();
        format!("{verified}/{}", item.artifacts.len())
    };
    let columns: [Column<'_, ItemReport>; 4] = [
        ("item", &|item| item.external_id.clone()),
        ("outcome", &|item| item.outcome.to_string()),
        ("artifacts", &artifacts),
        ("size", &|item| output.size(item.bytes())),
    ];
    let mut text = output.long_table(&report.items, &columns, &[2, 3]);
    text += &format!("\nresults: {}", sanitize(folder.display()));
    if let Ok(manifest) = &report.manifest {
        text += &format!("\nmanifest: {}", sanitize(manifest.display()));
    }
    text
}

/// Returns an error if the download is incomplete.
pub(crate) fn check_outcome(report: &RunReport) -> Result<(), CliError> {
    match report.verdict() {
        Verdict::Complete | Verdict::CompleteSoFar => Ok(()),
        Verdict::DiskFull => Err(disk_full()),
        Verdict::LocalFailure => Err(anyhow!("cannot write some results").into()),
        _ => Err(CliError::incomplete(report.missing())),
    }
}

pub(crate) fn disk_full() -> CliError {
    anyhow!("the disk is full: free some space and repeat the command, which resumes the download").into()
}
