use std::path::{Path, PathBuf};

use crate::Crc32c;

/// A file to upload.
#[derive(Clone, Debug)]
pub struct UploadFile {
    path: PathBuf,
    key: String,
    content_type: String,
    crc32c: Option<Crc32c>,
}

impl UploadFile {
    /// Creates an upload of the file at `path` as the object `key`.
    pub fn new(path: impl Into<PathBuf>, key: impl Into<String>) -> Self {
        let content_type = "application/octet-stream".to_owned();
        Self { path: path.into(), key: key.into(), content_type, crc32c: None }
    }

    /// Sets the media type (RFC 6838). The default is `application/octet-stream`.
    pub fn with_content_type(mut self, content_type: impl Into<String>) -> Self {
        self.content_type = content_type.into();
        self
    }

    /// Sets the checksum that the file must have. Without it, the file is read before the upload to compute its
    /// checksum.
    pub fn with_crc32c(mut self, crc32c: Crc32c) -> Self {
        self.crc32c = Some(crc32c);
        self
    }

    /// Returns the path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the key of the object.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Returns the media type.
    pub fn content_type(&self) -> &str {
        &self.content_type
    }

    /// Returns the checksum that the file must have, if it is set.
    pub fn crc32c(&self) -> Option<Crc32c> {
        self.crc32c
    }
}
