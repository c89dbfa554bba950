use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;

use crate::internal::{InternalHost, is_internal_address};

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
pub(crate) struct ReqwestResolver {
    /// The resolver of the system, if `None`.
    pub(crate) resolver: Option<Arc<dyn Resolver>>,
    /// True if internal addresses are removed. The client connects only to the remaining addresses, so a name cannot
    /// resolve to other addresses between a check and the connection (DNS rebinding).
    pub(crate) is_public: bool,
}

impl reqwest::dns::Resolve for ReqwestResolver {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let (resolver, is_public) = (self.resolver.clone(), self.is_public);
        Box::pin(async move {
            let host = name.as_str();
            let mut addresses = match &resolver {
                Some(resolver) => resolver.resolve(host).await?,
                None => tokio::net::lookup_host((host, 0)).await?.map(|address| address.ip()).collect(),
            };
            if is_public && !addresses.is_empty() {
                addresses.retain(|address| !is_internal_address(*address));
                if addresses.is_empty() {
                    return Err(InternalHost(host.to_owned()).into());
                }
            }
            // `reqwest` replaces port 0 by the port of the URL.
            let addresses = addresses.into_iter().map(|address| SocketAddr::new(address, 0));
            Ok(Box::new(addresses) as reqwest::dns::Addrs)
        })
    }
}
