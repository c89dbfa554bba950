use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use auth_core::{Clock, Secret, SystemClock};
use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::io::tcp::TcpSettings;
use redis::{Client, ConnectionInfo, IntoConnectionInfo, TlsCertificates};
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use url::{Host, Url};

use crate::cache::{RedisTokenCache, Settings, TOMBSTONE_LIFETIME};
use crate::error::BuildError;
use crate::link::Link;
use crate::names::Namespace;
use crate::sealing::{Sealing, SealingKey};
use crate::server::Server;

/// A builder for [`RedisTokenCache`].
#[derive(Clone)]
pub struct RedisTokenCacheBuilder {
    nodes: Vec<Url>,
    is_cluster: bool,
    user: Option<(String, Secret)>,
    root_certificates: Option<PathBuf>,
    allows_plain_connections: bool,
    namespace: String,
    sealing_keys: Vec<SealingKey>,
    is_unsealed: bool,
    total_timeout: Duration,
    lease_time: Duration,
    lock_timeout: Duration,
    tombstone_lifetime: Duration,
    clock: Arc<dyn Clock>,
}

/// The maximum number of sequential commands per token: two reads, two attempts to acquire the lease, and the
/// publication.
const MAX_COMMANDS: u32 = 5;

/// The time that sent data may remain unacknowledged before the operating system closes the connection
/// (`TCP_USER_TIMEOUT`).
#[cfg(target_os = "linux")]
const ACKNOWLEDGMENT_TIMEOUT: Duration = Duration::from_secs(5);

impl RedisTokenCache {
    /// Returns a builder for a cache on one server. The URL is `redis://` or, with TLS, `rediss://`, with a host and
    /// optionally a port, a database number, a user and a password.
    pub fn builder(server: &Url) -> RedisTokenCacheBuilder {
        RedisTokenCacheBuilder::new(vec![server.clone()], false)
    }

    /// Returns a builder for a cache on a Redis Cluster. `nodes` are the URLs of at least one of its nodes; the cluster
    /// reports the others.
    pub fn cluster_builder<'a>(nodes: impl IntoIterator<Item = &'a Url>) -> RedisTokenCacheBuilder {
        RedisTokenCacheBuilder::new(nodes.into_iter().cloned().collect(), true)
    }
}

impl RedisTokenCacheBuilder {
    fn new(nodes: Vec<Url>, is_cluster: bool) -> Self {
        Self {
            nodes,
            is_cluster,
            user: None,
            root_certificates: None,
            allows_plain_connections: false,
            namespace: "auth-tokens".to_owned(),
            sealing_keys: Vec::new(),
            is_unsealed: false,
            total_timeout: Duration::from_secs(1),
            lease_time: Duration::from_secs(10),
            lock_timeout: Duration::from_secs(60),
            tombstone_lifetime: TOMBSTONE_LIFETIME,
            clock: Arc::new(SystemClock),
        }
    }

    /// Sets the Redis user (ACL) and the password, which replace the user and the password in the URL. The user needs
    /// access to the keys of the [namespace](Self::with_namespace) (`~NAMESPACE:*`) and to the commands listed in the
    /// crate documentation.
    pub fn with_user(mut self, user: impl Into<String>, password: Secret) -> Self {
        self.user = Some((user.into(), password));
        self
    }

    /// Trusts only the certificates in this PEM file instead of the certificates of the system.
    pub fn with_root_certificates(mut self, file: impl Into<PathBuf>) -> Self {
        self.root_certificates = Some(file.into());
        self
    }

    /// Allows connections without TLS to other machines. An eavesdropper can then read the password, and also the
    /// tokens if they are [not sealed](Self::without_sealing).
    pub fn with_plain_connections(mut self) -> Self {
        self.allows_plain_connections = true;
        self
    }

    /// Sets the prefix of all key names: 1 to 64 of `A-Z a-z 0-9 . _ - :` [default: `auth-tokens`].
    pub fn with_namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// Adds a sealing key. The first key seals tokens; all keys can open them.
    ///
    /// To rotate the key, first add the new key after the old key on all workers. Then swap the two keys on all
    /// workers. When all tokens sealed with the old key have expired, remove the old key.
    pub fn with_sealing_key(mut self, key: SealingKey) -> Self {
        self.sealing_keys.push(key);
        self
    }

