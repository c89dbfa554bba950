//! Setup and start of an emulator.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use auth_core::{Clock, SystemClock};
use auth_http::HttpClient;
use parking_lot::Mutex;

use super::Emulator;
use super::servers::{Listeners, serve};
use crate::account::{Accounts, BucketKey};
use crate::application::Catalog;
use crate::clock::ShiftedClock;
use crate::config::Config;
use crate::control::fixture::Fixture;
use crate::fault::{Fault, Faults};
use crate::identity::Identity;
use crate::platform::Controls;
use crate::platform::Platform;
use crate::random::Random;
use crate::server::tls::{self, Acceptor};
use crate::state::State;
use crate::state::store::{Changes, Store, StoredRecords};
use crate::storage::{MultipartUploads, Objects, ResumableUploads, ServiceAccounts};
use crate::{application::processing, state::store};

/// The key of the record with the number of starts on a data folder.
const START_COUNT_KEY: &str = "starts";

/// A builder for [`Emulator`].
#[derive(Clone, Debug)]
pub struct EmulatorBuilder {
    config: Config,
    address: IpAddr,
    port: u16,
    host: Option<String>,
    data_folder: Option<PathBuf>,
    seed: Option<u64>,
    clock: Arc<dyn Clock>,
    control: bool,
    tls: Option<PathBuf>,
    http2: bool,
    fixture: Fixture,
}

impl Default for EmulatorBuilder {
    fn default() -> Self {
        Self {
            config: Config::default(),
            address: Ipv4Addr::LOCALHOST.into(),
            port: 0,
            host: None,
            data_folder: None,
            seed: None,
            clock: Arc::new(SystemClock),
            control: false,
            tls: None,
            http2: true,
            fixture: Fixture::default(),
        }
    }
}

impl EmulatorBuilder {
    /// Sets the content and the behavior of the platform.
    pub fn with_config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Sets the address to listen on. The default is 127.0.0.1. On any other address, everyone who can connect has full
    /// access, because the secrets of the emulator are public.
    pub fn with_address(mut self, address: IpAddr) -> Self {
        self.address = address;
        self
    }

    /// Sets the port of the API. The identity provider and the storage use the next two ports. The default, 0, selects
    /// free ports.
    pub fn with_port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Sets the host name in all URLs. The default is the listening address.
    pub fn with_host(mut self, host: impl Into<String>) -> Self {
        self.host = Some(host.into());
        self
    }

    /// Stores the data in this folder, which is created if it does not exist. Data of an earlier start are loaded.
    pub fn with_data_folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.data_folder = Some(folder.into());
        self
    }

    /// Adds a fault that is active from the start.
    pub fn with_fault(mut self, fault: Fault) -> Self {
        self.config.faults.push(fault);
        self
    }

    /// Derives ids and random events from a seed, so that they are reproducible. Each start on the same data folder
    /// derives different ids.
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Sets the clock of the platform.
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Enables the control routes. Clients need the control token: see [`Control`](crate::Control).
    pub fn with_control(mut self) -> Self {
        self.control = true;
        self
    }

    /// Serves https. A certificate authority is created at each start, and its certificate (PEM) is written to `file`.
    ///
    /// Clients must trust the certificate in the file, for example with
    /// `HttpClient::builder().with_root_certificates(file)`, or with `SSL_CERT_FILE` and `REQUESTS_CA_BUNDLE`. The
    /// certificates are valid for `localhost`, the loopback addresses, the address and the host of this builder, and
    /// [`Config::hosts`].
    ///
    /// Clients can then select HTTP/2 by ALPN: see [`Self::without_http2`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// use auth_http::{HttpClient, Request};
    /// use platform_emulator::Emulator;
    ///
    /// let file = folder.path().join("authority.pem");
    /// let emulator = Emulator::builder().with_tls(&file).start().await?;
    /// let http = HttpClient::builder().with_root_certificates(&file).build()?;
    /// assert_eq!(emulator.api_root().scheme(), "https");
    /// assert_eq!(http.send(Request::get(emulator.api_root().join("health")?)).await?.status(), 200);
    /// # Ok(()) }
    /// ```
    pub fn with_tls(mut self, file: impl Into<PathBuf>) -> Self {
        self.tls = Some(file.into());
        self
    }

    /// Disables HTTP/2, so that clients over TLS also use HTTP/1.1.
    pub fn without_http2(mut self) -> Self {
        self.http2 = false;
        self
    }

    /// Loads the organizations, users, runs and results of a fixture. Runs that exist in the data folder are not
    /// replaced.
    pub fn with_fixture(mut self, fixture: Fixture) -> Self {
        self.fixture = fixture;
        self
    }

    /// Returns the users, runs and results of the data folder, without processing runs or serving requests. Users and
    /// applications come from the configuration.
    ///
    /// # Errors
    ///
    /// `InvalidInput`: the folder is missing, or is not a data folder of an emulator. The errors of
    /// [`start`](Self::start). A file in the folder cannot be read.
    pub async fn export(mut self) -> io::Result<Fixture> {
        let fixture = std::mem::take(&mut self.fixture);
        fixture.add_accounts_to(&mut self.config);
        self.check_config()?;
        if !self.data_folder.as_ref().is_some_and(|folder| folder.join(store::FILE).exists()) {
            let folder = self.data_folder.as_deref().unwrap_or(Path::new("")).display();
            let text = format!("'{folder}' is not a data folder of the emulator");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        // The platform needs URLs, so that free ports are bound, although no requests are served.
        let listeners = Listeners::bind(self.address, 0, self.host.as_deref(), false).await?;
        Fixture::from_platform(&self.create_platform(&listeners).await?)
    }

    /// Starts the emulator.
    ///
    /// # Errors
    ///
    /// A port is in use, the data folder is unusable or used by another process, the authority's certificate cannot be
    /// written, or the configuration is inconsistent.
    pub async fn start(mut self) -> io::Result<Emulator> {
        let fixture = std::mem::take(&mut self.fixture);
        fixture.add_accounts_to(&mut self.config);
        self.check_config()?;
        let listeners = Listeners::bind(self.address, self.port, self.host.as_deref(), self.tls.is_some()).await?;
        let acceptor = self.tls_acceptor()?;
        if !self.address.is_loopback() {
            tracing::warn!(address = %self.address, "every client that can connect to this address has full access to the emulator");
        }
        let listening_url = listeners.api_root();
        let platform = Arc::new(self.create_platform(&listeners).await?);
        fixture.load(&platform).await?;
        processing::resume(&platform);
        let shutdown = serve(&platform, listeners, acceptor.as_ref());
        Ok(Emulator { platform, listening_url, _shutdown: shutdown })
    }

    fn check_config(&self) -> io::Result<()> {
        let mut problems = self.config.problems();
        if self.port > u16::MAX - 2 {
            problems.push(format!("port {} is too high: the next two ports are needed as well", self.port));
        }
        if problems.is_empty() {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::InvalidInput, problems.join("; ")))
    }

    fn tls_acceptor(&self) -> io::Result<Option<Acceptor>> {
        let Some(file) = &self.tls else { return Ok(None) };
        let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
        names.push(self.address.to_string());
        names.extend(self.host.clone());
        names.extend(self.config.hosts.iter().cloned());
        names.sort();
        names.dedup();
        tls::create_acceptor(file, names, self.http2).map(Some)
    }

    async fn create_platform(self, listeners: &Listeners) -> io::Result<Platform> {
        let [api_root, issuer, storage] = self.config.public.or_listening_urls(listeners.urls());
        let (store, mut stored) = match &self.data_folder {
            Some(folder) => {
                create_private_folder(folder)?;
                check_data_folder(folder)?;
                Store::open(folder)?
            }
            None => Default::default(),
        };
        let random = Random::new(self.seed, count_start(&store, &mut stored).await?);
        let accounts = load_accounts(&self.config, &random, &store, &mut stored).await?;
        Ok(Platform {
            issuer,
            api_root,
            storage,
            address: self.address,
            clock: ShiftedClock::new(self.clock),
            controls: self.control.then(Controls::new),
            faults: Faults::new(self.config.faults.iter().cloned()),
            http: http_client(self.tls.as_deref())?,
            accounts,
            applications: Catalog::new(&self.config.applications),
            identity: Identity::new(&random, &store, &mut stored).await?,
            objects: Objects::new(self.data_folder.as_deref(), &mut stored)?,
            multiparts: MultipartUploads::new(&self.config),
            resumables: ResumableUploads::default(),
            service_accounts: ServiceAccounts::new(&mut stored)?,
            state: State::new(store, &mut stored)?,
            run_tasks: Mutex::default(),
            config: self.config,
            random,
        })
    }
}

