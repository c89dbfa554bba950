//! The configuration files of other tools.

use std::io;
use std::path::Path;

use auth_core::Secret;
use durable_fs::AtomicFile;
use serde::Serialize;

use super::access::BucketAccess;

/// A tool that can use the bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BucketTool {
    /// `rclone`, with the remote `aignostics:`.
    Rclone,
    /// `s5cmd`.
    S5cmd,
    /// The AWS command line and its libraries, with the profile `aignostics`.
    Aws,
    /// `gsutil`.
    Gsutil,
}

/// A configuration file that was written for a tool. Its JSON form, which does not contain the secret, is described in
/// `docs/schemas/bucket-credentials.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct BucketToolFile {
    /// The path of the file, for display. The file contains the secret.
    pub file: String,
    /// The name of the bucket.
    pub bucket: String,
    /// The URL of the storage.
    pub endpoint: String,
    /// The id of the key.
    pub key_id: String,
    /// A command that lists the bucket. It contains no secret.
    pub example: String,
}

impl BucketTool {
    /// All tools.
    pub const ALL: [Self; 4] = [Self::Rclone, Self::S5cmd, Self::Aws, Self::Gsutil];

    /// Returns the name of the program.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rclone => "rclone",
            Self::S5cmd => "s5cmd",
            Self::Aws => "aws",
            Self::Gsutil => "gsutil",
        }
    }

    /// Returns the usual name of the configuration file.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Rclone => "rclone.conf",
            Self::S5cmd => "s5cmd-credentials",
            Self::Aws => "aws-config",
            Self::Gsutil => "boto.cfg",
        }
    }

    pub(super) fn configuration(self, access: &BucketAccess) -> Secret {
        let BucketAccess { region, key_id, secret, .. } = access;
        let (endpoint, secret) = (access.endpoint(), secret.expose());
        let text = match self {
            Self::Rclone => format!(
                "[aignostics]\ntype = s3\nprovider = {}\naccess_key_id = {key_id}\nsecret_access_key = {secret}\n\
                 endpoint = {endpoint}\nregion = {region}\nno_check_bucket = true\n",
                access.rclone_provider()
            ),
            Self::S5cmd => {
                format!("[aignostics]\naws_access_key_id = {key_id}\naws_secret_access_key = {secret}\n")
            }
            Self::Aws => format!(
                "[profile aignostics]\naws_access_key_id = {key_id}\naws_secret_access_key = {secret}\n\
                 region = {region}\nendpoint_url = {endpoint}\nrequest_checksum_calculation = when_required\n\
                 response_checksum_validation = when_required\n"
            ),
            Self::Gsutil => boto_configuration(access),
        };
        Secret::new(text)
    }

    /// Returns a command that lists the bucket with a configuration file. The command contains no secret.
    pub fn example(self, access: &BucketAccess, file: &Path) -> String {
        let (file, bucket, endpoint, region) =
            (shell_quoted(&file.display().to_string()), &access.bucket, access.endpoint(), &access.region);
        match self {
            Self::Rclone => format!("rclone --config {file} ls aignostics:{bucket}"),
            Self::S5cmd => format!(
                "AWS_REGION={region} s5cmd --credentials-file {file} --profile aignostics --endpoint-url {endpoint} ls \
                 's3://{bucket}/*'"
            ),
            Self::Aws => format!("AWS_CONFIG_FILE={file} aws --profile aignostics s3 ls s3://{bucket}"),
            Self::Gsutil => format!("BOTO_CONFIG={file} gsutil ls gs://{bucket}"),
        }
    }
}

impl BucketAccess {
    /// Writes a configuration file for a tool. Only the owner can read the file. With `overwrite`, the whole content of
    /// an existing file is replaced. Blocks the calling thread.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::AlreadyExists`]: the file exists, and `overwrite` is false. Otherwise the file cannot be
    /// written.
    pub fn write(&self, tool: BucketTool, file: &Path, overwrite: bool) -> io::Result<BucketToolFile> {
        if !overwrite && file.symlink_metadata().is_ok() {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "the file exists"));
        }
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let temporary = file.with_file_name(format!(".{name}.{:08x}.part", fastrand::u32(..)));
        let configuration = self.configuration(tool);
        let write_result = AtomicFile::new(file, temporary).with_mode(0o600).replace(configuration.expose().as_bytes());
        write_result.map_err(|error| io::Error::new(error.kind(), error))?;
        Ok(BucketToolFile {
            file: file.display().to_string(),
            bucket: self.bucket.clone(),
            endpoint: self.endpoint.to_string(),
            key_id: self.key_id.clone(),
            example: tool.example(self, file),
        })
    }

    /// Returns the content of a configuration file for a tool. It contains the key.
    pub fn configuration(&self, tool: BucketTool) -> Secret {
        tool.configuration(self)
    }
}

/// Returns the configuration of boto 2, the library that gsutil uses.
fn boto_configuration(access: &BucketAccess) -> String {
    let BucketAccess { endpoint, key_id, secret, .. } = access;
    let host = endpoint.host_str().unwrap_or_default();
    let port = endpoint.port().map(|port| format!("gs_port = {port}\n")).unwrap_or_default();
    let is_secure = if endpoint.scheme() == "https" { "True" } else { "False" };
    format!(
        "[Credentials]\ngs_access_key_id = {key_id}\ngs_secret_access_key = {}\ngs_host = {host}\n{port}\n\
         [Boto]\nis_secure = {is_secure}\nhttps_validate_certificates = True\n\n\
         [GSUtil]\nprefer_api = xml\ncheck_hashes = if_fast_else_skip\n",
        secret.expose()
    )
}

fn shell_quoted(text: &str) -> String {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "/._-".contains(character);
    if text.chars().all(is_plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}
