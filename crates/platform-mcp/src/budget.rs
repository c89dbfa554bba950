//! The budget for submissions: a durable ledger that all servers of a user share.
//!
//! A submission is recorded in the ledger before it is sent. Its entry is removed only if the platform certainly did
//! not accept the submission. The entry of a killed process therefore uses up budget, but no later submission can
//! exceed the limits. Submissions with the same content share one entry.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;

use durable_fs::{AtomicFile, LockFile};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The maximum size of a ledger, in bytes: some 100,000 submissions.
const MAX_BYTES: usize = 32 * 1024 * 1024;
/// The maximum time to wait for the lock of the ledger. A process holds the lock for one write.
const LOCK_TIMEOUT: Duration = Duration::from_secs(60);
/// The maximum time to wait for the lock of a submission. A process holds the lock until the platform has responded.
const SUBMISSION_TIMEOUT: Duration = Duration::from_secs(600);

/// The limits of all submissions together, for the lifetime of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The maximum number of slides.
    pub max_slides: u64,
    /// The maximum number of runs.
    pub max_runs: u64,
    /// The applications that may be used.
    pub applications: Vec<String>,
}

/// A budget: its limits, and the ledger with the submissions.
#[derive(Clone, Debug)]
pub struct Budget {
    limits: Limits,
    file: PathBuf,
}

/// The used part of a budget.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct BudgetUsage {
    /// The number of submitted slides.
    pub slides: u64,
    /// The number of submitted runs.
    pub runs: u64,
    /// The slides and runs of each client.
    pub by_client: BTreeMap<String, (u64, u64)>,
}

/// The entry of a submission in the ledger. It remains unless [`release`](Self::release) removes it.
#[derive(Debug)]
pub struct Reservation {
    budget: Budget,
    key: String,
    /// True if an earlier call has made the entry.
    is_repeated: bool,
    _lock: LockFile,
}

/// An error of a budget.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BudgetError {
    /// The budget does not allow the application.
    #[error("submissions to the application '{application}' are not allowed; allowed: {}", allowed.join(", "))]
    Application {
        /// The application.
        application: String,
        /// The allowed applications.
        allowed: Vec<String>,
    },
    /// The submission would exceed a limit.
    #[error(
        "the budget is exhausted: {option} is {limit}, {used} used ({usage_by_client}), {requested} more requested"
    )]
    Exhausted {
        /// The option that sets the limit.
        option: &'static str,
        /// The limit.
        limit: u64,
        /// The used amount.
        used: u64,
        /// The amount that the submission needs.
        requested: u64,
        /// The used amount of each client, as a text.
        usage_by_client: String,
    },
    /// The ledger cannot be read or written, so that nothing is submitted.
    #[error("cannot use the budget file '{}'", file.display())]
    File {
        /// The ledger.
        file: PathBuf,
        /// The cause.
        source: Box<dyn Error + Send + Sync>,
    },
}

#[derive(Debug, Default, Deserialize, Serialize)]
struct Ledger {
    /// The submissions by key.
    submissions: BTreeMap<String, Entry>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Entry {
    client: String,
    application: String,
    slides: u64,
    /// The run, if it is known.
    run: Option<String>,
}

impl Budget {
    /// Creates a budget with the ledger `file`. The first submission creates the file.
    pub fn new(limits: Limits, file: impl Into<PathBuf>) -> Self {
        Self { limits, file: file.into() }
    }

    /// Returns the limits.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Returns the used part of the budget.
    ///
    /// # Errors
    ///
    /// [`BudgetError::File`]: the ledger cannot be read.
    pub fn used(&self) -> Result<BudgetUsage, BudgetError> {
        Ok(self.read()?.used())
    }

    /// Records a submission with this content in the ledger. Blocks while another process submits the same content.
    ///
    /// # Errors
    ///
    /// The application is not allowed, a limit would be exceeded, or the ledger cannot be used.
    pub fn reserve(
        &self,
        client: &str,
        application: &str,
        slides: u64,
        content: &[&[u8]],
    ) -> Result<Reservation, BudgetError> {
        let allowed = &self.limits.applications;
        if !allowed.iter().any(|allowed_application| allowed_application == application) {
            return Err(BudgetError::Application { application: application.to_owned(), allowed: allowed.clone() });
        }
        let key = submission_key(application, content);
        if let Some(folder) = self.file.parent() {
            durable_fs::folder::ensure(folder, 0o700).map_err(|error| self.file_error(error))?;
        }
        let submission_lock = self.lock(&format!(".{key}.lock"), SUBMISSION_TIMEOUT)?;
        let ledger_lock = self.lock(".lock", LOCK_TIMEOUT)?;
        let mut ledger = self.read()?;
        let is_repeated = ledger.submissions.contains_key(&key);
        if !is_repeated {
            self.check_limits(&ledger.used(), slides)?;
            let entry = Entry { client: sanitize(client), application: application.to_owned(), slides, run: None };
            ledger.submissions.insert(key.clone(), entry);
            self.write(&ledger)?;
        }
        drop(ledger_lock);
        Ok(Reservation { budget: self.clone(), key, is_repeated, _lock: submission_lock })
    }

