//! Publication of a verified part: the renamed file is the verified one.

use std::io;
use std::path::Path;

use durable_fs::{Identity, folder, regular};

use super::{Part, Phase, Reader, plain};
use crate::digest::{Digest, digest};
use crate::target::remove;

impl Part {
    /// Returns the identity of the file, to detect later changes. For a file downloaded as one stream, an earlier
    /// change is detected only if it changed the length.
    pub(crate) fn identity(&self) -> io::Result<Identity> {
        Identity::of_file(&self.file)
    }

    /// Renames the file, in an order that survives a power failure. Its content is synced and verified. Returns false
    /// if the file was replaced by another, which is removed.
    pub(crate) fn publish(&self, verified: &Identity, content: &Digest) -> io::Result<bool> {
        let _era = self.new_era();
        self.ensure_held()?;
        let places = &self.places;
        if !is_verified(&places.part, verified, content)? {
            tracing::warn!(path = %places.part.display(), "was replaced during the download: it is downloaded again");
            self.state().phase = Phase::Gone;
            remove(&places.part)?;
            remove(&places.state)?;
            return Ok(false);
        }
        regular::rename(&places.part, &places.target).map_err(plain)?;
        self.state().phase = Phase::Gone;
        let is_right = self.confirm(verified, content)?;
        folder::sync(&places.folder).map_err(plain)?;
        remove(&places.state)?;
        remove(&places.corrupt)?;
        Ok(is_right)
    }

    /// Removes the file that was just renamed, unless it is the verified one.
    fn confirm(&self, verified: &Identity, content: &Digest) -> io::Result<bool> {
        let target = &self.places.target;
        let is_right = is_verified(target, verified, content)?;
        if !is_right {
            tracing::warn!(path = %target.display(), "was replaced during the download: it is downloaded again");
            remove(target)?;
        }
        Ok(is_right)
    }
}

/// Returns true if a path names the verified file, with one name and unchanged. On file systems that change inode
/// numbers, the content decides.
fn is_verified(path: &Path, verified: &Identity, content: &Digest) -> io::Result<bool> {
    let (file, named) = match Identity::open(path) {
        Ok(Some(found)) => found,
        Ok(None) => return Ok(false),
        Err(error) if error.is_not_regular() => return Ok(false),
        Err(error) => return Err(plain(error)),
    };
    if named == *verified && named.has_one_name() && file.metadata()?.len() == content.bytes {
        return Ok(true);
    }
    Ok(digest(Reader::new(&file, path))? == *content)
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::fs;

    use durable_fs::Locking;
    use tempfile::TempDir;

    use super::*;
    use crate::part::Opened;
    use crate::plan::Piece;
    use crate::{Crc32c, Expected, Target};

    const RIGHT: &[u8] = b"right";
    const WRONG: &[u8] = b"wrong";

    /// Returns a verified part, and the old file that it replaces.
    fn verified(folder: &TempDir) -> (Box<Part>, Identity, Digest) {
        let target = Target::within(folder.path(), ["file"]);
        fs::write(target.path(), "old").unwrap();
        let Ok(Opened::Part(part)) = Part::open(&target, &Expected::unknown(), Locking::default()) else { panic!() };
        let era = part.era();
        part.write(era, RIGHT, 0).unwrap();
        part.record(era, Piece { start: 0, bytes: 5, crc32c: Crc32c::of(RIGHT) }).unwrap();
        let identity = part.identity().unwrap();
        let content = digest(RIGHT).unwrap();
        (part, identity, content)
    }

    /// Different ways to replace the file at a path.
    const SWAPS: [fn(&Path, &Path); 4] = [
        |path, aside| {
            fs::rename(path, aside).unwrap();
            fs::write(path, WRONG).unwrap();
        },
        |path, aside| {
            fs::rename(path, aside).unwrap();
            std::os::unix::fs::symlink(aside, path).unwrap();
        },
        |path, aside| {
            fs::hard_link(path, aside).unwrap();
            fs::write(aside, WRONG).unwrap();
        },
        |path, _| fs::remove_file(path).unwrap(),
    ];

    #[test]
    fn part_that_was_replaced_does_not_get_the_name() {
        for swap in SWAPS {
            let folder = TempDir::new().unwrap();
            let (part, identity, content) = verified(&folder);
            swap(&part.places.part, &folder.path().join("aside"));
            assert!(!part.publish(&identity, &content).unwrap());
            assert_eq!(fs::read(&part.places.target).unwrap(), b"old");
            assert!(fs::symlink_metadata(&part.places.part).is_err());
        }
    }

    #[test]
    fn file_that_was_replaced_during_the_rename_is_removed() {
        for swap in SWAPS {
            let folder = TempDir::new().unwrap();
            let (part, identity, content) = verified(&folder);
            assert!(part.publish(&identity, &content).unwrap());
            assert!(part.confirm(&identity, &content).unwrap());
            swap(&part.places.target, &folder.path().join("aside"));
            assert!(!part.confirm(&identity, &content).unwrap());
            assert!(fs::symlink_metadata(&part.places.target).is_err());
        }
    }

    #[test]
    fn changed_inode_number_proves_nothing() {
        let folder = TempDir::new().unwrap();
        let (part, identity, content) = verified(&folder);
        let path = &part.places.part;
        fs::rename(path, folder.path().join("aside")).unwrap();
        fs::write(path, RIGHT).unwrap();
        assert!(part.publish(&identity, &content).unwrap());
        assert_eq!(fs::read(&part.places.target).unwrap(), RIGHT);
    }
}
