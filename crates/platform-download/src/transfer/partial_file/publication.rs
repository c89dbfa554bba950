//! Publication of a verified partial file under its final name. The published file is the one that was verified, even
//! if another process replaces files.

use std::fs;
use std::io;
use std::path::Path;

use durable_fs::{Identity, folder, regular};

use super::{PartialFile, Phase, Reader, into_io_error};
use crate::digest::{Digest, digest};
use crate::error::DownloadError;
use crate::names::target::{FilePaths, remove};
use crate::transfer::durability::Durability;

impl PartialFile {
    /// Returns the identity of the file, which shows later changes. A change before this call is detected when the
    /// content is read, or, for a file downloaded as one stream, only if the length differs.
    pub(crate) fn identity(&self) -> io::Result<Identity> {
        Identity::of_file(&self.file)
    }

    /// Renames the verified file to its final name. If its content was synced, the final name never refers to
    /// incomplete content, even after a power failure. Returns false if another process had replaced the partial file.
    /// The replacement is then removed and, on file systems with hard links, the previous file at the target is
    /// restored.
    pub(crate) fn publish(
        &self,
        verified: &Identity,
        content: &Digest,
        durability: Durability,
    ) -> Result<bool, DownloadError> {
        self.publish_and(verified, content, durability, || {})
    }

    /// Publishes the file, and calls `renamed` between the rename and the verification of the renamed file, for tests.
    fn publish_and(
        &self,
        verified: &Identity,
        content: &Digest,
        durability: Durability,
        renamed: impl FnOnce(),
    ) -> Result<bool, DownloadError> {
        let FilePaths { target, part, state, corrupt, former, folder, .. } = &self.paths;
        let failed = |error| DownloadError::io(target, error);
        let _era = self.new_epoch();
        self.ensure_held().map_err(failed)?;
        let verify =
            |path| is_verified(path, verified, content).map_err(|error| DownloadError::read(target, path, error));
        let replaced =
            || tracing::warn!(path = %target.display(), "another process replaced the file: it is downloaded again");
        if !verify(part)? {
            replaced();
            self.state().phase = Phase::Gone;
            remove(part).and_then(|()| remove(state)).map_err(failed)?;
            return Ok(false);
        }
        let is_former_linked = link_previous(target, former).map_err(failed)?;
        regular::rename(part, target).map_err(into_io_error).map_err(failed)?;
        self.state().phase = Phase::Gone;
        renamed();
        let is_right = verify(target);
        if !matches!(is_right, Ok(true)) {
            if is_right.is_err() {
                // The content may be correct: the next download reads it again.
                fs::rename(target, part).map_err(failed)?;
                self.state().phase = Phase::Known;
            } else {
                replaced();
                remove(target).map_err(failed)?;
            }
            if is_former_linked {
                fs::rename(former, target).map_err(failed)?;
            }
        } else if is_former_linked {
            remove(former).map_err(failed)?;
        }
        let is_right = is_right?;
        if durability == Durability::File {
            folder::sync(folder).map_err(into_io_error).map_err(failed)?;
        }
        remove(state).and_then(|()| remove(corrupt)).map_err(failed)?;
        Ok(is_right)
    }
}

/// Creates a hard link to the file that is about to be replaced. Returns false if there is no such file, or the file
/// system does not support hard links.
fn link_previous(target: &Path, former: &Path) -> io::Result<bool> {
    match fs::hard_link(target, former) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            remove(former)?;
            Ok(fs::hard_link(target, former).is_ok())
        }
        linked => Ok(linked.is_ok()),
    }
}

