//! Pagination and automatic refresh of pages.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use jiff::Timestamp;
use url::form_urlencoded;

/// The interval of the automatic refresh, in seconds.
const REFRESH_SECONDS: u32 = 5;

/// The query parameters of a page: `page` and `refresh`. Invalid values are ignored.
pub(super) struct ViewOptions {
    /// The number of the page, starting at 1.
    page_number: usize,
    is_paused: bool,
}

impl<S: Sync> FromRequestParts<S> for ViewOptions {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        let mut view = Self { page_number: 1, is_paused: false };
        for (name, value) in form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()) {
            match &*name {
                "page" => view.page_number = value.parse().unwrap_or(1).max(1),
                "refresh" => view.is_paused = value == "off",
                _ => {}
            }
        }
        Ok(view)
    }
}

impl ViewOptions {
    /// Returns the range of entries on the page, for a list with `length` entries and pages with `page_size` entries.
    /// If the page number is too high, returns the range of the last page.
    pub(super) fn range(&self, length: usize, page_size: usize) -> std::ops::Range<usize> {
        let start = (self.existing_page_number(length, page_size) - 1) * page_size;
        start..length.min(start + page_size)
    }

    fn existing_page_number(&self, length: usize, page_size: usize) -> usize {
        self.page_number.min(length.div_ceil(page_size).max(1))
    }

    /// Returns links to the previous and the next page, or an empty text for a list with one page.
    pub(super) fn page_links(&self, length: usize, page_size: usize) -> String {
        let (number, last) = (self.existing_page_number(length, page_size), length.div_ceil(page_size));
        if last < 2 {
            return String::new();
        }
        let link = |number: usize, text: &str| match number {
            0 => "<span></span>".to_owned(),
            number if number > last => "<span></span>".to_owned(),
            number => format!(r#"<a href="{}">{text}</a>"#, page_query(number, self.is_paused)),
        };
        format!(
            r#"<p class="pager">{}<span class="muted">Page {number} of {last}</span>{}</p>"#,
            link(number - 1, "← Previous"),
            link(number + 1, "Next →"),
        )
    }

    /// Returns the interval of the automatic refresh in seconds, or `None` if the refresh is paused.
    pub(super) fn refresh_seconds(&self) -> Option<u32> {
        (!self.is_paused).then_some(REFRESH_SECONDS)
    }

    /// Returns a line with the time of the page, and a link that pauses or resumes the automatic refresh.
    pub(super) fn refresh_status(&self, now: Timestamp) -> String {
        let (now, number) = (now.strftime("%H:%M:%S UTC"), self.page_number);
        if self.is_paused {
            return format!(r#"Paused at {now}. <a href="{}">Resume updates</a>"#, page_query(number, false));
        }
        format!(
            r#"Updated at {now}, every {REFRESH_SECONDS} seconds. <a href="{}">Pause</a>"#,
            page_query(number, true)
        )
    }
}

fn page_query(number: usize, is_paused: bool) -> String {
    let refresh = if is_paused { "&amp;refresh=off" } else { "" };
    format!("?page={number}{refresh}")
}
