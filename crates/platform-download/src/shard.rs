use std::fmt;
use std::str::FromStr;

use crate::digest::Sha256;

/// One of several equal shares of the work, with an index from 0 to the number of shards minus 1. All files of an item
/// are in the same shard. The shard of an item depends only on its name, so that processes need no coordination,
/// for example the tasks of a Slurm array or the pods of an indexed Kubernetes job.
///
/// The text form is `INDEX/COUNT`. The default is `0/1`, a single shard with all items.
///
/// ```
/// use platform_download::Shard;
///
/// let shards: Vec<Shard> = ["0/3", "1/3", "2/3"].iter().map(|text| text.parse().unwrap()).collect();
/// assert_eq!(shards.iter().filter(|shard| shard.contains("slide.tiff")).count(), 1);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shard {
    index: u32,
    count: u32,
}

/// The error of parsing or creating an invalid [`Shard`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid shard `{0}`: expected INDEX/COUNT, with an INDEX from 0 to COUNT - 1")]
pub struct ShardError(String);

impl Shard {
    /// Creates the shard with the zero-based `index` of `count` shards.
    ///
    /// # Errors
    ///
    /// `index` is not less than `count`.
    pub fn new(index: u32, count: u32) -> Result<Self, ShardError> {
        if index < count { Ok(Self { index, count }) } else { Err(ShardError(format!("{index}/{count}"))) }
    }

    /// Returns true if an item is in this shard. The index of the shard is the first eight bytes of the SHA-256 of the
    /// item's name, as a big-endian number, modulo the number of shards.
    pub fn contains(self, item: &str) -> bool {
        let digest = Sha256::of(item.as_bytes());
        let number = digest.as_bytes().iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte));
        number % u64::from(self.count) == u64::from(self.index)
    }

    /// Returns the part of file names that identifies this shard, such as `.0-of-4`. It is empty for a single shard.
    pub(crate) fn infix(self) -> String {
        if self == Self::default() { String::new() } else { format!(".{}-of-{}", self.index, self.count) }
    }
}

impl Default for Shard {
    fn default() -> Self {
        Self { index: 0, count: 1 }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.index, self.count)
    }
}

impl FromStr for Shard {
    type Err = ShardError;

    fn from_str(text: &str) -> Result<Self, ShardError> {
        let parts = text.split_once('/').and_then(|(index, count)| Some((index.parse().ok()?, count.parse().ok()?)));
        parts.and_then(|(index, count)| Self::new(index, count).ok()).ok_or_else(|| ShardError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_always_in_the_same_shard() {
        for count in [1, 2, 3, 16, 100] {
            let shards: Vec<_> = (0..count).map(|index| Shard::new(index, count).unwrap()).collect();
            let mut sizes = vec![0; shards.len()];
            for item in (0..2000).map(|number| format!("slide-{number}.tiff")) {
                let containing: Vec<_> = (0..shards.len()).filter(|index| shards[*index].contains(&item)).collect();
                assert_eq!(containing.len(), 1, "{item}");
                sizes[containing[0]] += 1;
            }
            let fair_size = 2000 / sizes.len();
            assert!(sizes.iter().all(|size| *size > fair_size / 3 && *size < fair_size * 3), "{sizes:?}");
        }
        // The assignment never changes between versions, because the processes of a cluster may have different
        // versions.
        assert!(
            "2/5".parse::<Shard>().unwrap().contains("slide-0.tiff")
                == Shard::new(2, 5).unwrap().contains("slide-0.tiff")
        );
    }

    #[test]
    fn invalid_shard_is_rejected() {
        for text in ["", "1", "1/", "/2", "2/2", "0/0", "-1/2", "1/2/3", "a/b"] {
            assert!(text.parse::<Shard>().unwrap_err().to_string().contains("INDEX/COUNT"), "{text}");
        }
    }
}
