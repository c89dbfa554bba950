use clap::ValueEnum;

/// The format of printed data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table for reading.
    #[value(help = None, alias = "text")]
    Table,
    /// One JSON document.
    #[value(help = None)]
    Json,
    /// JSON Lines, one object per line.
    #[value(help = None)]
    Jsonl,
}
