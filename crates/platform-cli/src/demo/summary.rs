use std::error::Error;
use std::io::{self, Write};
use std::iter;
use std::path::Path;

use comfy_table::{CellAlignment, Table, presets};
use platform_resources::RunReport;

use crate::shown::shown;

/// Prints what became of each item and where the results are on stdout, and on stderr what failed.
pub(super) fn print(report: &RunReport, output: &Path) -> io::Result<()> {
    // There is nobody to tell that stderr is closed.
    let _ = io::stderr().write_all(failures(report).as_bytes());
    let mut text = format!("{}\nresults: {}\n", table(report), shown(output.display()));
    if let Ok(manifest) = &report.manifest {
        text += &format!("manifest: {}\n", shown(manifest.display()));
    }
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

fn table(report: &RunReport) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["item", "outcome", "artifacts", "bytes"]);
    for number in [2, 3] {
        if let Some(column) = table.column_mut(number) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for item in &report.items {
        let verified = item.artifacts.iter().filter(|artifact| artifact.outcome.is_ok()).count();
        let artifacts = format!("{verified}/{}", item.artifacts.len());
        table.add_row([shown(&item.external_id), shown(&item.outcome), artifacts, item.bytes().to_string()]);
    }
    table
}

/// A line for everything that failed, with its reasons.
fn failures(report: &RunReport) -> String {
    let mut lines = Vec::new();
    for item in &report.items {
        let name = shown(&item.external_id);
        lines
            .extend(item.message.iter().map(|message| format!("{name}: {}: {}", shown(&item.outcome), shown(message))));
        for artifact in &item.artifacts {
            if let Err(error) = &artifact.outcome {
                lines.push(format!("{name}, {}: {}", shown(&artifact.name), chain(&**error)));
            }
        }
    }
    lines.extend(report.manifest.as_ref().err().map(|error| chain(error)));
    lines.into_iter().map(|line| line + "\n").collect()
}

fn chain(error: &(dyn Error + 'static)) -> String {
    let causes = iter::successors(Some(error), |error| (*error).source());
    causes.map(shown).collect::<Vec<_>>().join(": ")
}