    /// Stores tokens unencrypted. Anyone with access to Redis, its replicas or its dumps can use them.
    pub fn without_sealing(mut self) -> Self {
        self.is_unsealed = true;
        self
    }

    /// Sets the maximum total time that Redis can delay a request for a token [default: 1 s]. The limit does not
    /// include the time that a provider needs, in this process or another. Each command has a timeout of a fifth of
    /// this time. After the timeout of a command, the server is treated as unavailable.
    pub fn with_total_timeout(mut self, timeout: Duration) -> Self {
        self.total_timeout = timeout;
        self
    }

    /// Sets the time after which a lease expires unless its process renews it [default: 10 s; at least 30 ms]. A
    /// process renews its lease after every third of this time. If the process that obtains a token dies, the other
    /// processes wait for up to this time.
    pub fn with_lease_time(mut self, lease_time: Duration) -> Self {
        self.lease_time = lease_time.max(Duration::from_millis(30));
        self
    }

    /// Sets the maximum time to wait for another process that obtains a token [default: 60 s]. Without this limit, the
    /// wait could last as long as the [attempt timeout](auth_core::TokenSourceBuilder::with_attempt_timeout) of the
    /// other process, because it renews its lease until then.
    pub fn with_lock_timeout(mut self, timeout: Duration) -> Self {
        self.lock_timeout = timeout;
        self
    }

    /// Sets the lifetime of a tombstone, the record of a refused refresh token [default: 5 min]. A process that
    /// redeemed the refresh token may publish the new token late, but only while the tombstone exists. Therefore, the
    /// lifetime must be at least the maximum [attempt timeout](auth_core::TokenSourceBuilder::with_attempt_timeout) of
    /// all sources (2 min by default) plus one minute for a redemption in progress.
    pub fn with_tombstone_time(mut self, time: Duration) -> Self {
        self.tombstone_lifetime = time;
        self
    }

    /// Sets the clock [default: the system clock]. It determines if a stored token is valid, and the lifetime of its
    /// entry.
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Connects to the server and returns the cache. If the server does not respond within 5 s, the cache is returned
    /// without a connection. Its methods fail until it has connected in the background. A
    /// [`TokenSource`](auth_core::TokenSource) handles these failures.
    ///
    /// Requires a tokio runtime.
    ///
    /// # Errors
    ///
    /// The settings are invalid or contradictory, or the server [refused](BuildError::is_refused) the user or the
    /// password. A cluster that refuses them is reported as unavailable instead.
    pub async fn connect(self) -> Result<RedisTokenCache, BuildError> {
        let namespace = Namespace::new(&self.namespace)?;
        let sealing = self.sealing()?;
        let addresses = self.redacted_addresses()?;
        let server = self.server().map_err(|error| match error {
            ClientError::Settings(error) => error,
            ClientError::Redis(error) => BuildError::client_setup(&addresses, error),
        })?;
        let link = Link::open(server, addresses.clone(), self.total_timeout / MAX_COMMANDS).await;
        let link = link.map_err(|error| BuildError::refused(&addresses, error))?;
        let Self { lease_time, lock_timeout, tombstone_lifetime, clock, .. } = self;
        let settings = Settings { namespace, sealing, lease_time, lock_timeout, tombstone_lifetime, clock };
        Ok(RedisTokenCache::new(link, settings))
    }

    fn sealing(&self) -> Result<Sealing, BuildError> {
        match (self.sealing_keys.split_first(), self.is_unsealed) {
            (Some((first, others)), false) => Ok(Sealing::Keys(first.clone(), others.to_vec())),
            (None, true) => Ok(Sealing::Plain),
            (None, false) => Err(BuildError::no_sealing()),
            (Some(_), true) => Err(BuildError::contradictory_sealing()),
        }
    }

