//! The budget for submissions: a durable ledger that all servers of a user share.
//!
//! A submission is entered before it is sent and stays entered unless the platform certainly did not accept it. A killed
//! process therefore costs room, and never lets a later one exceed the budget. The same submission, by its content, is
//! entered once, however often it is repeated.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;

use durable_fs::{AtomicFile, LockFile};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The maximum size of a ledger, in bytes: some 100,000 submissions.
const MAX_BYTES: usize = 32 * 1024 * 1024;
/// The time limit for the lock of the ledger, which is held for one write.
const LOCK_TIMEOUT: Duration = Duration::from_secs(60);
/// The time limit for the lock of a submission, which is held until the platform has responded.
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

/// The budget: its limits, and the file with what was used.
#[derive(Clone, Debug)]
pub struct Budget {
    limits: Limits,
    file: PathBuf,
}

/// The used part of a budget.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Used {
    /// The number of submitted slides.
    pub slides: u64,
    /// The number of submitted runs.
    pub runs: u64,
    /// The slides and runs of each client.
    pub by_client: BTreeMap<String, (u64, u64)>,
}

/// A submission that is entered. Its entry stays unless [`release`](Self::release) is called.
#[derive(Debug)]
pub struct Reservation {
    budget: Budget,
    key: String,
    /// The entry was made by an earlier attempt, whose outcome is not known.
    is_repeated: bool,
    _lock: LockFile,
}

/// An error of a budget.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BudgetError {
    /// The application is not permitted.
    #[error("submissions to the application '{application}' are not allowed; allowed: {}", allowed.join(", "))]
    Application {
        /// The application.
        application: String,
        /// The permitted ones.
        allowed: Vec<String>,
    },
    /// The submission would exceed a limit.
    #[error("the budget is exhausted: {option} is {limit}, {used} used ({by}), {wanted} more requested")]
    Exhausted {
        /// The option that sets the limit.
        option: &'static str,
        /// The limit.
        limit: u64,
        /// The used amount.
        used: u64,
        /// The amount of the submission.
        wanted: u64,
        /// The amount of each client.
        by: String,
    },
    /// The ledger cannot be read or written. Nothing is submitted.
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
    /// Creates a budget whose ledger is `file`. It is created by the first submission.
    pub fn new(limits: Limits, file: impl Into<PathBuf>) -> Self {
        Self { limits, file: file.into() }
    }

    /// Returns the limits.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Returns what was used so far.
    ///
    /// # Errors
    ///
    /// [`BudgetError::File`]: the ledger cannot be read.
    pub fn used(&self) -> Result<Used, BudgetError> {
        Ok(self.read()?.used())
    }

    /// Enters a submission with this content. It blocks while another process submits the same content.
    ///
    /// # Errors
    ///
    /// The application is not permitted, a limit would be exceeded, or the ledger cannot be used.
    pub fn reserve(
        &self,
        client: &str,
        application: &str,
        slides: u64,
        content: &[&[u8]],
    ) -> Result<Reservation, BudgetError> {
        let allowed = &self.limits.applications;
        if !allowed.iter().any(|known| known == application) {
            return Err(BudgetError::Application { application: application.to_owned(), allowed: allowed.clone() });
        }
        let key = key(application, content);
        if let Some(folder) = self.file.parent() {
            durable_fs::folder::ensure(folder, 0o700).map_err(|error| self.failed(error))?;
        }
        let lock = self.lock(&format!(".{key}.lock"), SUBMISSION_TIMEOUT)?;
        let held = self.lock(".lock", LOCK_TIMEOUT)?;
        let mut ledger = self.read()?;
        let is_repeated = ledger.submissions.contains_key(&key);
        if !is_repeated {
            self.check(&ledger.used(), slides)?;
            let entry = Entry { client: shown(client), application: application.to_owned(), slides, run: None };
            ledger.submissions.insert(key.clone(), entry);
            self.write(&ledger)?;
        }
        drop(held);
        Ok(Reservation { budget: self.clone(), key, is_repeated, _lock: lock })
    }

    fn check(&self, used: &Used, slides: u64) -> Result<(), BudgetError> {
        let by = |part: fn(&(u64, u64)) -> u64| {
            let parts = used.by_client.iter().map(|(client, of)| format!("{client}: {}", part(of)));
            if used.by_client.is_empty() { "by no client".to_owned() } else { parts.collect::<Vec<_>>().join(", ") }
        };
        let Limits { max_slides, max_runs, .. } = self.limits;
        let exceeds = |used: u64, wanted: u64, limit: u64| used.checked_add(wanted).is_none_or(|sum| sum > limit);
        if exceeds(used.slides, slides, max_slides) {
            let (limit, used, wanted, by) = (max_slides, used.slides, slides, by(|(slides, _)| *slides));
            return Err(BudgetError::Exhausted { option: "--max-slides", limit, used, wanted, by });
        }
        if exceeds(used.runs, 1, max_runs) {
            let (limit, used, by) = (max_runs, used.runs, by(|(_, runs)| *runs));
            return Err(BudgetError::Exhausted { option: "--max-runs", limit, used, wanted: 1, by });
        }
        Ok(())
    }

    fn lock(&self, suffix: &str, timeout: Duration) -> Result<LockFile, BudgetError> {
        LockFile::acquire(self.sibling_path(suffix), timeout).map_err(|error| self.failed(error))
    }

    fn sibling_path(&self, suffix: &str) -> PathBuf {
        let mut name = self.file.file_name().unwrap_or_default().to_owned();
        name.push(suffix);
        self.file.with_file_name(name)
    }

    fn read(&self) -> Result<Ledger, BudgetError> {
        let contents = durable_fs::regular::read(&self.file, MAX_BYTES).map_err(|error| self.failed(error))?;
        let Some(contents) = contents else { return Ok(Ledger::default()) };
        // A ledger that is not valid is never replaced by an empty one.
        serde_json::from_slice(contents.bytes()).map_err(|error| self.failed(error))
    }

    fn write(&self, ledger: &Ledger) -> Result<(), BudgetError> {
        let bytes = serde_json::to_vec_pretty(ledger).map_err(|error| self.failed(error))?;
        let file = AtomicFile::new(&self.file, self.sibling_path(".new")).with_mode(0o600);
        file.replace(&bytes).map_err(|error| self.failed(error))
    }

    fn failed(&self, source: impl Into<Box<dyn Error + Send + Sync>>) -> BudgetError {
        BudgetError::File { file: self.file.clone(), source: source.into() }
    }

    /// Changes the ledger while it is locked.
    fn change(&self, change: impl FnOnce(&mut Ledger)) -> Result<(), BudgetError> {
        let held = self.lock(".lock", LOCK_TIMEOUT)?;
        let mut ledger = self.read()?;
        change(&mut ledger);
        self.write(&ledger)?;
        drop(held);
        Ok(())
    }
}

