//! The list of runs.

use std::sync::Arc;

use axum::extract::State;
use jiff::Timestamp;

use super::parts::{self, ItemCounts};
use super::view::ViewOptions;
use crate::page::Page;
use crate::page::format::{count_with_noun, escaped, time_ago};
use crate::platform::Platform;
use crate::state::run::Run;

/// The number of runs per page.
const RUNS_PER_PAGE: usize = 50;

pub(super) async fn show(State(platform): State<Arc<Platform>>, view: ViewOptions) -> Page {
    let now = platform.timestamp();
    let content = platform.state.read(|records| {
        let runs = &records.runs;
        let range = view.range(runs.len(), RUNS_PER_PAGE);
        let rows: String =
            runs.values().rev().skip(range.start).take(range.len()).map(|run| run_row(&platform, run, now)).collect();
        let active = runs.values().filter(|run| run.end.is_none()).count();
        let list = if runs.is_empty() { NO_RUNS.to_owned() } else { run_table(&rows) };
        format!(
            r#"<h1>Runs</h1><p class="muted">{}, {active} active. {}</p>{list}{}"#,
            count_with_noun(runs.len(), "run"),
            view.refresh_status(now),
            view.page_links(runs.len(), RUNS_PER_PAGE),
        )
    });
    Page::new(super::HOME, "Runs", content).with_full_width().with_refresh(view.refresh_seconds())
}

const NO_RUNS: &str = r#"<div class="panel empty"><h2>No runs yet</h2>
<p>Submitted runs appear here, with their progress and their results.</p>
<p class="muted">In the shell that <code class="copy">aignostics emulator exec -- bash</code> opens, <code class="copy">aignostics run execute</code> submits a folder of slides.</p></div>"#;

fn run_table(rows: &str) -> String {
    format!(
        r#"<table class="rows runs"><thead><tr><th scope="col">Run</th><th scope="col">Outcome</th><th scope="col">Items</th><th scope="col">Submitted</th></tr></thead><tbody>{rows}</tbody></table>"#
    )
}

fn run_row(platform: &Platform, run: &Run, now: Timestamp) -> String {
    let counts = ItemCounts::of(run);
    format!(
        r#"<tr><td class="first"><a href="/runs/{}">{}</a><small>{} · {}</small></td><td class="state">{}</td><td class="progress">{}</td><td>{}<small>by {}</small></td></tr>"#,
        run.id,
        parts::application_name(platform, run),
        escaped(&run.version),
        parts::short_id(run.id),
        counts.outcome_badge(run),
        counts.progress_bar(),
        time_ago(run.submitted_at, now),
        parts::user_name(platform, &run.submitted_by),
    )
}
