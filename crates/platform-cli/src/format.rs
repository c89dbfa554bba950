/// The format of printed data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// A table for reading
    Table,
    /// One JSON document.
    Json,
    /// JSON Lines, one object per line
    Jsonl,
}
