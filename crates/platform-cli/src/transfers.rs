//! The options of commands that transfer files.

use std::num::NonZeroU64;
use std::time::Duration;

use clap::Args;
use clap::builder::{PathBufValueParser, TypedValueParser};
use platform_resources::{ByteSize, ResultsTarget, TransferSettings};
use terminal::arguments::{choice, parse_duration};

/// The options that uploads and downloads share. Each has a setting.
#[derive(Args, Clone, Copy, Debug, Default)]
struct SharedTransferArgs {
    /// Number of concurrent requests, 1 to 256 [env: `AIGNOSTICS_TRANSFER_JOBS`] [default: 16 for downloads; 4 files and 12
    /// parts for uploads]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256), help_heading = "Transfer")]
    jobs: Option<u16>,
    /// Maximum number of bytes per second of all requests together, such as 500K or 10M [env:
    /// `AIGNOSTICS_TRANSFER_LIMIT_RATE`]
    #[arg(long, value_name = "RATE", value_parser = parse_rate, help_heading = "Transfer")]
    limit_rate: Option<NonZeroU64>,
    /// Size of the parts of large files, 64K to 1G, for uploads at least 8M [env: `AIGNOSTICS_TRANSFER_CHUNK_SIZE`]
    /// [default: 8M]
    #[arg(long, value_name = "SIZE", value_parser = parse_chunk_size, help_heading = "Transfer")]
    chunk_size: Option<u64>,
}

/// The option of downloads only.
#[derive(Args, Clone, Copy, Debug, Default)]
struct DigestArgs {
    /// Compute the SHA-256 of each file, in addition to the CRC32C [env: `AIGNOSTICS_TRANSFER_SHA256`] [default: yes]
    #[arg(long, value_name = "YES|NO", value_parser = choice([("yes", true), ("no", false)]), hide_possible_values = true, help_heading = "Transfer")]
    sha256: Option<bool>,
}

/// The option of uploads only.
#[derive(Args, Clone, Copy, Debug, Default)]
struct UploadTimeoutArgs {
    /// Maximum time without progress of an upload, such as 5m, for proxies that store it before they forward it [env:
    /// `AIGNOSTICS_UPLOAD_READ_TIMEOUT`] [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = parse_duration, help_heading = "Transfer")]
    upload_read_timeout: Option<Duration>,
}

/// The options of a command that downloads.
#[derive(Args, Clone, Copy, Debug, Default)]
pub(crate) struct DownloadTransferArgs {
    #[command(flatten)]
    args: SharedTransferArgs,
    #[command(flatten)]
    digest: DigestArgs,
}

/// The options of a command that uploads.
#[derive(Args, Clone, Copy, Debug, Default)]
pub(crate) struct UploadTransferArgs {
    #[command(flatten)]
    args: SharedTransferArgs,
    #[command(flatten)]
    timeout: UploadTimeoutArgs,
}

/// The options of a command that downloads and uploads.
#[derive(Args, Clone, Copy, Debug, Default)]
pub(crate) struct AllTransferArgs {
    #[command(flatten)]
    args: SharedTransferArgs,
    #[command(flatten)]
    digest: DigestArgs,
    #[command(flatten)]
    timeout: UploadTimeoutArgs,
}

impl From<DownloadTransferArgs> for AllTransferArgs {
    fn from(DownloadTransferArgs { args, digest }: DownloadTransferArgs) -> Self {
        Self { args, digest, ..Self::default() }
    }
}

impl From<UploadTransferArgs> for AllTransferArgs {
    fn from(UploadTransferArgs { args, timeout }: UploadTransferArgs) -> Self {
        Self { args, timeout, ..Self::default() }
    }
}

impl AllTransferArgs {
    /// Replaces the settings for which there are options.
    pub(crate) fn apply(self, settings: &mut TransferSettings) {
        let Self { args, digest, timeout } = self;
        settings.jobs = args.jobs.map(usize::from).or(settings.jobs);
        settings.limit_rate = args.limit_rate.or(settings.limit_rate);
        settings.chunk_size = args.chunk_size.or(settings.chunk_size);
        settings.sha256 = digest.sha256.unwrap_or(settings.sha256);
        settings.upload_read_timeout = timeout.upload_read_timeout.or(settings.upload_read_timeout);
    }
}

/// Returns a parser for the path of a folder or the address of a store.
pub(crate) fn target_parser() -> impl TypedValueParser<Value = ResultsTarget> {
    PathBufValueParser::new().try_map(ResultsTarget::parse)
}

fn parse_rate(text: &str) -> Result<NonZeroU64, String> {
    let size: ByteSize = text.parse().map_err(|error: platform_resources::ByteSizeError| error.to_string())?;
    NonZeroU64::new(size.get()).ok_or_else(|| "must be at least 1".to_owned())
}

fn parse_chunk_size(text: &str) -> Result<u64, String> {
    let size = parse_rate(text)?.get();
    TransferSettings::accepts_chunk_size(size).then_some(size).ok_or_else(|| "must be 64K to 1G".to_owned())
}
