use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use tempfile::{TempDir, TempPath};
use tokio::fs::File;
use tokio::io::AsyncWriteExt;
use tokio::task::spawn_blocking;

use crate::random;

/// All objects of all buckets; their bytes lie in files of a temporary folder.
///
/// Whatever writes into the folder holds on to it, so that it is deleted when nobody does any more.
pub(crate) struct Objects {
    index: Mutex<HashMap<(String, String), Arc<Object>>>,
    folder: Arc<TempDir>,
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
    _folder: Arc<TempDir>,
}

impl Objects {
    pub(crate) fn in_temporary_folder() -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("aignostics-emulator-").tempdir()?;
        Ok(Self { index: Mutex::default(), folder: Arc::new(folder) })
    }

    pub(crate) async fn create(&self) -> io::Result<Upload> {
        let folder = self.folder.clone();
        let create = move || {
            let path = TempPath::try_from_path(folder.path().join(random::token()))?;
            Ok(Upload { file: std::fs::File::create_new(&path)?.into(), path, bytes: 0, crc32c: 0, _folder: folder })
        };
        spawn_blocking(create).await.unwrap_or_else(|error| Err(io::Error::other(error)))
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
