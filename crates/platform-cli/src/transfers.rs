//! The options of commands that transfer files.

use std::num::NonZeroU64;
use std::time::Duration;

use clap::{Args, ValueEnum};
use platform_resources::{ByteSize, TransferSettings};

use crate::time::parse_duration;

/// Options of uploads and downloads. Each has a setting.
#[derive(Args, Clone, Copy, Debug, Default)]
pub(crate) struct TransferArgs {
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

/// The option of downloads.
#[derive(Args, Clone, Copy, Debug, Default)]
pub(crate) struct DigestArgs {
    /// Compute the SHA-256 of each file, in addition to the CRC32C [env: `AIGNOSTICS_TRANSFER_SHA256`] [default: yes]
    #[arg(long, value_name = "YES|NO", hide_possible_values = true, help_heading = "Transfer")]
    sha256: Option<YesOrNo>,
}

/// The option of uploads.
#[derive(Args, Clone, Copy, Debug, Default)]
pub(crate) struct UploadTimeoutArgs {
    /// Maximum time without progress of an upload, such as 5m, for proxies that store it before they forward it [env:
    /// `AIGNOSTICS_UPLOAD_READ_TIMEOUT`] [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = parse_duration, help_heading = "Transfer")]
    upload_read_timeout: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum YesOrNo {
    Yes,
    No,
}

/// All options of a command that transfers files.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Transfers {
    args: TransferArgs,
    digest: DigestArgs,
    timeout: UploadTimeoutArgs,
}

impl From<TransferArgs> for Transfers {
    fn from(args: TransferArgs) -> Self {
        Self { args, ..Self::default() }
    }
}

impl Transfers {
    pub(crate) fn with_digest(self, digest: DigestArgs) -> Self {
        Self { digest, ..self }
    }

    pub(crate) fn with_timeout(self, timeout: UploadTimeoutArgs) -> Self {
        Self { timeout, ..self }
    }

    /// Replaces the settings for which there are options.
    pub(crate) fn apply(self, settings: &mut TransferSettings) {
        let Self { args, digest, timeout } = self;
        settings.jobs = args.jobs.map(usize::from).or(settings.jobs);
        settings.limit_rate = args.limit_rate.or(settings.limit_rate);
        settings.chunk_size = args.chunk_size.or(settings.chunk_size);
        settings.sha256 = digest.sha256.map_or(settings.sha256, |sha256| sha256 == YesOrNo::Yes);
        settings.upload_read_timeout = timeout.upload_read_timeout.or(settings.upload_read_timeout);
    }
}

fn parse_rate(text: &str) -> Result<NonZeroU64, String> {
    let size: ByteSize = text.parse().map_err(|error: platform_resources::ByteSizeError| error.to_string())?;
    NonZeroU64::new(size.get()).ok_or_else(|| "must be at least 1".to_owned())
}

fn parse_chunk_size(text: &str) -> Result<u64, String> {
    let size = parse_rate(text)?.get();
    TransferSettings::accepts_chunk_size(size).then_some(size).ok_or_else(|| "must be 64K to 1G".to_owned())
}
