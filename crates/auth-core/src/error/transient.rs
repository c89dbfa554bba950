/// Returns true for response statuses after which the same request may succeed later: 408, 425, 429, 500, 502, 503 and
/// 504 (RFC 9110, section 15; RFC 8470, section 5.2; RFC 6585, section 4).
///
/// All crates use this list. `auth_http::retry` re-exports it; it is defined here for crates that do not depend on an
/// HTTP client.
pub const fn is_transient_status(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500 | 502 | 503 | 504)
}