impl Reservation {
    /// Records the run. The entry counts without it. A run that was not submitted now, and that no earlier attempt has
    /// entered, does not count.
    ///
    /// # Errors
    ///
    /// [`BudgetError::File`]: the ledger cannot be written. The entry stays.
    pub fn settle(self, run: &str, is_new: bool) -> Result<(), BudgetError> {
        if !is_new && !self.is_repeated {
            return self.release();
        }
        let Self { budget, key, .. } = &self;
        budget.change(|ledger| {
            if let Some(entry) = ledger.submissions.get_mut(key) {
                entry.run = Some(run.to_owned());
            }
        })
    }

    /// Removes the entry, because the platform certainly did not accept the submission. The entry of an earlier attempt
    /// stays.
    ///
    /// # Errors
    ///
    /// [`BudgetError::File`]: the ledger cannot be written. The entry stays.
    pub fn release(self) -> Result<(), BudgetError> {
        let Self { budget, key, is_repeated, .. } = &self;
        if *is_repeated {
            return Ok(());
        }
        budget.change(|ledger| drop(ledger.submissions.remove(key)))
    }
}

impl Ledger {
    fn used(&self) -> Used {
        let mut used = Used::default();
        for entry in self.submissions.values() {
            used.slides = used.slides.saturating_add(entry.slides);
            used.runs += 1;
            let of = used.by_client.entry(entry.client.clone()).or_default();
            *of = (of.0.saturating_add(entry.slides), of.1 + 1);
        }
        used
    }
}

/// Returns the ledger in a state folder.
pub(crate) fn default_file(state_folder: &Path) -> PathBuf {
    state_folder.join("mcp-budget.json")
}

fn key(application: &str, content: &[&[u8]]) -> String {
    hex(&hash(std::iter::once(application.as_bytes()).chain(content.iter().copied()))[..16])
}

/// Returns the digest of a list of parts.
pub(crate) fn hash<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// Returns a text that a client chose, without control characters, truncated.
pub(crate) fn shown(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(100).collect()
}