    fn check_limits(&self, used: &BudgetUsage, slides: u64) -> Result<(), BudgetError> {
        let usage_by_client = |count: fn(&(u64, u64)) -> u64| {
            let usages = used.by_client.iter().map(|(client, counts)| format!("{client}: {}", count(counts)));
            if used.by_client.is_empty() { "by no client".to_owned() } else { usages.collect::<Vec<_>>().join(", ") }
        };
        let Limits { max_slides, max_runs, .. } = self.limits;
        let exceeds = |used: u64, requested: u64, limit: u64| used.checked_add(requested).is_none_or(|sum| sum > limit);
        if exceeds(used.slides, slides, max_slides) {
            let (limit, usage_by_client) = (max_slides, usage_by_client(|(slides, _)| *slides));
            let (used, requested) = (used.slides, slides);
            return Err(BudgetError::Exhausted { option: "--max-slides", limit, used, requested, usage_by_client });
        }
        if exceeds(used.runs, 1, max_runs) {
            let (limit, usage_by_client) = (max_runs, usage_by_client(|(_, runs)| *runs));
            let (used, requested) = (used.runs, 1);
            return Err(BudgetError::Exhausted { option: "--max-runs", limit, used, requested, usage_by_client });
        }
        Ok(())
    }

    fn lock(&self, suffix: &str, timeout: Duration) -> Result<LockFile, BudgetError> {
        LockFile::acquire(self.sibling_path(suffix), timeout).map_err(|error| self.file_error(error))
    }

    fn sibling_path(&self, suffix: &str) -> PathBuf {
        let mut name = self.file.file_name().unwrap_or_default().to_owned();
        name.push(suffix);
        self.file.with_file_name(name)
    }

    fn read(&self) -> Result<Ledger, BudgetError> {
        let contents = durable_fs::regular::read(&self.file, MAX_BYTES).map_err(|error| self.file_error(error))?;
        let Some(contents) = contents else { return Ok(Ledger::default()) };
        // An invalid ledger is an error: replacing it by an empty one would reset the budget.
        serde_json::from_slice(contents.bytes()).map_err(|error| self.file_error(error))
    }

    fn write(&self, ledger: &Ledger) -> Result<(), BudgetError> {
        let bytes = serde_json::to_vec_pretty(ledger).map_err(|error| self.file_error(error))?;
        let file = AtomicFile::new(&self.file, self.sibling_path(".new")).with_mode(0o600);
        file.replace(&bytes).map_err(|error| self.file_error(error))
    }

    fn file_error(&self, source: impl Into<Box<dyn Error + Send + Sync>>) -> BudgetError {
        BudgetError::File { file: self.file.clone(), source: source.into() }
    }

    /// Locks the ledger and changes it.
    fn update(&self, change: impl FnOnce(&mut Ledger)) -> Result<(), BudgetError> {
        let ledger_lock = self.lock(".lock", LOCK_TIMEOUT)?;
        let mut ledger = self.read()?;
        change(&mut ledger);
        self.write(&ledger)?;
        drop(ledger_lock);
        Ok(())
    }
}

impl Reservation {
    /// Records the id of the run in the entry. If the run existed already (`is_new` is false) and this call has made
    /// the entry, the entry is removed, because nothing was submitted.
    ///
    /// # Errors
    ///
    /// [`BudgetError::File`]: the ledger cannot be written. The entry remains.
    pub fn settle(self, run: &str, is_new: bool) -> Result<(), BudgetError> {
        if !is_new && !self.is_repeated {
            return self.release();
        }
        let Self { budget, key, .. } = &self;
        budget.update(|ledger| {
            if let Some(entry) = ledger.submissions.get_mut(key) {
                entry.run = Some(run.to_owned());
            }
        })
    }

    /// Removes the entry, because the platform certainly did not accept the submission. An entry that an earlier call
    /// has made remains.
    ///
    /// # Errors
    ///
    /// [`BudgetError::File`]: the ledger cannot be written. The entry remains.
    pub fn release(self) -> Result<(), BudgetError> {
        let Self { budget, key, is_repeated, .. } = &self;
        if *is_repeated {
            return Ok(());
        }
        budget.update(|ledger| drop(ledger.submissions.remove(key)))
    }
}

impl Ledger {
    fn used(&self) -> BudgetUsage {
        let mut used = BudgetUsage::default();
        for entry in self.submissions.values() {
            used.slides = used.slides.saturating_add(entry.slides);
            used.runs += 1;
            let (slides, runs) = used.by_client.entry(entry.client.clone()).or_default();
            *slides = slides.saturating_add(entry.slides);
            *runs += 1;
        }
        used
    }
}

/// Returns the default path of the ledger in a state folder.
pub(crate) fn default_file(state_folder: &Path) -> PathBuf {
    state_folder.join("mcp-budget.json")
}

fn submission_key(application: &str, content: &[&[u8]]) -> String {
    hex::encode(&hash_parts(std::iter::once(application.as_bytes()).chain(content.iter().copied()))[..16])
}

/// Returns the SHA-256 of a list of parts. The length of each part is hashed, too, so that the boundaries count.
pub(crate) fn hash_parts<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// Removes the control characters from a text that a client chose, and truncates it to 100 characters.
pub(crate) fn sanitize(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(100).collect()
}
