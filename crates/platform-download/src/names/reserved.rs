//! The names of manifests and checksum files, which no result may have.

use crate::shard::Shard;

/// The file name that `sha256sum` users expect.
pub(crate) const SUMS: &str = "SHA256SUMS";

/// Returns true for the name of a manifest, of a folder or of a shard.
pub(crate) fn is_manifest(name: &str) -> bool {
    shard_of(name).is_some()
}

/// Returns the shard of a manifest name; `None` if it is not a manifest of this crate.
pub(crate) fn shard_of(name: &str) -> Option<Shard> {
    let infix = name.strip_prefix("manifest")?.strip_suffix(".jsonl")?;
    if infix.is_empty() {
        return Some(Shard::default());
    }
    let (index, count) = infix.strip_prefix('.')?.split_once("-of-")?;
    Shard::new(index.parse().ok()?, count.parse().ok()?).ok()
}
