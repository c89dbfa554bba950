//! The list of runs.

use std::sync::Arc;

use axum::extract::State;
use jiff::Timestamp;

use super::parts::{self, Counts};
use super::view::View;
use crate::page::Page;
use crate::page::format::{ago, count, escaped};
use crate::platform::Platform;
use crate::state::run::Run;

/// The number of runs per page.
const RUNS_PER_PAGE: usize = 50;

pub(super) async fn show(State(platform): State<Arc<Platform>>, view: View) -> Page {
    let now = platform.timestamp();
    let content = platform.state.read(|records| {
        let runs = &records.runs;
        let range = view.range(runs.len(), RUNS_PER_PAGE);
        let rows: String =
            runs.values().rev().skip(range.start).take(range.len()).map(|run| row(&platform, run, now)).collect();
        let active = runs.values().filter(|run| run.end.is_none()).count();
        let list = if runs.is_empty() { NO_RUNS.to_owned() } else { table(&rows) };
        format!(
            r#"<h1>Runs</h1><p class="muted">{}, {active} active. {}</p>{list}{}"#,
            count(runs.len(), "run"),
            view.status(now),
            view.pager(runs.len(), RUNS_PER_PAGE),
        )
    });
    Page::new(super::HOME, "Runs", content).wide().with_refresh(view.refresh())
}

const NO_RUNS: &str = r#"<div class="panel empty"><h2>No runs yet</h2>
<p>Submitted runs appear here, with their progress and their results.</p>
<p class="muted">In the shell that <code class="copy">aignostics emulator exec -- bash</code> opens, <code class="copy">aignostics run execute</code> submits a folder of slides.</p></div>"#;

fn table(rows: &str) -> String {
    format!(
        r#"<table class="rows runs"><thead><tr><th scope="col">Run</th><th scope="col">Outcome</th><th scope="col">Items</th><th scope="col">Submitted</th></tr></thead><tbody>{rows}</tbody></table>"#
    )
}

fn row(platform: &Platform, run: &Run, now: Timestamp) -> String {
    let counts = Counts::of(run);
    format!(
        r#"<tr><td class="first"><a href="/runs/{}">{}</a><small>{} · {}</small></td><td class="state">{}</td><td class="progress">{}</td><td>{}<small>by {}</small></td></tr>"#,
        run.id,
        parts::application(platform, run),
        escaped(&run.version),
        parts::short_id(run.id),
        counts.outcome(run),
        counts.bar(),
        ago(run.submitted_at, now),
        parts::user(platform, &run.submitted_by),
    )
}
