//! The page of a run, with its items and links to its results.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use uuid::Uuid;

use super::HOME;
use super::parts::{self, ItemCounts};
use super::view::ViewOptions;
use crate::api::items::redirect;
use crate::page::Page;
use crate::page::format::{escaped, format_duration, format_size, time_ago};
use crate::platform::Platform;
use crate::state::run::{Deletion, Failure, Item, OutputArtifact, Progress, Run};
use crate::storage::presign;

/// The number of items per page.
const ITEMS_PER_PAGE: usize = 100;
/// The maximum number of links to results per item.
const MAX_LINKS: usize = 12;
/// The lifetime of the signed URL of a result. The URL is created when the user opens the link.
const URL_LIFETIME: Duration = Duration::from_secs(60);

pub(super) async fn show(State(platform): State<Arc<Platform>>, Path(id): Path<String>, view: ViewOptions) -> Page {
    let now = platform.timestamp();
    let page = platform.state.read(|records| {
        let run = id.parse::<Uuid>().ok().and_then(|id| records.runs.get(&id))?;
        let title = format!("Run {}", &run.id.to_string()[..8]);
        let refresh = view.refresh_seconds().filter(|_| run.end.is_none());
        let content = run_content(&platform, run, &view, now);
        Some(Page::new(HOME, title, content).with_full_width().with_refresh(refresh))
    });
    page.unwrap_or_else(|| {
        let content =
            "<p>The emulator has no run with this id. Without a data folder, it forgets its runs when it ends.</p>";
        Page::error(HOME, StatusCode::NOT_FOUND, "Run not found", content)
    })
}

