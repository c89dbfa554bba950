use std::fmt;

use url::{Host, Url};

use crate::TokenError;

/// An authority: the scheme, host and port of a URL.
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
    /// Returns the authority of a URL, including its default port.
    pub fn of(url: &Url) -> Self {
        Self {
            scheme: url.scheme().to_owned(),
            host: url.host().map(|host| host.to_owned()),
            port: url.port_or_known_default(),
        }
    }

    /// Returns true if a connection is confidential: it uses https, or, with `allow_plain_loopback`, http to a loopback
    /// address.
    pub fn is_confidential(&self, allow_plain_loopback: bool) -> bool {
        self.scheme == "https" || (self.scheme == "http" && allow_plain_loopback && self.is_loopback())
    }

    /// Returns true if the host is `localhost`, an address in `127.0.0.0/8`, or `::1`.
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

/// The permitted destination of a credential: one authority, over a confidential connection. Checking it prevents a
/// redirect or a programming error from sending the credential to another server.
#[derive(Clone, Debug)]
pub struct Destination {
    authority: Authority,
    plain_loopback: bool,
}

impl Destination {
    /// Permits only `authority`.
    pub fn new(authority: Authority) -> Self {
        Self { authority, plain_loopback: false }
    }

    /// Also permits plain http to a loopback address, for emulators and tests.
    pub fn with_plain_loopback(mut self) -> Self {
        self.plain_loopback = true;
        self
    }

    /// Checks that a request to `url` may carry the credential. Call this before obtaining the credential.
    ///
    /// # Errors
    ///
    /// [`TokenError::is_wrong_authority`]: `url` has another authority. [`TokenError::is_insecure`]: the connection
    /// would not be [confidential](Authority::is_confidential).
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