    /// Returns the addresses of all nodes, without passwords.
    fn redacted_addresses(&self) -> Result<String, BuildError> {
        let redacted: Vec<_> = self.nodes.iter().map(|node| auth_core::redacted(node).to_string()).collect();
        if redacted.is_empty() { Err(BuildError::no_nodes()) } else { Ok(redacted.join(", ")) }
    }

    fn server(&self) -> Result<Server, ClientError> {
        let nodes = self.nodes.iter().map(|url| self.connection_info(url)).collect::<Result<Vec<_>, _>>()?;
        let is_encrypted = self.nodes.iter().any(is_encrypted);
        if is_encrypted && CryptoProvider::get_default().is_none() {
            // The Redis library uses the default provider of the process. The installation fails only if another thread
            // has just installed a provider. That provider can be used as well.
            let _ = aws_lc_rs::default_provider().install_default();
        }
        let root_certificates = self.root_certificates.as_deref().map(read_root_certificates).transpose()?;
        if self.is_cluster {
            let builder = ClusterClient::builder(nodes).retries(2).tcp_settings(tcp_settings());
            let builder = root_certificates.into_iter().fold(builder, ClusterClientBuilder::certs);
            return Ok(Server::Cluster(Box::new(builder.build()?)));
        }
        let node = nodes.into_iter().next().ok_or_else(BuildError::no_nodes)?;
        let client = match root_certificates {
            Some(root_certificates) if is_encrypted => Client::build_with_tls(node, root_certificates)?,
            _ => Client::open(node)?,
        };
        Ok(Server::Single(Box::new(client)))
    }

    fn connection_info(&self, url: &Url) -> Result<ConnectionInfo, ClientError> {
        let is_redis_url = matches!(url.scheme(), "redis" | "rediss") && url.has_host();
        if !is_redis_url || url.query().is_some() || url.fragment().is_some() {
            return Err(BuildError::invalid_address(&auth_core::redacted(url)).into());
        }
        if !is_encrypted(url) && !self.allows_plain_connections && !is_loopback(url) {
            return Err(BuildError::unencrypted_connection(&auth_core::redacted(url)).into());
        }
        let node = url.clone().into_connection_info()?.set_tcp_settings(tcp_settings());
        Ok(match &self.user {
            Some((user, password)) => {
                let settings = node.redis_settings().clone().set_username(user).set_password(password.expose());
                node.set_redis_settings(settings)
            }
            None => node,
        })
    }
}

/// An error while a Redis client is created.
enum ClientError {
    Settings(BuildError),
    Redis(redis::RedisError),
}

impl From<BuildError> for ClientError {
    fn from(error: BuildError) -> Self {
        Self::Settings(error)
    }
}

impl From<redis::RedisError> for ClientError {
    fn from(error: redis::RedisError) -> Self {
        Self::Redis(error)
    }
}

/// Reads a PEM file and checks that it starts with a valid certificate.
fn read_root_certificates(file: &Path) -> Result<TlsCertificates, BuildError> {
    let read_error = |error| BuildError::unreadable_certificates(file, error);
    let pem = std::fs::read(file).map_err(read_error)?;
    let first_certificate = CertificateDer::pem_slice_iter(&pem).next();
    if !matches!(first_certificate, Some(Ok(_))) {
        return Err(read_error(io::ErrorKind::InvalidData.into()));
    }
    Ok(TlsCertificates { client_tls: None, root_cert: Some(pem) })
}

fn tcp_settings() -> TcpSettings {
    let settings = TcpSettings::default().set_nodelay(true);
    #[cfg(target_os = "linux")]
    let settings = settings.set_user_timeout(ACKNOWLEDGMENT_TIMEOUT);
    settings
}

fn is_encrypted(url: &Url) -> bool {
    url.scheme() == "rediss"
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        // URLs with a non-standard scheme keep the host as written.
        Some(Host::Domain(name)) => {
            name.eq_ignore_ascii_case("localhost")
                || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        }
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

impl std::fmt::Debug for RedisTokenCacheBuilder {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("RedisTokenCacheBuilder")
            .field("server", &self.redacted_addresses().unwrap_or_default())
            .field("namespace", &self.namespace)
            .field("sealing_keys", &self.sealing_keys)
            .finish_non_exhaustive()
    }
}
