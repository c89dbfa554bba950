//! Pages with the runs, their outcome and their results, for users of the emulator.
//!
//! The pages require no login, because everyone who can connect to the emulator can log in as any user.

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

/// The path of the list of runs. Links are relative to the server, so that they work under all host names.
const HOME: &str = "/";

pub(super) fn router() -> Router<Arc<Platform>> {
    Router::new()
        .route("/", get(overview::show))
        .route("/runs/{run_id}", get(run::show))
        .route("/runs/{run_id}/files/{artifact_id}", get(run::file))
}

/// Returns the response for an unknown path: an HTML page for a browser, otherwise a JSON error like the API.
pub(super) async fn not_found(headers: HeaderMap) -> Response {
    if page::accepts_html(&headers) {
        return Page::not_found(HOME).into_response();
    }
    Problem::NotFound("Not Found").into_response()
}
