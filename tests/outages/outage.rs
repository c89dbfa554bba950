//! Parts of the platform, and their failures.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use auth_http::Resolver;
use platform_emulator::{Control, Effect, Fault, Server};

/// A part of the platform that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Api,
    Storage,
    Identity,
}

impl Part {
    fn server(self) -> Server {
        match self {
            Self::Api => Server::Api,
            Self::Storage => Server::Storage,
            Self::Identity => Server::Identity,
        }
    }
}

impl fmt::Display for Part {
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
pub(crate) enum Kind {
    /// The part responds with 503.
    Unavailable,
    /// The part resets connections.
    Reset,
    /// The part sends the head of a response and nothing more.
    Stall,
    /// The connections of the part end, and its name cannot be resolved.
    NoName,
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Unavailable => "503",
            Self::Reset => "reset",
            Self::Stall => "stall",
            Self::NoName => "DNS",
        })
    }
}

/// Resolves the name of this machine, unless it fails.
#[derive(Debug, Default)]
pub(crate) struct Names(AtomicBool);

#[async_trait]
impl Resolver for Names {
    async fn resolve(&self, _host: &str) -> io::Result<Vec<IpAddr>> {
        if self.0.load(Ordering::SeqCst) {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "temporary failure in name resolution"));
        }
        Ok(vec![Ipv4Addr::LOCALHOST.into()])
    }
}

/// Begins an outage.
pub(crate) async fn begin(part: Part, kind: Kind, control: &Control, names: &Names) {
    let fault = |effect| Fault::new(effect).on(part.server());
    let fault = match kind {
        Kind::Unavailable => fault(Effect::Status { status: 503, body: None }),
        Kind::Stall => fault(Effect::Stall { after_bytes: 0 }),
        // Open connections need no DNS, so they are closed.
        Kind::Reset | Kind::NoName => fault(Effect::Reset { after_bytes: 0 }),
    };
    names.0.store(kind == Kind::NoName, Ordering::SeqCst);
    control.inject(&fault).await.unwrap();
}

/// Ends an outage.
pub(crate) async fn end(control: &Control, names: &Names) {
    control.clear_faults().await.unwrap();
    names.0.store(false, Ordering::SeqCst);
}
