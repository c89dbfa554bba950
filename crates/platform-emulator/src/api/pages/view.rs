//! Pagination and automatic refresh of pages.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use jiff::Timestamp;
use url::form_urlencoded;

/// The interval of the automatic refresh, in seconds.
const REFRESH_SECONDS: u32 = 5;

/// The query parameters of a page: `page` and `refresh`. Invalid values are ignored.
pub(super) struct View {
    /// The number of the page, starting at 1.
    number: usize,
    paused: bool,
}

impl<S: Sync> FromRequestParts<S> for View {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        let mut view = Self { number: 1, paused: false };
        for (name, value) in form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()) {
            match &*name {
                "page" => view.number = value.parse().unwrap_or(1).max(1),
                "refresh" => view.paused = value == "off",
                _ => {}
            }
        }
        Ok(view)
    }
}

impl View {
    /// Returns the range of entries on the page, for a list with `length` entries and pages with `size` entries. If the
    /// page number is too high, returns the range of the last page.
    pub(super) fn range(&self, length: usize, size: usize) -> std::ops::Range<usize> {
        let start = (self.number(length, size) - 1) * size;
        start..length.min(start + size)
    }

    fn number(&self, length: usize, size: usize) -> usize {
        self.number.min(length.div_ceil(size).max(1))
    }

    /// Returns links to the previous and the next page. Returns an empty text for a list with one page.
    pub(super) fn pager(&self, length: usize, size: usize) -> String {
        let (number, last) = (self.number(length, size), length.div_ceil(size));
        if last < 2 {
            return String::new();
        }
        let link = |number: usize, text: &str| match number {
            0 => "<span></span>".to_owned(),
            number if number > last => "<span></span>".to_owned(),
            number => format!(r#"<a href="{}">{text}</a>"#, query(number, self.paused)),
        };
        format!(
            r#"<p class="pager">{}<span class="muted">Page {number} of {last}</span>{}</p>"#,
            link(number - 1, "← Previous"),
            link(number + 1, "Next →"),
        )
    }

    /// Returns the interval of the automatic refresh in seconds, or `None` if the refresh is paused.
    pub(super) fn refresh(&self) -> Option<u32> {
        (!self.paused).then_some(REFRESH_SECONDS)
    }

    /// Returns a line with the time of the page, and a link that pauses or resumes the automatic refresh.
    pub(super) fn status(&self, now: Timestamp) -> String {
        let (now, number) = (now.strftime("%H:%M:%S UTC"), self.number);
        if self.paused {
            return format!(r#"Paused at {now}. <a href="{}">Resume updates</a>"#, query(number, false));
        }
        format!(r#"Updated at {now}, every {REFRESH_SECONDS} seconds. <a href="{}">Pause</a>"#, query(number, true))
    }
}

fn query(number: usize, paused: bool) -> String {
    let refresh = if paused { "&amp;refresh=off" } else { "" };
    format!("?page={number}{refresh}")
}
