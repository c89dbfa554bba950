//! The documents of application versions.

use std::io;

use uuid::{Builder, Uuid};

use crate::application::Application;
use crate::config::FileConfig;
use crate::config::VersionConfig;
use crate::platform::Platform;

pub(crate) struct Document {
    pub(crate) id: Uuid,
    /// The name. It may contain characters that are invalid in file names.
    pub(crate) name: String,
    pub(crate) mime_type: String,
    pub(crate) released_at: String,
    content: String,
    folder: String,
}

/// Returns the documents of a version. If the configuration has none, there are two default documents: one with a
/// simple name, and one with a name that must be percent-encoded in a URL.
pub(crate) fn of_version(application: &Application, version: &VersionConfig) -> Vec<Document> {
    let title = format!("{} {}", application.name, version.number);
    let file = |name: &str, media_type: &str, content: String| FileConfig {
        name: name.to_owned(),
        media_type: media_type.to_owned(),
        content,
    };
    let default_documents = || {
        vec![
            file("user-guide.md", "text/markdown", format!("# {title}\n\n{}\n", application.description)),
            file("release notes/changes.txt", "text/plain", format!("{title}\n{}\n", version.changelog)),
        ]
    };
    let files = if version.documents.is_empty() { default_documents() } else { version.documents.clone() };
    let folder = format!("documents/{}/{}", application.id, version.number);
    let document = |file: FileConfig| Document {
        id: stable_id(&format!("{folder}/{}", file.name)),
        name: file.name,
        mime_type: file.media_type,
        released_at: version.released_at.clone(),
        content: file.content,
        folder: folder.clone(),
    };
    files.into_iter().map(document).collect()
}

/// Derives an id from a name. The id is the same in each emulator.
fn stable_id(name: &str) -> Uuid {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, name.as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest.as_ref()[..16]);
    Builder::from_random_bytes(bytes).into_uuid()
}

impl Document {
    /// Returns the object key of the document in the platform's bucket. The object is created on the first request.
    pub(crate) async fn store(&self, platform: &Platform) -> io::Result<String> {
        let (key, bucket) = (format!("{}/{}", self.folder, self.name), &platform.accounts.files_owner().bucket);
        if platform.objects.get(bucket, &key).is_none() {
            let mut upload = platform.objects.create().await?;
            upload.write(self.content.as_bytes()).await?;
            let object = upload.finish(&self.mime_type).await?;
            platform.put_object(bucket, &key, object).await?;
        }
        Ok(key)
    }
}
