//! Parts of the platform, and their failures.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use auth_http::Resolver;
use platform_emulator::{Control, Effect, Fault, Server};

/// A part of the platform that can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PlatformPart {
    Api,
    Storage,
    Identity,
}

impl PlatformPart {
    fn server(self) -> Server {
        match self {
            Self::Api => Server::Api,
            Self::Storage => Server::Storage,
            Self::Identity => Server::Identity,
        }
    }
}

impl fmt::Display for PlatformPart {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Api => "API",
            Self::Storage => "storage",
            Self::Identity => "identity provider",
        })
    }
}

/// A way to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OutageKind {
    /// The part responds with 503.
    Unavailable,
    /// The part resets connections.
    Reset,
    /// The part sends the head of a response and nothing more.
    Stall,
    /// The connections of the part end, and its name cannot be resolved.
    NoName,
}

impl fmt::Display for OutageKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Unavailable => "503",
            Self::Reset => "reset",
            Self::Stall => "stall",
            Self::NoName => "DNS",
        })
    }
}

/// A resolver for the name of this machine, which can be made to fail. The flag is true during the failure.
#[derive(Debug, Default)]
pub(crate) struct FailingResolver(AtomicBool);

#[async_trait]
impl Resolver for FailingResolver {
    async fn resolve(&self, _host: &str) -> io::Result<Vec<IpAddr>> {
        if self.0.load(Ordering::SeqCst) {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "temporary failure in name resolution"));
        }
        Ok(vec![Ipv4Addr::LOCALHOST.into()])
    }
}

/// Begins an outage.
pub(crate) async fn begin(part: PlatformPart, kind: OutageKind, control: &Control, resolver: &FailingResolver) {
    let fault = |effect| Fault::new(effect).on(part.server());
    let fault = match kind {
        OutageKind::Unavailable => fault(Effect::Status { status: 503, body: None }),
        OutageKind::Stall => fault(Effect::Stall { after_bytes: 0 }),
        // Open connections need no DNS, so they are closed.
        OutageKind::Reset | OutageKind::NoName => fault(Effect::Reset { after_bytes: 0 }),
    };
    resolver.0.store(kind == OutageKind::NoName, Ordering::SeqCst);
    control.inject(&fault).await.unwrap();
}

/// Ends an outage.
pub(crate) async fn end(control: &Control, resolver: &FailingResolver) {
    control.clear_faults().await.unwrap();
    resolver.0.store(false, Ordering::SeqCst);
}