/// Redirects to the file of an artifact.
pub(super) async fn file(
    State(platform): State<Arc<Platform>>,
    Path((id, artifact_id)): Path<(String, String)>,
) -> Response {
    let file = platform.state.read(|records| {
        let run = id.parse::<Uuid>().ok().and_then(|id| records.runs.get(&id))?;
        let artifact_id = artifact_id.parse::<Uuid>().ok()?;
        let artifacts = run.items.iter().flat_map(|item| item.artifacts().iter().map(move |artifact| (item, artifact)));
        let (item, artifact) = artifacts.into_iter().find(|(_, artifact)| artifact.id == artifact_id)?;
        let disposition = format!(r#"attachment; filename="{}""#, file_name(item, artifact));
        Some((run.results_deletion(platform.timestamp()), artifact.key.clone(), disposition))
    });
    let error_page =
        |status, title: &str, text: &str| Page::error(HOME, status, title, &format!("<p>{text}</p>")).into_response();
    match file {
        None => error_page(StatusCode::NOT_FOUND, "File not found", "The emulator has no such file of this run."),
        Some((Some(_), ..)) => error_page(StatusCode::GONE, "File deleted", "The results of this run were deleted."),
        Some((None, key, disposition)) => {
            let parameters = [("response-content-disposition", disposition.as_str())];
            redirect(presign(&platform, &key, URL_LIFETIME, &parameters).as_str())
        }
    }
}

fn run_content(platform: &Platform, run: &Run, view: &ViewOptions, now: Timestamp) -> String {
    let counts = ItemCounts::of(run);
    let status =
        if run.end.is_none() { format!(r#"<p class="muted">{}</p>"#, view.refresh_status(now)) } else { String::new() };
    let error = run.error.as_ref().map_or(String::new(), |error| {
        let (code, message) = (escaped(&error.error_code), escaped(&error.error_message));
        format!(r#"<p class="alert">{message} <code>{code}</code></p>"#)
    });
    let items: String =
        run.items[view.range(run.items.len(), ITEMS_PER_PAGE)].iter().map(|item| item_row(run, item, now)).collect();
    format!(
        r#"<a class="back" href="{HOME}">← All runs</a>
<div class="heading"><h1>{} {}</h1>{}</div>{status}{error}
<section class="panel" aria-label="Summary"><p>{}</p>{}</section>
<table class="rows items"><thead><tr><th scope="col">Item</th><th scope="col">Outcome</th><th scope="col">Results</th></tr></thead><tbody>{items}</tbody></table>{}{}"#,
        parts::application_name(platform, run),
        escaped(&run.version),
        counts.outcome_badge(run),
        counts.progress_bar(),
        run_facts(platform, run, now),
        view.page_links(run.items.len(), ITEMS_PER_PAGE),
        metadata_section(run),
    )
}

fn run_facts(platform: &Platform, run: &Run, now: Timestamp) -> String {
    let organization = platform.accounts.organization(&run.organization);
    let organization = escaped(organization.map_or(&run.organization, |organization| &organization.display_name));
    let mut facts = vec![
        ("Run id", format!(r#"<code class="copy">{}</code>"#, run.id)),
        ("Submitted", time_ago(run.submitted_at, now)),
        ("By", format!("{}, {organization}", parts::user_name(platform, &run.submitted_by))),
    ];
    if let Some(end) = run.end {
        let after = format_duration(end.at.duration_since(run.submitted_at));
        facts.push(("Ended", format!("{}, after {after}", time_ago(end.at, now))));
    }
    let results = match run.results_deletion(now) {
        Some(Deletion::ByUser) => "deleted by a user".to_owned(),
        Some(Deletion::BySystem) => "deleted after 30 days".to_owned(),
        None => format!(r#"<code class="copy">aignostics run download {} results</code>"#, run.id),
    };
    facts.push(("All results", results));
    let facts: Vec<_> = facts.iter().map(|(name, value)| format!("<dt>{name}</dt><dd>{value}</dd>")).collect();
    format!("<dl>{}</dl>", facts.concat())
}

fn metadata_section(run: &Run) -> String {
    match serde_json::to_string_pretty(&run.custom_metadata) {
        Ok(text) if !run.custom_metadata.is_null() => {
            format!("<details><summary>Metadata</summary><pre>{}</pre></details>", escaped(&text))
        }
        _ => String::new(),
    }
}

fn item_row(run: &Run, item: &Item, now: Timestamp) -> String {
    let results = match &item.progress {
        Progress::Failed(Failure::User(message) | Failure::System(message)) => escaped(message),
        Progress::Succeeded(_) if run.results_deletion(now).is_some() => {
            r#"<span class="muted">deleted</span>"#.to_owned()
        }
        Progress::Succeeded(files) => result_links(run, files),
        Progress::Pending | Progress::Processing | Progress::Skipped => String::new(),
    };
    format!(
        r#"<tr><td class="first">{}</td><td class="state">{}</td><td>{results}</td></tr>"#,
        escaped(&item.external_id),
        parts::item_outcome_badge(item),
    )
}

fn result_links(run: &Run, files: &[OutputArtifact]) -> String {
    let link = |file: &OutputArtifact| {
        format!(
            r#"<li><a href="/runs/{}/files/{}">{}</a> <span class="muted">{}, {}</span></li>"#,
            run.id,
            file.id,
            escaped(&file.name),
            escaped(file.metadata["media_type"].as_str().unwrap_or_default()),
            format_size(file.metadata["size_bytes"].as_u64().unwrap_or_default()),
        )
    };
    let links: String = files.iter().take(MAX_LINKS).map(link).collect();
    let more = match files.len().saturating_sub(MAX_LINKS) {
        0 => String::new(),
        hidden => format!(r#"<li class="muted">and {hidden} more</li>"#),
    };
    format!(r#"<ul class="files">{links}{more}</ul>"#)
}

/// Returns a file name from the names of the item and the artifact. Only characters that all file systems accept are
/// kept; the others are replaced with `_`.
fn file_name(item: &Item, artifact: &OutputArtifact) -> String {
    let extension = match artifact.metadata["media_type"].as_str() {
        Some("application/geo+json") => ".geojson",
        Some("application/json") => ".json",
        Some("image/tiff") => ".tiff",
        Some("text/csv") => ".csv",
        Some("text/plain") => ".txt",
        _ => "",
    };
    let name = format!("{}-{}", item.external_id, artifact.name);
    let replace_unsafe =
        |character: char| if character.is_ascii_alphanumeric() || "-_.".contains(character) { character } else { '_' };
    let name: String = name.chars().map(replace_unsafe).collect();
    if name.ends_with(extension) { name } else { name + extension }
}