/// Returns the client that fetches slides and accesses the control routes.
fn http_client(authority_file: Option<&Path>) -> io::Result<HttpClient> {
    // The request for a slide can have a signed `Host` header. HTTP/2 would replace it by the authority of the URL.
    let builder = HttpClient::builder().with_plain_loopback().without_decompression().with_http1();
    let builder = if let Some(file) = authority_file { builder.with_root_certificates(file) } else { builder };
    builder.build().map_err(io::Error::other)
}

/// Returns the number of earlier starts on the data folder, and records this one.
async fn count_start(store: &Store, stored: &mut StoredRecords) -> io::Result<u64> {
    // Data folders of earlier versions of this crate do not contain the number of starts.
    let unrecorded_starts = u64::from(!stored.is_empty());
    let earlier_starts = stored.take::<u64>(START_COUNT_KEY)?.pop().map_or(unrecorded_starts, |(_, starts)| starts);
    let mut changes = Changes::default();
    changes.put(START_COUNT_KEY.to_owned(), &(earlier_starts + 1));
    store.write(changes).await.map_err(io::Error::other)?;
    Ok(earlier_starts)
}

/// Returns the accounts. Their buckets have the stored keys, or new keys.
async fn load_accounts(
    config: &Config,
    random: &Random,
    store: &Store,
    stored: &mut StoredRecords,
) -> io::Result<Accounts> {
    let mut existing_keys: std::collections::HashMap<String, BucketKey> =
        stored.take::<BucketKey>("bucket-key/")?.into_iter().collect();
    let mut changes = Changes::default();
    let accounts = Accounts::new(config, |organization| {
        existing_keys.remove(organization).unwrap_or_else(|| {
            let key = BucketKey::new(random);
            changes.put(format!("bucket-key/{organization}"), &key);
            key
        })
    });
    store.write(changes).await.map_err(io::Error::other)?;
    Ok(accounts)
}

/// Creates a folder that only its owner can access. An existing folder is not changed.
fn create_private_folder(folder: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
        .recursive(true)
        .create(folder)
        .map_err(|error| io::Error::new(error.kind(), format!("cannot create '{}': {error}", folder.display())))
}

/// Rejects a folder that is not empty and is not a data folder of an emulator.
fn check_data_folder(folder: &Path) -> io::Result<()> {
    let is_foreign = !folder.join(store::FILE).exists() && std::fs::read_dir(folder)?.next().is_some();
    if is_foreign {
        let message = format!("'{}' is neither empty nor a data folder of an emulator", folder.display());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    Ok(())
}
