//! Which objects there are, and where their bytes lie.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use axum::body::Body;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tempfile::{TempDir, TempPath};
use tokio::fs::File;
use tokio::io::AsyncWriteExt;
use tokio::task::spawn_blocking;
use uuid::Uuid;

use super::content;
use crate::store::{Changes, Found, Store};

/// All objects of a bucket, in the order of their names.
pub(super) type Bucket = BTreeMap<String, Arc<Object>>;

/// All objects of all buckets; the bytes of most lie in files of one folder.
pub(crate) struct Objects {
    buckets: Mutex<BTreeMap<String, Bucket>>,
    folder: Arc<Folder>,
    last_generation: AtomicU64,
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
    /// Held on to for as long as the file is needed.
    folder: Arc<Folder>,
}

/// What is known of an object.
#[derive(Clone, Deserialize, Serialize)]
pub(crate) struct About {
    pub(crate) bytes: u64,
    pub(crate) crc32c: u32,
    pub(crate) content_type: String,
    /// Differs from version to version, and is the name of the file.
    pub(crate) tag: String,
    #[serde(default)]
    pub(crate) content_encoding: Option<String>,
    /// Grows from version to version.
    #[serde(default)]
    pub(crate) generation: u64,
    #[serde(default)]
    pub(crate) created_at: Timestamp,
    /// Headers that are sent with it.
    #[serde(default)]
    pub(crate) metadata: BTreeMap<String, String>,
    /// There is no file: the bytes come from a formula.
    #[serde(default)]
    pub(crate) seed: Option<u64>,
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
        let new = |folder| Self {
            buckets: Mutex::default(),
            folder: Arc::new(folder),
            last_generation: AtomicU64::default(),
        };
        let Some(data) = data else {
            let folder = tempfile::Builder::new().prefix("aignostics-emulator-").tempdir()?;
            return Ok(new(Folder::Temporary(folder)));
        };
        let folder = data.join("objects");
        let named =
            |error: io::Error, path: &Path| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        fs::create_dir_all(&folder).map_err(|error| named(error, &folder))?;
        let records = found.take::<Record>("object/")?;
        let kept: HashSet<_> = records.iter().map(|(_, record)| record.about.tag.clone()).collect();
        for entry in fs::read_dir(&folder).map_err(|error| named(error, &folder))? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            // What was being written when the process ended, or replaced right before; what is not ours stays.
            if is_tag(name) && !kept.contains(name) {
                fs::remove_file(&path).map_err(|error| named(error, &path))?;
            }
        }
        let objects = new(Folder::Named(folder));
        for (_, Record { bucket, key, about }) in records {
            objects.last_generation.fetch_max(about.generation, Ordering::Relaxed);
            let object = Object::new(about, objects.folder.clone());
            object.in_index.store(true, Ordering::SeqCst);
            objects.buckets.lock().entry(bucket).or_default().insert(key, Arc::new(object));
        }
        Ok(objects)
    }

    pub(crate) async fn create(&self) -> io::Result<Upload> {
        let folder = self.folder.clone();
        let create = move || {
            let tag = new_tag();
            let path = TempPath::try_from_path(folder.path().join(&tag))?;
            Ok(Upload { file: fs::File::create_new(&path)?.into(), path, bytes: 0, crc32c: 0, tag, folder })
        };
        spawn_blocking(create).await.unwrap_or_else(|error| Err(io::Error::other(error)))
    }

    /// An object whose bytes come from a formula: it takes no room, however large it is.
    pub(crate) fn generate(&self, seed: u64, bytes: u64, content_type: &str) -> Object {
        let about = About {
            bytes,
            crc32c: content::generated_crc32c(seed, bytes),
            content_type: content_type.to_owned(),
            tag: new_tag(),
            content_encoding: None,
            generation: 0,
            created_at: Timestamp::UNIX_EPOCH,
            metadata: BTreeMap::new(),
            seed: Some(seed),
        };
        Object::new(about, self.folder.clone())
    }

    /// One object of several, one after the other.
    pub(super) async fn join(&self, parts: Vec<Arc<Object>>, content_type: &str) -> io::Result<Object> {
        let mut upload = self.create().await?;
        for part in &parts {
            tokio::io::copy(&mut File::open(&part.path).await?, &mut upload.file).await?;
            let length = usize::try_from(part.about.bytes).map_err(io::Error::other)?;
            upload.crc32c = crc32c::crc32c_combine(upload.crc32c, part.about.crc32c, length);
            upload.bytes += part.about.bytes;
        }
        upload.finish(content_type).await
    }

    /// Puts an object in the place of what was there, and returns when that is written down.
    pub(crate) async fn put(
        &self,
        store: &Store,
        bucket: &str,
        key: &str,
        mut object: Object,
    ) -> io::Result<Arc<Object>> {
        let (object, written) = {
            let mut buckets = self.buckets.lock();
            let moment = u64::try_from(object.about.created_at.as_microsecond()).unwrap_or_default();
            object.about.generation = moment.max(self.last_generation.load(Ordering::Relaxed) + 1);
            self.last_generation.store(object.about.generation, Ordering::Relaxed);
            object.in_index.store(true, Ordering::SeqCst);
            let record = Record { bucket: bucket.to_owned(), key: key.to_owned(), about: object.about.clone() };
            let mut changes = Changes::default();
            changes.put(format!("object/{bucket}/{key}"), &record);
            let object = Arc::new(object);
            let replaced = buckets.entry(record.bucket).or_default().insert(record.key, object.clone());
            if let Some(replaced) = replaced {
                replaced.in_index.store(false, Ordering::SeqCst);
                changes.keep_until_written(replaced);
            }
            (object, store.write(changes))
        };
        written.await.map_err(io::Error::other)?;
        Ok(object)
    }

    /// Removes an object, and returns when that is written down; `false` if there is none.
    pub(crate) async fn remove(&self, store: &Store, bucket: &str, key: &str) -> io::Result<bool> {
        let written = {
            let mut buckets = self.buckets.lock();
            let Some(removed) = buckets.get_mut(bucket).and_then(|objects| objects.remove(key)) else {
                return Ok(false);
            };
            removed.in_index.store(false, Ordering::SeqCst);
            let mut changes = Changes::default();
            changes.remove(format!("object/{bucket}/{key}"));
            changes.keep_until_written(removed);
            store.write(changes)
        };
        written.await.map_err(io::Error::other)?;
        Ok(true)
    }

    pub(crate) fn get(&self, bucket: &str, key: &str) -> Option<Arc<Object>> {
        self.buckets.lock().get(bucket)?.get(key).cloned()
    }

    /// Looks at all objects of a bucket.
    pub(super) fn in_bucket<T>(&self, bucket: &str, look: impl FnOnce(&Bucket) -> T) -> T {
        match self.buckets.lock().get(bucket) {
            Some(objects) => look(objects),
            None => look(&Bucket::new()),
        }
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

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The object, on the disk if it is to survive the process.
    pub(crate) async fn finish(mut self, content_type: &str) -> io::Result<Object> {
        self.file.flush().await?;
        if let Folder::Named(folder) = &*self.folder {
            self.file.sync_all().await?;
            File::open(folder).await?.sync_all().await?;
        }
        let Self { path, bytes, crc32c, tag, folder, .. } = self;
        path.keep().map_err(|error| error.error)?;
        let about = About {
            bytes,
            crc32c,
            content_type: content_type.to_owned(),
            tag,
            content_encoding: None,
            generation: 0,
            created_at: Timestamp::UNIX_EPOCH,
            metadata: BTreeMap::new(),
            seed: None,
        };
        Ok(Object::new(about, folder))
    }
}

