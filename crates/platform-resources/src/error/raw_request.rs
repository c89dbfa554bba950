/// The error of a [`RawRequest`](crate::RawRequest) that must not be sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RawRequestError {
    /// The path does not belong to the platform's origin.
    #[error("the path is not on the platform's origin {0}: write a path such as /v1/me")]
    OtherOrigin(String),
    /// The client sets this header.
    #[error("the header '{0}' cannot be set, because the client sets it")]
    Header(String),
    /// The name or the value of this header is not valid.
    #[error(
        "the header '{0}' is not valid: its name must be a token (RFC 9110), and its value visible ASCII characters"
    )]
    InvalidHeader(String),
    /// The list has more pages than permitted, and possibly no end.
    #[error("the list has more than {0} pages: request it page by page")]
    EndlessList(usize),
}
