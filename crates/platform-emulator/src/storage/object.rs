use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tempfile::{TempDir, TempPath};
use tokio::fs::File;
use tokio::io::AsyncWriteExt;
use tokio::task::spawn_blocking;
use uuid::Uuid;

use crate::store::{Changes, Found, Store};

/// All objects of all buckets; their bytes lie in files of one folder.
pub(crate) struct Objects {
    index: Mutex<HashMap<(String, String), Arc<Object>>>,
    folder: Arc<Folder>,
}

/// Where the files lie. Whatever writes into it holds on to it, so that a temporary one is deleted
/// when nobody does any more.
enum Folder {
    Temporary(TempDir),
    Named(PathBuf),
}

/// One version of an object. Its file goes when it is not in the index and nobody reads it any more.
pub(crate) struct Object {
    pub(crate) about: About,
    path: PathBuf,
    in_index: AtomicBool,
}

/// What is known of an object.
#[derive(Clone, Deserialize, Serialize)]
pub(crate) struct About {
    pub(crate) bytes: u64,
    pub(crate) crc32c: u32,
    pub(crate) content_type: String,
    /// Differs from version to version, and is the name of the file.
    pub(crate) tag: String,
}

/// An object that is being written.
pub(crate) struct Upload {
    file: File,
    path: TempPath,
    bytes: u64,
    crc32c: u32,
    tag: String,
    folder: Arc<Folder>,
}

/// An object as it is written down.
#[derive(Deserialize, Serialize)]
struct Record {
    bucket: String,
    key: String,
    about: About,
}

impl Objects {
    /// In `data`, with the objects that were found there; otherwise in a temporary folder.
    pub(crate) fn new(data: Option<&Path>, found: &mut Found) -> io::Result<Self> {
        let Some(data) = data else {
            let folder = tempfile::Builder::new().prefix("aignostics-emulator-").tempdir()?;
            return Ok(Self { index: Mutex::default(), folder: Arc::new(Folder::Temporary(folder)) });
        };
        let folder = data.join("objects");
        fs::create_dir_all(&folder)?;
        let records = found.take::<Record>("object/")?;
        let kept: HashSet<_> = records.iter().map(|(_, record)| record.about.tag.clone()).collect();
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            // What was being written when the process ended, or replaced right before.
            if !entry.file_name().to_str().is_some_and(|name| kept.contains(name)) {
                fs::remove_file(entry.path())?;
            }
        }
        let index = records.into_iter().map(|(_, Record { bucket, key, about })| {
            let path = folder.join(&about.tag);
            ((bucket, key), Arc::new(Object { about, path, in_index: true.into() }))
        });
        Ok(Self { index: Mutex::new(index.collect()), folder: Arc::new(Folder::Named(folder)) })
    }

    pub(crate) async fn create(&self) -> io::Result<Upload> {
        let folder = self.folder.clone();
        let create = move || {
            let tag = Uuid::new_v4().simple().to_string();
            let path = TempPath::try_from_path(folder.path().join(&tag))?;
            Ok(Upload { file: fs::File::create_new(&path)?.into(), path, bytes: 0, crc32c: 0, tag, folder })
        };
        spawn_blocking(create).await.unwrap_or_else(|error| Err(io::Error::other(error)))
    }

    /// Puts an object in the place of what was there, and returns when that is written down.
    pub(crate) async fn put(&self, store: &Store, bucket: &str, key: &str, object: Object) -> io::Result<()> {
        let mut changes = Changes::default();
        let record = Record { bucket: bucket.to_owned(), key: key.to_owned(), about: object.about.clone() };
        changes.put(format!("object/{bucket}/{key}"), &record);
        let written = {
            let mut index = self.index.lock();
            object.in_index.store(true, Ordering::SeqCst);
            let replaced = index.insert((record.bucket, record.key), Arc::new(object));
            if let Some(replaced) = replaced {
                replaced.in_index.store(false, Ordering::SeqCst);
            }
            store.write(changes)
        };
        written.await.map_err(io::Error::other)
    }

    pub(crate) fn get(&self, bucket: &str, key: &str) -> Option<Arc<Object>> {
        self.index.lock().get(&(bucket.to_owned(), key.to_owned())).cloned()
    }
}

impl Folder {
    fn path(&self) -> &Path {
        match self {
            Self::Temporary(folder) => folder.path(),
            Self::Named(folder) => folder,
        }
    }
}

impl Upload {
    pub(crate) async fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        self.file.write_all(piece).await?;
        self.crc32c = crc32c::crc32c_append(self.crc32c, piece);
        self.bytes += piece.len() as u64;
        Ok(())
    }

    /// The object, on the disk if it is to survive the process.
    pub(crate) async fn finish(mut self, content_type: &str) -> io::Result<Object> {
        self.file.flush().await?;
        if let Folder::Named(folder) = &*self.folder {
            self.file.sync_all().await?;
            File::open(folder).await?.sync_all().await?;
        }
        let Self { path, bytes, crc32c, tag, .. } = self;
        let path = path.keep().map_err(|error| error.error)?;
        let about = About { bytes, crc32c, content_type: content_type.to_owned(), tag };
        Ok(Object { about, path, in_index: false.into() })
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

impl Drop for Object {
    fn drop(&mut self) {
        if !self.in_index.load(Ordering::SeqCst) {
            // If it cannot be deleted now, it is when the platform is started again.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A CRC32C as it is written: base64 of its four bytes, the highest first.
pub(crate) fn checksum_text(crc32c: u32) -> String {
    STANDARD.encode(crc32c.to_be_bytes())
}
