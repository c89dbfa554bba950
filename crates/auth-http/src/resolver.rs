use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;

/// A DNS resolver that replaces the system's resolver, for example in tests of DNS failures.
#[async_trait]
pub trait Resolver: fmt::Debug + Send + Sync {
    /// Returns the addresses of `host`.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`] if the host does not exist. All other errors are treated as transient.
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>>;
}

const _: Option<&dyn Resolver> = None;

/// An adapter to the resolver trait of `reqwest`.
pub(crate) struct ReqwestResolver(pub(crate) Arc<dyn Resolver>);

impl reqwest::dns::Resolve for ReqwestResolver {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let resolver = self.0.clone();
        Box::pin(async move {
            let addresses = resolver.resolve(name.as_str()).await?;
            // `reqwest` replaces port 0 by the port of the URL.
            let addresses = addresses.into_iter().map(|address| SocketAddr::new(address, 0));
            Ok(Box::new(addresses) as reqwest::dns::Addrs)
        })
    }
}