/// Returns true if the file at `path` is the verified file, is unchanged and has no other hard link. If the identity
/// differs, the content is compared, because some file systems change inode numbers.
fn is_verified(path: &Path, verified: &Identity, content: &Digest) -> io::Result<bool> {
    let (file, named) = match Identity::open(path) {
        Ok(Some(found)) => found,
        Ok(None) => return Ok(false),
        Err(error) if error.is_not_regular() => return Ok(false),
        Err(error) => return Err(into_io_error(error)),
    };
    if named == *verified && named.has_one_name() && file.metadata()?.len() == content.bytes {
        return Ok(true);
    }
    Ok(digest(Reader::new(&file, path), content.sha256.is_some())? == *content)
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::fs;

    use durable_fs::Locking;
    use durable_fs::faults::{Fault, Operation};
    use tempfile::TempDir;

    use super::*;
    use crate::transfer::partial_file::Opened;
    use crate::transfer::plan::CompletedRange;
    use crate::{Crc32c, Expected, Target};

    const RIGHT: &[u8] = b"right";
    const WRONG: &[u8] = b"wrong";

    /// Returns a verified partial file whose target has an old file.
    fn verified(folder: &TempDir) -> (Box<PartialFile>, Identity, Digest) {
        let target = Target::within(folder.path(), ["file"]);
        fs::write(target.path(), "old").unwrap();
        let opened = PartialFile::open(&target, &Expected::unknown(), Locking::default(), true);
        let Ok(Opened::Partial(part)) = opened else { panic!() };
        let epoch = part.epoch();
        part.write(epoch, RIGHT, 0).unwrap();
        part.record(epoch, CompletedRange { start: 0, bytes: 5, crc32c: Crc32c::of(RIGHT) }).unwrap();
        let identity = part.identity().unwrap();
        let content = digest(RIGHT, true).unwrap();
        (part, identity, content)
    }

    /// The methods to replace the file at the first path. Some move it to the second path.
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
    fn replaced_partial_file_is_not_published() {
        for swap in SWAPS {
            let folder = TempDir::new().unwrap();
            let (part, identity, content) = verified(&folder);
            swap(&part.paths.part, &folder.path().join("aside"));
            assert!(!part.publish(&identity, &content, Durability::File).unwrap());
            assert_eq!(fs::read(&part.paths.target).unwrap(), b"old");
            assert!(fs::symlink_metadata(&part.paths.part).is_err());
        }
    }

    #[test]
    fn previous_file_is_restored_if_the_new_one_was_replaced() {
        for swap in SWAPS {
            let folder = TempDir::new().unwrap();
            let (part, identity, content) = verified(&folder);
            let (target, aside) = (part.paths.target.clone(), folder.path().join("aside"));
            let published = part.publish_and(&identity, &content, Durability::File, || swap(&target, &aside));
            assert!(!published.unwrap());
            assert_eq!(fs::read(&target).unwrap(), b"old");
            assert!(fs::symlink_metadata(&part.paths.former).is_err());
        }
    }

    #[test]
    fn read_error_after_the_rename_keeps_the_partial_file() {
        let folder = TempDir::new().unwrap();
        let (part, identity, content) = verified(&folder);
        // A copy has another identity, so that its content must be read.
        let (target, aside) = (part.paths.target.clone(), folder.path().join("aside"));
        let fault = Fault::inject(Operation::Read, &target, rustix::io::Errno::IO.raw_os_error());
        let swap = || {
            fs::copy(&target, &aside).unwrap();
            fs::rename(&aside, &target).unwrap();
        };
        let error = part.publish_and(&identity, &content, Durability::File, swap).unwrap_err();
        assert!(error.is_unreadable(), "{error}");
        drop(fault);
        assert_eq!(fs::read(&target).unwrap(), b"old");
        assert_eq!(fs::read(&part.paths.part).unwrap(), RIGHT, "the downloaded content remains");
    }

    #[test]
    fn changed_inode_number_with_equal_content_is_accepted() {
        let folder = TempDir::new().unwrap();
        let (part, identity, content) = verified(&folder);
        let path = &part.paths.part;
        fs::rename(path, folder.path().join("aside")).unwrap();
        fs::write(path, RIGHT).unwrap();
        assert!(part.publish(&identity, &content, Durability::File).unwrap());
        assert_eq!(fs::read(&part.paths.target).unwrap(), RIGHT);
    }
}
