use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;

use auth_core::SystemClock;
use auth_http::HttpClient;
use axum::Router;
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::Response;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::watch;
use url::Url;

use crate::account::Organization;
use crate::identity::{Devices, SigningKey};
use crate::platform::Platform;
use crate::run::Runs;
use crate::storage::Objects;
use crate::{api, identity, storage};

/// A running platform. It ends when this is dropped: requests that are being answered get their answer,
/// runs stop, and the data are deleted.
#[derive(Debug)]
pub struct Emulator {
    platform: Arc<Platform>,
    /// The servers end when this is dropped.
    _running: watch::Sender<()>,
}

impl Emulator {
    /// Starts a platform on free ports of 127.0.0.1.
    ///
    /// # Errors
    ///
    /// No port is free, or there is no room for temporary files.
    pub async fn start() -> io::Result<Self> {
        let (identity, issuer) = listen().await?;
        let (api, api_root) = listen().await?;
        let (storage, storage_root) = listen().await?;
        let platform = Arc::new(Platform {
            issuer,
            api_root,
            storage: storage_root,
            clock: Arc::new(SystemClock),
            http: HttpClient::builder()
                .with_plain_loopback()
                .without_decompression()
                .build()
                .map_err(io::Error::other)?,
            signing_key: SigningKey::generate().map_err(io::Error::other)?,
            organization: Organization::new(),
            devices: Devices::default(),
            objects: Objects::in_temporary_folder()?,
            runs: Runs::default(),
            work: Mutex::default(),
        });
        let (running, ended) = watch::channel(());
        for (listener, name, router) in [
            (identity, "identity", identity::router(platform.clone())),
            (api, "api", api::router(platform.clone())),
            (storage, "storage", storage::router(platform.clone())),
        ] {
            let mut ended = ended.clone();
            let server = axum::serve(listener, logged(name, router)).with_graceful_shutdown(async move {
                // An error says that the sender is gone, which is what is waited for.
                let _ = ended.changed().await;
            });
            tokio::spawn(server.into_future());
        }
        Ok(Self { platform, _running: running })
    }

    /// The issuer of the tokens, as their `iss` claim spells it.
    pub fn issuer(&self) -> &Url {
        &self.platform.issuer
    }

    /// The root of the API.
    pub fn api_root(&self) -> &Url {
        &self.platform.api_root
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

async fn listen() -> io::Result<(TcpListener, Url)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let url = format!("http://{}/", listener.local_addr()?);
    Ok((listener, url.parse().map_err(io::Error::other)?))
}

/// Logs each request of a server: never its query, where signatures travel.
fn logged(server: &'static str, router: Router) -> Router {
    router.layer(middleware::from_fn(move |request: Request, next: Next| async move {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let response: Response = next.run(request).await;
        tracing::debug!(server, %method, path, status = response.status().as_u16(), "served");
        response
    }))
}