fn new_tag() -> String {
    Uuid::new_v4().simple().to_string()
}

fn is_tag(name: &str) -> bool {
    name.len() == 32 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

impl Object {
    fn new(about: About, folder: Arc<Folder>) -> Self {
        Self { path: folder.path().join(&about.tag), about, in_index: false.into(), folder }
    }

    /// Some of its bytes.
    pub(super) async fn read(&self, range: Range<u64>) -> io::Result<Body> {
        match self.about.seed {
            Some(seed) => Ok(content::generated(seed, range)),
            None => content::of_file(&self.path, range).await,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn etag(&self) -> String {
        format!("\"{}\"", self.about.tag)
    }

    /// Another object of the same size and type, with other bytes.
    pub(super) fn other(&self) -> Self {
        let seed = self.about.seed.map_or(self.about.bytes, |seed| seed.wrapping_add(1));
        let crc32c = content::generated_crc32c(seed, self.about.bytes);
        let about = About { crc32c, tag: new_tag(), seed: Some(seed), content_encoding: None, ..self.about.clone() };
        Self::new(about, self.folder.clone())
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        if !self.in_index.load(Ordering::SeqCst) && self.about.seed.is_none() {
            // If it cannot be deleted now, it is when the platform is started again.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A CRC32C as it is written: base64 of its four bytes, the highest first.
pub(crate) fn checksum_text(crc32c: u32) -> String {
    STANDARD.encode(crc32c.to_be_bytes())
}
