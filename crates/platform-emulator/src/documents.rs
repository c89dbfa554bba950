//! Documents about application versions, for their users.

use std::io;

use uuid::{Builder, Uuid};

use crate::application::{Application, Version};
use crate::platform::Platform;

pub(crate) struct Document {
    pub(crate) id: Uuid,
    /// The name. It may contain characters that are invalid in file names.
    pub(crate) name: &'static str,
    pub(crate) mime_type: &'static str,
    pub(crate) released_at: &'static str,
    content: String,
    folder: String,
}

/// Returns the documents of a version: one with a plain name, and one whose name must be percent-encoded in a URL.
pub(crate) fn of(application: &Application, version: &Version) -> Vec<Document> {
    let about = format!("{} {}", application.name, version.number);
    let guide = format!("# {about}\n\n{}\n", application.description);
    let notes = format!("{about}\n{}\n", version.changelog);
    [("user-guide.md", "text/markdown", guide), ("release notes/changes.txt", "text/plain", notes)]
        .into_iter()
        .map(|(name, mime_type, content)| {
            let folder = format!("documents/{}/{}", application.id, version.number);
            Document {
                id: stable_id(&format!("{folder}/{name}")),
                name,
                mime_type,
                released_at: version.released_at,
                content,
                folder,
            }
        })
        .collect()
}

/// Derives an id from a name.
fn stable_id(name: &str) -> Uuid {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, name.as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest.as_ref()[..16]);
    Builder::from_random_bytes(bytes).into_uuid()
}

impl Document {
    /// Returns the object key of the document in the platform's bucket. The object is created on the first request.
    pub(crate) async fn store(&self, platform: &Platform) -> io::Result<String> {
        let (key, bucket) = (format!("{}/{}", self.folder, self.name), &platform.accounts.files().bucket);
        if platform.objects.get(bucket, &key).is_none() {
            let mut upload = platform.objects.create().await?;
            upload.write(self.content.as_bytes()).await?;
            let object = upload.finish(self.mime_type).await?;
            platform.keep(bucket, &key, object).await?;
        }
        Ok(key)
    }
}
