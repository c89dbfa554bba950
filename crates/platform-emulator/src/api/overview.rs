//! A page with the runs and their progress, for users of the emulator.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::describe;
use crate::page::{escaped, page};
use crate::platform::Platform;
use crate::state::run::{Item, Run};

/// The maximum number of runs, latest first.
const RUNS: usize = 50;
/// The maximum number of items per run.
const ITEMS: usize = 100;

pub(super) async fn show(State(platform): State<Arc<Platform>>) -> Response {
    let content = platform.state.read(|records| {
        let runs: String = records.runs.values().rev().take(RUNS).map(run).collect();
        let shown = records.runs.len().min(RUNS);
        format!("<p>{shown} of {} runs, the latest first.</p>{runs}", records.runs.len())
    });
    page(StatusCode::OK, "Runs", &content)
}

fn run(run: &Run) -> String {
    let ended = run.items.iter().filter(|item| item.has_ended()).count();
    let items: String = run.items.iter().take(ITEMS).map(item).collect();
    let more = match run.items.len().saturating_sub(ITEMS) {
        0 => String::new(),
        more => format!("<p>and {more} more items</p>"),
    };
    format!(
        "<details><summary>{} {} {}: {}, {ended} of {} items</summary><p>{} by {}</p>\
         <table><thead><tr><th>Item</th><th>State</th><th>Files</th></tr></thead><tbody>{items}</tbody></table>{more}</details>",
        escaped(&run.application),
        escaped(&run.version),
        run.id,
        describe::run_state(run),
        run.items.len(),
        run.submitted_at,
        escaped(&run.submitted_by),
    )
}

fn item(item: &Item) -> String {
    let state = describe::termination_reason(item).unwrap_or(describe::item_state(item));
    format!("<tr><td>{}</td><td>{state}</td><td>{}</td></tr>", escaped(&item.external_id), item.artifacts().len())
}
