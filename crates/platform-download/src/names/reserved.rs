//! The names of manifests and checksum files. No result may have one of these names.

use crate::shard::Shard;

/// The name of the checksum file, by the convention of `sha256sum`.
pub(crate) const SHA256SUMS: &str = "SHA256SUMS";

/// Returns true for the name of a manifest, with or without a shard.
pub(crate) fn is_manifest(name: &str) -> bool {
    shard_of(name).is_some()
}

/// Returns the shard in the name of a manifest. Returns `None` if it is not the name of a manifest.
pub(crate) fn shard_of(name: &str) -> Option<Shard> {
    let infix = name.strip_prefix("manifest")?.strip_suffix(".jsonl")?;
    if infix.is_empty() {
        return Some(Shard::default());
    }
    let (index, count) = infix.strip_prefix('.')?.split_once("-of-")?;
    Shard::new(index.parse().ok()?, count.parse().ok()?).ok()
}
