use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use auth_core::{Clock, SystemClock};
use auth_http::HttpClient;
use axum::middleware;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::watch;
use url::Url;

use crate::account::{Accounts, BucketKey};
use crate::clock::ShiftedClock;
use crate::config::Config;
use crate::connection::{Reset, ResettableListener};
use crate::control::{Control, Controls, Server};
use crate::identity::Identity;
use crate::platform::Platform;
use crate::random::Random;
use crate::state::State;
use crate::storage::{Multiparts, Objects, ServiceAccount, ServiceAccounts};
use crate::store::{Changes, Found, Store};
use crate::{api, gate, identity, processing, storage};

/// A running platform. It ends when this is dropped: requests that are being answered get their answer,
/// runs stop, and the data are deleted, unless they lie in a folder that was named.
#[derive(Debug)]
pub struct Emulator {
    platform: Arc<Platform>,
    /// The servers end when this is dropped.
    _running: watch::Sender<()>,
}

/// Sets up an [`Emulator`].
#[derive(Clone, Debug)]
pub struct EmulatorBuilder {
    config: Config,
    address: IpAddr,
    port: u16,
    data: Option<PathBuf>,
    seed: Option<u64>,
    clock: Arc<dyn Clock>,
    control: bool,
}

impl EmulatorBuilder {
    /// What the platform has and how it behaves.
    pub fn with_config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// The address to listen on: 127.0.0.1 unless something is said. Its secrets are known to
    /// everybody, so that on any other address everybody who can reach it can do everything.
    pub fn with_address(mut self, address: IpAddr) -> Self {
        self.address = address;
        self
    }

    /// The port of the API; the identity provider and the storage get the next two. 0, which is the
    /// default, is for free ones.
    pub fn with_port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Keeps the data in this folder, which is created if need be, and goes on with what is in it.
    pub fn with_data_folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.data = Some(folder.into());
        self
    }

    /// Makes ids and what is left to chance the same every time.
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// The clock of the platform.
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Opens the control routes to whoever has their token: see [`Control`].
    pub fn with_control(mut self) -> Self {
        self.control = true;
        self
    }

    /// Starts the platform.
    ///
    /// # Errors
    ///
    /// A port is not free, the data folder cannot be used or is used by another process, or the
    /// configuration contradicts itself.
    pub async fn start(self) -> io::Result<Emulator> {
        let problems = self.config.problems();
        if !problems.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, problems.join("; ")));
        }
        let next = |offset| self.port.checked_add(offset).filter(|_| self.port > 0).unwrap_or(0);
        let (api, api_root) = listen(self.address, next(0)).await?;
        let (identity, issuer) = listen(self.address, next(1)).await?;
        let (storage, storage_root) = listen(self.address, next(2)).await?;
        let random = Random::new(self.seed);
        let (store, mut found) = match &self.data {
            Some(folder) => {
                create_private(folder)?;
                Store::open(folder)?
            }
            None => Default::default(),
        };
        let accounts = accounts(&self.config, &random, &store, &mut found).await?;
        let identity_state = Identity::new(&random, &store, &mut found).await?;
        let objects = Objects::new(self.data.as_deref(), &mut found)?;
        let platform = Arc::new(Platform {
            issuer,
            api_root,
            storage: storage_root,
            config: self.config,
            address: self.address,
            clock: ShiftedClock::new(self.clock),
            controls: self.control.then(Controls::new),
            random,
            http: HttpClient::builder()
                .with_plain_loopback()
                .without_decompression()
                .build()
                .map_err(io::Error::other)?,
            accounts,
            identity: identity_state,
            objects,
            multiparts: Multiparts::default(),
            service_accounts: ServiceAccounts::new(&mut found)?,
            state: State::new(store, &mut found)?,
            work: Mutex::default(),
        });
        processing::resume(&platform);
        let (running, ended) = watch::channel(());
        for (listener, server, router) in [
            (identity, Server::Identity, identity::router(platform.clone())),
            (api, Server::Api, api::router(platform.clone())),
            (storage, Server::Storage, storage::router(platform.clone())),
        ] {
            let mut ended = ended.clone();
            let router = router.layer(middleware::from_fn_with_state((platform.clone(), server), gate::pass));
            let service = router.into_make_service_with_connect_info::<Reset>();
            let server = axum::serve(ResettableListener(listener), service).with_graceful_shutdown(async move {
                // An error says that the sender is gone, which is what is waited for.
                let _ = ended.changed().await;
            });
            tokio::spawn(server.into_future());
        }
        Ok(Emulator { platform, _running: running })
    }
}

impl Emulator {
    /// Starts a platform with everything as it is by default, on free ports of 127.0.0.1.
    ///
    /// # Errors
    ///
    /// Those of [`EmulatorBuilder::start`].
    pub async fn start() -> io::Result<Self> {
        Self::builder().start().await
    }

    /// Sets up a platform.
    pub fn builder() -> EmulatorBuilder {
        EmulatorBuilder {
            config: Config::default(),
            address: Ipv4Addr::LOCALHOST.into(),
            port: 0,
            data: None,
            seed: None,
            clock: Arc::new(SystemClock),
            control: false,
        }
    }

    /// The issuer of the tokens, as their `iss` claim spells it.
    pub fn issuer(&self) -> &Url {
        &self.platform.issuer
    }

    /// The root of the API.
    pub fn api_root(&self) -> &Url {
        &self.platform.api_root
    }

    /// The controls, if it was started with them.
    pub fn control(&self) -> Option<Control> {
        let token = self.platform.controls.as_ref()?.token.clone();
        Some(Control::new(self.platform.http.clone(), self.platform.api_root.clone(), token))
    }

    /// The service account of an organisation, which signs URLs to its bucket (GOOG4-RSA-SHA256).
    ///
    /// # Errors
    ///
    /// There is no organisation with this id, or its key cannot be made or written down.
    pub async fn service_account(&self, organization: &str) -> io::Result<ServiceAccount> {
        let organization = self.platform.accounts.organization(organization).ok_or(io::ErrorKind::NotFound)?;
        self.platform.service_accounts.of(organization, self.platform.state.store()).await
    }

    /// The root of the object storage.
    pub fn storage(&self) -> &Url {
        &self.platform.storage
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.platform.work.lock().abort_all();
    }
}

/// The accounts, with the keys that their buckets had before.
async fn accounts(config: &Config, random: &Random, store: &Store, found: &mut Found) -> io::Result<Accounts> {
    let mut known: std::collections::HashMap<String, BucketKey> =
        found.take::<BucketKey>("bucket-key/")?.into_iter().collect();
    let mut changes = Changes::default();
    let accounts = Accounts::new(config, |organization| {
        known.remove(organization).unwrap_or_else(|| {
            let key = BucketKey::new(random);
            changes.put(format!("bucket-key/{organization}"), &key);
            key
        })
    });
    store.write(changes).await.map_err(io::Error::other)?;
    Ok(accounts)
}

/// Creates a folder that nobody else may look into; one that is there stays as it is.
fn create_private(folder: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
        .recursive(true)
        .create(folder)
        .map_err(|error| io::Error::new(error.kind(), format!("{} cannot be created: {error}", folder.display())))
}

async fn listen(address: IpAddr, port: u16) -> io::Result<(TcpListener, Url)> {
    let address = SocketAddr::new(address, port);
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| io::Error::new(error.kind(), format!("{address} cannot be listened on: {error}")))?;
    let url = format!("http://{}/", listener.local_addr()?);
    Ok((listener, url.parse().map_err(io::Error::other)?))
}
