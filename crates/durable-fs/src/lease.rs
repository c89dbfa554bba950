//! Leases for file systems without locks: files that their holders create exclusively and renew.

use std::fs::{self, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use crate::{Error, regular};

/// The interval of renewals.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(30);
/// The time for which a lease remains valid after its last renewal. It is measured with modification times that the file
/// server sets, because the clocks of the clients may differ.
const LEASE_LIFETIME: Duration = Duration::from_secs(120);
/// The maximum number of attempts to acquire a lease while other processes take over the same expired lease.
const MAX_ATTEMPTS: u32 = 4;
/// The maximum length of a token, in bytes.
const MAX_TOKEN_BYTES: u64 = 256;

/// A lease, held until dropped. If its process is killed, the lease file remains. Another process can take over the
/// lease when it has expired.
#[derive(Debug)]
pub(crate) struct Lease(Arc<Claim>);

#[derive(Debug, PartialEq, Eq)]
struct Claim {
    path: PathBuf,
    /// The content of the file: the process id and a random number.
    token: String,
}

/// The observed state of a lease.
#[derive(PartialEq, Eq)]
struct ObservedLease {
    token: String,
    renewed: SystemTime,
}

impl Lease {
    /// Acquires a free or expired lease. Returns `None` if another process holds it.
    pub(crate) fn try_acquire(path: &Path) -> Result<Option<Self>, Error> {
        let random = RandomState::new().hash_one(path);
        let claim = Claim { path: path.to_owned(), token: format!("{} {random:016x}", std::process::id()) };
        for _ in 0..MAX_ATTEMPTS {
            match claim.create() {
                Ok(()) => {
                    let claim = Arc::new(claim);
                    let lease = Self(claim.clone());
                    // If the renewal cannot start, dropping `lease` removes the lease file.
                    Renewals::add(claim).map_err(|error| Error::io("renew", path, error))?;
                    return Ok(Some(lease));
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
            let examine_error = |error| Error::io("examine", path, error);
            let Some(observed_lease) = read_lease(path).map_err(examine_error)? else { continue };
            let age = claim.now().map_err(examine_error)?.duration_since(observed_lease.renewed).unwrap_or_default();
            if age <= LEASE_LIFETIME {
                return Ok(None);
            }
            claim.take_over(&observed_lease).map_err(examine_error)?;
        }
        Ok(None)
    }

    /// Returns false if another process has taken over the lease.
    pub(crate) fn is_held(&self) -> io::Result<bool> {
        self.0.is_current()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        Renewals::remove(&self.0);
        if self.0.is_current().is_ok_and(|current| current) {
            // If the file cannot be removed, the lease expires later.
            let _ = fs::remove_file(&self.0.path);
        }
    }
}

impl Claim {
    fn create(&self) -> Result<(), Error> {
        let create_error = |error| Error::io("create", &self.path, error);
        let mut file = regular::create(OpenOptions::new().write(true).create_new(true), &self.path, 0o666, "create")?;
        file.write_all(self.token.as_bytes()).and_then(|()| file.sync_all()).map_err(create_error)
    }

    fn is_current(&self) -> io::Result<bool> {
        Ok(read_lease(&self.path)?.is_some_and(|observed_lease| observed_lease.token == self.token))
    }

    /// Writes the token again, so that the file server sets the modification time by its own clock.
    fn renew(&self) -> io::Result<()> {
        // The token is checked and written through one open file, so that a new lease of another process is not
        // overwritten.
        let mut options = OpenOptions::new();
        let mut file = regular::open(options.read(true).write(true), &self.path, "renew").map_err(io::Error::other)?;
        let mut token = String::new();
        (&file).take(MAX_TOKEN_BYTES).read_to_string(&mut token)?;
        if token != self.token {
            return Err(io::Error::other("another process has taken over the lease"));
        }
        file.rewind()?;
        file.write_all(self.token.as_bytes())?;
        file.sync_all()
    }

    /// Returns the path of an auxiliary file of this process, next to the lease.
    fn auxiliary_path(&self, extension: &str) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{}.{extension}", self.token.replace(' ', "-")));
        name.into()
    }

    /// Returns the time by the clock of the file server.
    fn now(&self) -> io::Result<SystemTime> {
        server_time(&self.auxiliary_path("clock"))
    }

    /// Removes an expired lease by moving its file. If several processes try, one succeeds. If the moved lease was
    /// renewed after it was observed, it is moved back.
    fn take_over(&self, expired: &ObservedLease) -> io::Result<()> {
        let moved_path = self.auxiliary_path("expired");
        match fs::rename(&self.path, &moved_path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            renamed => renamed?,
        }
        if read_lease(&moved_path)?.as_ref() == Some(expired) {
            tracing::warn!(path = %self.path.display(), holder = expired.token, "took over an expired lease");
            return fs::remove_file(&moved_path);
        }
        let link_result = fs::hard_link(&moved_path, &self.path);
        let is_replaced = link_result.as_ref().is_err_and(|error| error.kind() == ErrorKind::AlreadyExists);
        if link_result.is_ok() || is_replaced {
            fs::remove_file(&moved_path)
        } else {
            fs::rename(&moved_path, &self.path)
        }
    }
}

/// Returns the time by the clock of the file server: the modification time of a file that is created at `path` and
/// removed again.
fn server_time(path: &Path) -> io::Result<SystemTime> {
    let mut options = OpenOptions::new();
    let created = regular::create(options.write(true).create_new(true), path, 0o600, "create");
    let modified = created.map_err(|error| io::Error::new(error.kind(), error)).and_then(|mut file| {
        file.write_all(b"0")?;
        file.sync_all()?;
        file.metadata()?.modified()
    });
    let _ = fs::remove_file(path);
    modified
}

/// Returns true if `name` is the file name of a lease, or of an auxiliary file that is used to read the time of the
/// server or to take over a lease.
pub fn is_lease(name: &str) -> bool {
    match name.rsplit_once('.') {
        Some((stem, "clock" | "expired")) => stem.contains(".lease."),
        Some((_, ending)) => ending == "lease",
        None => false,
    }
}

/// Returns true if `path` [is a lease](is_lease) of a killed process: it has not been renewed for 2 min by the clock of
/// the file server.
///
/// # Errors
///
/// The file cannot be examined, or the time of the file server cannot be obtained.
pub fn is_abandoned(path: &Path) -> io::Result<bool> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if !is_lease(name) {
        return Ok(false);
    }
    let clock = path.with_file_name(format!("{name}.{:016x}.clock", RandomState::new().hash_one(path)));
    let renewed = fs::symlink_metadata(path)?.modified()?;
    Ok(server_time(&clock)?.duration_since(renewed).is_ok_and(|age| age > LEASE_LIFETIME))
}

/// Removes a file if it is the [abandoned](is_abandoned) lease of a killed process.
///
/// # Errors
///
/// The same as [`is_abandoned`], or the file cannot be removed.
pub fn remove_abandoned(path: &Path) -> Result<(), Error> {
    if path.extension().is_some_and(|extension| extension == "lease") {
        // Acquiring and releasing a lease removes it if it has expired, and leaves a renewed lease unchanged.
        return if path.exists() { Lease::try_acquire(path).map(drop) } else { Ok(()) };
    }
    if is_abandoned(path).map_err(|error| Error::io("examine", path, error))? { regular::remove(path) } else { Ok(()) }
}

/// Reads a lease file. Returns `None` if it does not exist.
fn read_lease(path: &Path) -> io::Result<Option<ObservedLease>> {
    let file = match regular::open(OpenOptions::new().read(true), path, "read") {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file.map_err(io::Error::other)?,
    };
    let renewed = file.metadata()?.modified()?;
    let mut token = String::new();
    file.take(MAX_TOKEN_BYTES).read_to_string(&mut token)?;
    Ok(Some(ObservedLease { token, renewed }))
}

/// The leases of this process, which one thread renews.
#[derive(Default)]
struct Renewals {
    leases: Vec<Arc<Claim>>,
    is_running: bool,
}

static RENEWALS: Mutex<Renewals> = Mutex::new(Renewals { leases: Vec::new(), is_running: false });
static LEASES_CHANGED: Condvar = Condvar::new();

impl Renewals {
    fn lock() -> MutexGuard<'static, Self> {
        RENEWALS.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(claim: Arc<Claim>) -> io::Result<()> {
        let mut renewals = Self::lock();
        if !renewals.is_running {
            std::thread::Builder::new().name("leases".to_owned()).spawn(Self::run)?;
            renewals.is_running = true;
        }
        renewals.leases.push(claim);
        Ok(())
    }

    fn remove(claim: &Arc<Claim>) {
        Self::lock().leases.retain(|other| !Arc::ptr_eq(other, claim));
        LEASES_CHANGED.notify_all();
    }

    /// Renews all leases every [`RENEWAL_INTERVAL`]. Returns when no lease is left.
    fn run() {
        let mut renewals = Self::lock();
        while !renewals.leases.is_empty() {
            let (guard, timeout) = LEASES_CHANGED
                .wait_timeout_while(renewals, RENEWAL_INTERVAL, |renewals| !renewals.leases.is_empty())
                .unwrap_or_else(PoisonError::into_inner);
            renewals = guard;
            if !timeout.timed_out() {
                continue;
            }
            let leases = renewals.leases.clone();
            drop(renewals);
            for lease in leases {
                if let Err(error) = lease.renew() {
                    tracing::warn!(path = %lease.path.display(), %error, "cannot renew a lease");
                }
            }
            renewals = Self::lock();
        }
        renewals.is_running = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sets the modification time of a file back by `age`.
    fn age_file(path: &Path, age: Duration) {
        let file = OpenOptions::new().write(true).open(path).unwrap();
        file.set_modified(file.metadata().unwrap().modified().unwrap() - age).unwrap();
    }

    fn file_names(folder: &Path) -> Vec<String> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn lease_excludes_others_until_it_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock.lease");
        let lease = Lease::try_acquire(&path).unwrap().unwrap();
        assert!(lease.is_held().unwrap() && Lease::try_acquire(&path).unwrap().is_none());
        drop(lease);
        assert!(file_names(folder.path()).is_empty());
        Lease::try_acquire(&path).unwrap().unwrap();
    }

    #[test]
    fn expired_lease_is_taken_over_and_its_holder_notices() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock.lease");
        let first = Lease::try_acquire(&path).unwrap().unwrap();
        age_file(&path, LEASE_LIFETIME.saturating_sub(RENEWAL_INTERVAL));
        assert!(Lease::try_acquire(&path).unwrap().is_none(), "not expired yet");
        first.0.renew().unwrap();
        age_file(&path, LEASE_LIFETIME.saturating_sub(RENEWAL_INTERVAL));
        assert!(Lease::try_acquire(&path).unwrap().is_none(), "renewed");
        age_file(&path, LEASE_LIFETIME + RENEWAL_INTERVAL);
        let second = Lease::try_acquire(&path).unwrap().unwrap();
        assert!(!first.is_held().unwrap() && first.0.renew().is_err());
        drop(first);
        assert!(second.is_held().unwrap(), "the first holder does not remove the lease of the second");
        assert_eq!(file_names(folder.path()), ["lock.lease"]);
    }

    #[test]
    fn takeover_restores_a_lease_that_was_renewed_since() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock.lease");
        let lease = Lease::try_acquire(&path).unwrap().unwrap();
        age_file(&path, LEASE_LIFETIME + RENEWAL_INTERVAL);
        let observed_lease = read_lease(&path).unwrap().unwrap();
        lease.0.renew().unwrap();
        let other = Claim { path: path.clone(), token: "7 other".to_owned() };
        other.take_over(&observed_lease).unwrap();
        assert!(lease.is_held().unwrap());
        assert_eq!(file_names(folder.path()), ["lock.lease"]);
    }

    #[test]
    fn only_abandoned_leases_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let (path, clock) = (folder.path().join("lock.lease"), folder.path().join("lock.lease.7.clock"));
        let lease = Lease::try_acquire(&path).unwrap().unwrap();
        fs::write(&clock, "0").unwrap();
        for is_abandoned in [false, true] {
            for path in [&path, &clock] {
                if is_abandoned {
                    age_file(path, LEASE_LIFETIME + RENEWAL_INTERVAL);
                }
                remove_abandoned(path).unwrap();
                assert_ne!(path.exists(), is_abandoned);
            }
            assert_ne!(lease.is_held().unwrap(), is_abandoned);
        }
        assert!(file_names(folder.path()).is_empty());
    }

    #[test]
    fn concurrent_takeovers_leave_one_holder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock.lease");
        fs::write(&path, "1 dead").unwrap();
        age_file(&path, LEASE_LIFETIME + RENEWAL_INTERVAL);
        let acquired_leases: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| Lease::try_acquire(&path).unwrap())).collect();
            threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(acquired_leases.iter().filter(|lease| lease.is_held().unwrap()).count(), 1);
    }
}
