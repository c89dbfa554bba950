//! Publication of a verified partial file under its final name. The published file is always the verified file, even
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
    /// Returns the identity of the file, by which later changes are detected. A change before this call is detected
    /// when the content is read. For a file that was downloaded as one stream, it is detected only if the length
    /// differs.
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

    /// Publishes the file, and calls `after_rename` between the rename and the verification of the renamed file, for
    /// tests.
    fn publish_and(
        &self,
        verified: &Identity,
        content: &Digest,
        durability: Durability,
        after_rename: impl FnOnce(),
    ) -> Result<bool, DownloadError> {
        let FilePaths { target, part, state, corrupt, former, folder, .. } = &self.paths;
        let io_error = |error| DownloadError::io(target, error);
        let _epoch_guard = self.new_epoch();
        self.ensure_held().map_err(io_error)?;
        let verify =
            |path| is_verified(path, verified, content).map_err(|error| DownloadError::read(target, path, error));
        let warn_about_replacement =
            || tracing::warn!(path = %target.display(), "another process replaced the file: it is downloaded again");
        if !verify(part)? {
            warn_about_replacement();
            self.state().phase = Phase::Gone;
            remove(part).and_then(|()| remove(state)).map_err(io_error)?;
            return Ok(false);
        }
        let has_former_link = link_previous(target, former).map_err(io_error)?;
        regular::rename(part, target).map_err(into_io_error).map_err(io_error)?;
        self.state().phase = Phase::Gone;
        after_rename();
        let is_correct = verify(target);
        if !matches!(is_correct, Ok(true)) {
            if is_correct.is_err() {
                // The content may be correct: the next download reads it again.
                fs::rename(target, part).map_err(io_error)?;
                self.state().phase = Phase::Known;
            } else {
                warn_about_replacement();
                remove(target).map_err(io_error)?;
            }
            if has_former_link {
                fs::rename(former, target).map_err(io_error)?;
            }
        } else if has_former_link {
            remove(former).map_err(io_error)?;
        }
        let is_correct = is_correct?;
        if durability == Durability::File {
            folder::sync(folder).map_err(into_io_error).map_err(io_error)?;
        }
        remove(state).and_then(|()| remove(corrupt)).map_err(io_error)?;
        Ok(is_correct)
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
        outcome => Ok(outcome.is_ok()),
    }
}

/// Returns true if the file at `path` is the verified file, is unchanged and has no other hard link. If the identity
/// differs, the content is compared, because some file systems change inode numbers.
fn is_verified(path: &Path, verified: &Identity, content: &Digest) -> io::Result<bool> {
    let (file, identity) = match Identity::open(path) {
        Ok(Some(file_and_identity)) => file_and_identity,
        Ok(None) => return Ok(false),
        Err(error) if error.is_not_regular() => return Ok(false),
        Err(error) => return Err(into_io_error(error)),
    };
    if identity == *verified && identity.has_one_name() && file.metadata()?.len() == content.bytes {
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

    /// Returns a verified partial file. An old file exists at its target.
    fn verified_part(folder: &TempDir) -> (Box<PartialFile>, Identity, Digest) {
        let target = Target::within(folder.path(), ["file"]);
        fs::write(target.path(), "old").unwrap();
        let outcome = PartialFile::open(&target, &Expected::unknown(), Locking::default(), true);
        let Ok(Opened::Partial(part)) = outcome else { panic!("expected a partial file") };
        let epoch = part.epoch();
        part.write(epoch, RIGHT, 0).unwrap();
        part.record(epoch, CompletedRange { start: 0, bytes: 5, crc32c: Crc32c::of(RIGHT) }).unwrap();
        let identity = part.identity().unwrap();
        let content = digest(RIGHT, true).unwrap();
        (part, identity, content)
    }

    /// Ways to replace the file at the first path. Some move or link it to the second path.
    const SWAPS: [fn(&Path, &Path); 4] = [
        |path, moved_path| {
            fs::rename(path, moved_path).unwrap();
            fs::write(path, WRONG).unwrap();
        },
        |path, moved_path| {
            fs::rename(path, moved_path).unwrap();
            std::os::unix::fs::symlink(moved_path, path).unwrap();
        },
        |path, moved_path| {
            fs::hard_link(path, moved_path).unwrap();
            fs::write(moved_path, WRONG).unwrap();
        },
        |path, _| fs::remove_file(path).unwrap(),
    ];

    #[test]
    fn replaced_partial_file_is_not_published() {
        for swap in SWAPS {
            let folder = TempDir::new().unwrap();
            let (part, identity, content) = verified_part(&folder);
            swap(&part.paths.part, &folder.path().join("aside"));
            assert!(!part.publish(&identity, &content, Durability::File).unwrap());
            assert_eq!(fs::read(&part.paths.target).unwrap(), b"old");
            assert!(fs::symlink_metadata(&part.paths.part).is_err());
        }
    }

    #[test]
    fn previous_file_is_restored_if_the_new_file_was_replaced() {
        for swap in SWAPS {
            let folder = TempDir::new().unwrap();
            let (part, identity, content) = verified_part(&folder);
            let (target, moved_path) = (part.paths.target.clone(), folder.path().join("aside"));
            let is_published = part.publish_and(&identity, &content, Durability::File, || swap(&target, &moved_path));
            assert!(!is_published.unwrap());
            assert_eq!(fs::read(&target).unwrap(), b"old");
            assert!(fs::symlink_metadata(&part.paths.former).is_err());
        }
    }

    #[test]
    fn read_error_after_the_rename_keeps_the_partial_file() {
        let folder = TempDir::new().unwrap();
        let (part, identity, content) = verified_part(&folder);
        // A copy has another identity, so its content must be read.
        let (target, moved_path) = (part.paths.target.clone(), folder.path().join("aside"));
        let fault = Fault::inject(Operation::Read, &target, rustix::io::Errno::IO.raw_os_error());
        let swap = || {
            fs::copy(&target, &moved_path).unwrap();
            fs::rename(&moved_path, &target).unwrap();
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
        let (part, identity, content) = verified_part(&folder);
        let path = &part.paths.part;
        fs::rename(path, folder.path().join("aside")).unwrap();
        fs::write(path, RIGHT).unwrap();
        assert!(part.publish(&identity, &content, Durability::File).unwrap());
        assert_eq!(fs::read(&part.paths.target).unwrap(), RIGHT);
    }
}
