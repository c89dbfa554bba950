/// The error of a request that must not be sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RawRequestError {
    /// The path is not a path of the platform.
    #[error("the path is not on the platform's origin {0}: write a path such as /v1/me")]
    OtherOrigin(String),
    /// The client sets this header.
    #[error("the header '{0}' cannot be set, because the client sets it")]
    Header(String),
    /// The name or the value of this header is not valid.
    #[error("the header '{0}' is not valid: its name must be a word, and its value visible ASCII characters")]
    InvalidHeader(String),
    /// The list does not end.
    #[error("the list has more than {0} pages: request it page by page")]
    EndlessList(usize),
}
