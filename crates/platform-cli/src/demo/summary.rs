use std::io::{self, Write};
use std::path::Path;

use comfy_table::{CellAlignment, Table, presets};
use platform_resources::{ItemReport, RunReport};

use super::shown;

/// Prints what became of each item, and where the results are.
pub(super) fn print(report: &RunReport, output: &Path) -> io::Result<()> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["item", "outcome", "artifacts", "bytes"]);
    for number in [2, 3] {
        if let Some(column) = table.column_mut(number) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for item in &report.items {
        let verified = item.artifacts.iter().filter(|artifact| artifact.outcome.is_ok()).count();
        table.add_row([
            item.external_id.clone(),
            item.outcome.to_string(),
            format!("{verified}/{}", item.artifacts.len()),
            item.bytes().to_string(),
        ]);
    }
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{table}\nresults: {}\nmanifest: {}", shown(output), shown(&report.manifest))?;
    stdout.flush()?;
    drop(stdout);
    report.items.iter().try_for_each(explain)
}

/// Says on stderr what failed, and why.
fn explain(item: &ItemReport) -> io::Result<()> {
    let mut stderr = io::stderr().lock();
    if let Some(message) = &item.message {
        writeln!(stderr, "{}: {}: {message}", item.external_id, item.outcome)?;
    }
    for artifact in &item.artifacts {
        if let Err(error) = &artifact.outcome {
            let causes = std::iter::successors(error.source(), |cause| cause.source());
            let reasons: Vec<_> = [error.to_string()].into_iter().chain(causes.map(ToString::to_string)).collect();
            writeln!(stderr, "{}, {}: {}", item.external_id, artifact.name, reasons.join(": "))?;
        }
    }
    Ok(())
}
