use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use tempfile::TempPath;
use tokio::fs::File;
use tokio::io::AsyncWriteExt;

use crate::random;

/// All objects of all buckets; their bytes lie in files of one folder.
pub(crate) struct Objects {
    folder: PathBuf,
    index: Mutex<HashMap<(String, String), Arc<Object>>>,
}

/// One version of an object. Its file goes when nobody reads it any more.
pub(crate) struct Object {
    pub(crate) bytes: u64,
    pub(crate) crc32c: u32,
    pub(crate) content_type: String,
    /// Differs from version to version.
    pub(crate) tag: String,
    path: TempPath,
}

/// An object that is being written.
pub(crate) struct Upload {
    file: File,
    path: TempPath,
    bytes: u64,
    crc32c: u32,
}

impl Objects {
    pub(crate) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), index: Mutex::default() }
    }

    /// A new file for work that is not an object yet.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.folder.join(random::token())
    }

    pub(crate) async fn create(&self) -> io::Result<Upload> {
        let path = TempPath::try_from_path(self.scratch())?;
        Ok(Upload { file: File::create_new(&path).await?, path, bytes: 0, crc32c: 0 })
    }

    pub(crate) fn put(&self, bucket: &str, key: &str, object: Object) {
        self.index.lock().insert((bucket.to_owned(), key.to_owned()), Arc::new(object));
    }

    pub(crate) fn get(&self, bucket: &str, key: &str) -> Option<Arc<Object>> {
        self.index.lock().get(&(bucket.to_owned(), key.to_owned())).cloned()
    }
}

impl Upload {
    pub(crate) async fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        self.file.write_all(piece).await?;
        self.crc32c = crc32c::crc32c_append(self.crc32c, piece);
        self.bytes += piece.len() as u64;
        Ok(())
    }

    pub(crate) async fn finish(mut self, content_type: &str) -> io::Result<Object> {
        self.file.flush().await?;
        let Self { path, bytes, crc32c, .. } = self;
        Ok(Object { bytes, crc32c, content_type: content_type.to_owned(), tag: random::token(), path })
    }
}

impl Object {
    pub(crate) async fn open(&self) -> io::Result<File> {
        File::open(&self.path).await
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// A CRC32C as it is written: base64 of its four bytes, the highest first.
pub(crate) fn checksum_text(crc32c: u32) -> String {
    STANDARD.encode(crc32c.to_be_bytes())
}
