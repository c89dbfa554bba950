//! The state that the three servers share.

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use auth_http::HttpClient;
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::task::JoinSet;
use url::Url;

use crate::account::Accounts;
use crate::application::Catalog;
use crate::clock::{ShiftedClock, truncated_to_microseconds};
use crate::config::Config;
use crate::fault::Faults;
use crate::identity::Identity;
use crate::journal::Journal;
use crate::random::Random;
use crate::state::State;
use crate::state::run::Run;
use crate::storage::{MultipartUploads, Objects, ResumableUploads, ServiceAccounts};

/// The state of the control routes.
pub(crate) struct Controls {
    pub(crate) token: String,
    pub(crate) journal: Journal,
}

impl Controls {
    pub(crate) fn new() -> Self {
        // The token is not derived from a seed, because it is a secret.
        let token = uuid::Uuid::new_v4().simple().to_string();
        Self { token, journal: Journal::default() }
    }
}

/// The shared state of the three servers.
pub(crate) struct Platform {
    pub(crate) issuer: Url,
    pub(crate) api_root: Url,
    pub(crate) storage: Url,
    pub(crate) config: Config,
    /// The listening address of the servers.
    pub(crate) address: IpAddr,
    pub(crate) clock: ShiftedClock,
    pub(crate) controls: Option<Controls>,
    pub(crate) faults: Faults,
    pub(crate) random: Random,
    pub(crate) http: HttpClient,
    pub(crate) accounts: Accounts,
    pub(crate) applications: Catalog,
    pub(crate) identity: Identity,
    pub(crate) objects: Objects,
    pub(crate) multiparts: MultipartUploads,
    pub(crate) resumables: ResumableUploads,
    pub(crate) service_accounts: ServiceAccounts,
    pub(crate) state: State,
    /// The tasks that process runs. They are aborted when the emulator is dropped.
    pub(crate) run_tasks: Mutex<JoinSet<()>>,
}

impl Platform {
    pub(crate) fn now(&self) -> SystemTime {
        self.clock.now()
    }

    /// Returns the time in the resolution of the platform.
    pub(crate) fn timestamp(&self) -> Timestamp {
        truncated_to_microseconds(Timestamp::try_from(self.now()).unwrap_or_default())
    }

    /// Returns true if the run has reached the read replica.
    pub(crate) fn is_replicated(&self, run: &Run) -> bool {
        let lag = Duration::from_millis(self.config.replica_lag_ms);
        SystemTime::from(run.submitted_at) + lag <= self.now()
    }

    /// Returns the time in seconds since 1970.
    pub(crate) fn unix_now(&self) -> u64 {
        self.now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
    }
}

impl fmt::Debug for Platform {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Platform").field("api_root", &self.api_root.as_str()).finish_non_exhaustive()
    }
}
