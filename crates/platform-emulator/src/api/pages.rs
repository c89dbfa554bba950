//! Pages with the runs, their outcome and their results, for users of the emulator.
//!
//! They need no login: on the login page, everyone who reaches the emulator can choose any user.

mod overview;
mod parts;
mod run;
mod view;

use std::sync::Arc;

use axum::Router;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::problem::Problem;
use crate::page::{self, Page};
use crate::platform::Platform;

/// The list of runs. All pages are on one server, so that their links work under each of its names.
const HOME: &str = "/";

pub(super) fn router() -> Router<Arc<Platform>> {
    Router::new()
        .route("/", get(overview::show))
        .route("/runs/{run_id}", get(run::show))
        .route("/runs/{run_id}/files/{artifact_id}", get(run::file))
}

/// Answers a request for an unknown path: with a page for a browser, and otherwise like the API.
pub(super) async fn not_found(headers: HeaderMap) -> Response {
    if page::is_wanted(&headers) {
        return Page::not_found(HOME).into_response();
    }
    Problem::NotFound("Not Found").into_response()
}
