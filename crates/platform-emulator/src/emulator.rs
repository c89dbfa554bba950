use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
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
use crate::{gate, processing, store};

/// A running platform. It ends when this is dropped: requests that are being answered get their answer,
/// runs stop, and the data are deleted, unless they lie in a folder that was named.
#[derive(Debug)]
pub struct Emulator {
    platform: Arc<Platform>,
    /// Where the API listens, whatever clients call it.
    listening: Url,
    /// The servers end when this is dropped.
    _running: watch::Sender<()>,
}

/// Sets up an [`Emulator`].
#[derive(Clone, Debug)]
pub struct EmulatorBuilder {
    config: Config,
    address: IpAddr,
    port: u16,
    host: Option<String>,
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

    /// The name of this machine in all URLs, by which the emulator is reached: its address unless something is said.
    pub fn with_host(mut self, host: impl Into<String>) -> Self {
        self.host = Some(host.into());
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
        if self.port > u16::MAX - 2 {
            let message = format!("after port {} there are no two others", self.port);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let next = |offset| if self.port > 0 { self.port + offset } else { 0 };
        let host = self.host.as_deref();
        let (api, api_listening) = listen(self.address, next(0), host).await?;
        let (identity, identity_listening) = listen(self.address, next(1), host).await?;
        let (storage, storage_listening) = listen(self.address, next(2), host).await?;
        let listening = api_listening.clone();
        let [api_root, issuer, storage_root] =
            self.config.public.of([api_listening, identity_listening, storage_listening]);
        if !self.address.is_loopback() {
            tracing::warn!(address = %self.address, "whoever reaches this address can do everything with the emulator");
        }
        let random = Random::new(self.seed);
        let (store, mut found) = match &self.data {
            Some(folder) => {
                create_private(folder)?;
                check_ours(folder)?;
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
        let running = serve(&platform, identity, api, storage);
        Ok(Emulator { platform, listening, _running: running })
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
            host: None,
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

    /// What it has and how it behaves.
    pub fn config(&self) -> &Config {
        &self.platform.config
    }

    /// The token of the control routes, if it was started with them. A secret.
    pub fn control_token(&self) -> Option<&str> {
        self.platform.controls.as_ref().map(|controls| controls.token.as_str())
    }

    /// A refresh token of a user for the interactive client, that can be used again and again, as variables
    /// for scripts need it. A secret.
    ///
    /// # Errors
    ///
    /// There is no such user, or the token cannot be written down.
    pub async fn refresh_token(&self, user: &str) -> io::Result<String> {
        let user = self.platform.accounts.user(user).ok_or(io::ErrorKind::NotFound)?;
        self.platform.start_lasting_family(user).await.map_err(io::Error::other)
    }

    /// The controls, if it was started with them.
    pub fn control(&self) -> Option<Control> {
        let token = self.platform.controls.as_ref()?.token.clone();
        Some(Control::new(self.platform.http.clone(), self.listening.clone(), token))
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

/// Starts the three servers; they end when what comes back is dropped.
fn serve(platform: &Arc<Platform>, identity: TcpListener, api: TcpListener, storage: TcpListener) -> watch::Sender<()> {
    let (running, ended) = watch::channel(());
    for (listener, server, router) in [
        (identity, Server::Identity, crate::identity::router(platform.clone())),
        (api, Server::Api, crate::api::router(platform.clone())),
        (storage, Server::Storage, crate::storage::router(platform.clone())),
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
    running
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

/// A folder with anything else in it is somebody else's.
fn check_ours(folder: &Path) -> io::Result<()> {
    let foreign = !folder.join(store::FILE).exists() && std::fs::read_dir(folder)?.next().is_some();
    if foreign {
        let message = format!("{} is not empty, and no data folder of an emulator", folder.display());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    Ok(())
}

async fn listen(address: IpAddr, port: u16, host: Option<&str>) -> io::Result<(TcpListener, Url)> {
    let address = SocketAddr::new(address, port);
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| io::Error::new(error.kind(), format!("{address} cannot be listened on: {error}")))?;
    let mut bound = listener.local_addr()?;
    match bound.ip() {
        IpAddr::V4(any) if any.is_unspecified() => bound.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(any) if any.is_unspecified() => bound.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    let authority = host.map_or_else(|| bound.to_string(), |host| format!("{host}:{}", bound.port()));
    let invalid =
        |error| io::Error::new(io::ErrorKind::InvalidInput, format!("{authority} cannot be in a URL: {error}"));
    let url = format!("http://{authority}/").parse().map_err(invalid)?;
    Ok((listener, url))
}
