use std::fmt;

use url::{Host, Url};

use crate::TokenError;

/// Scheme, host and port: the place that a credential is meant for.
///
/// ```
/// use auth_core::Authority;
///
/// let url = "https://platform.example/api".parse().unwrap();
/// assert_eq!(Authority::of(&url).to_string(), "https://platform.example:443");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    scheme: String,
    host: Option<Host<String>>,
    port: Option<u16>,
}

impl Authority {
    /// The authority of a URL, its default port filled in.
    pub fn of(url: &Url) -> Self {
        Self {
            scheme: url.scheme().to_owned(),
            host: url.host().map(|host| host.to_owned()),
            port: url.port_or_known_default(),
        }
    }

    /// Nobody on the way can read what is sent: https, or plain http that stays on this machine.
    pub fn is_confidential(&self, allow_plain_loopback: bool) -> bool {
        self.scheme == "https" || (self.scheme == "http" && allow_plain_loopback && self.is_loopback())
    }

    /// The host is this machine: `localhost`, `127.0.0.0/8` or `::1`.
    pub fn is_loopback(&self) -> bool {
        match &self.host {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        }
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:", self.scheme)?;
        if let Some(host) = &self.host {
            write!(formatter, "//{host}")?;
        }
        self.port.map_or(Ok(()), |port| write!(formatter, ":{port}"))
    }
}

/// Where a credential may be sent: to one authority, so that no redirect and no mistake carries it
/// elsewhere, and only where nobody on the way can read it.
#[derive(Clone, Debug)]
pub struct Destination {
    authority: Authority,
    plain_loopback: bool,
}

impl Destination {
    /// `authority`, and no other.
    pub fn new(authority: Authority) -> Self {
        Self { authority, plain_loopback: false }
    }

    /// Lets credentials go over plain http to this machine: for emulators and tests.
    pub fn with_plain_loopback(mut self) -> Self {
        self.plain_loopback = true;
        self
    }

    /// Whether a request to `url` may carry the credential. It is asked before one is obtained.
    ///
    /// # Errors
    ///
    /// [`TokenError::is_wrong_authority`] or [`TokenError::is_insecure`].
    pub fn admit(&self, url: &Url) -> Result<(), TokenError> {
        let requested = Authority::of(url);
        if requested != self.authority {
            return Err(TokenError::wrong_authority(&self.authority, &requested));
        }
        if !requested.is_confidential(self.plain_loopback) {
            return Err(TokenError::insecure(&requested));
        }
        Ok(())
    }
}
