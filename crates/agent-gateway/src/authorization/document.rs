//! Documents of servers that are not trusted yet. Each is small, JSON, and at a permitted address; a redirect is an error.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use auth_core::Authority;
use auth_http::{HttpClient, Method, Request, Response};
use serde_json::Value;
use url::{Host, Url};

use super::error::AuthorizationError;
use super::members::Members;

/// The maximum size of a document, in bytes. Real ones have a few kilobytes.
const MAX_DOCUMENT_BYTES: usize = 256 * 1024;
/// The time limit of a request for a document.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The connections to the servers that the metadata of one MCP server names.
#[derive(Clone, Debug)]
pub(super) struct Documents {
    http: HttpClient,
    plain_loopback: bool,
    /// True if the MCP server itself is at an internal address.
    is_internal: bool,
}

impl Documents {
    pub(super) fn new(http: HttpClient, plain_loopback: bool, server: &Url) -> Self {
        Self { http, plain_loopback, is_internal: is_internal(server) }
    }

    /// Checks that something may be sent to `url`, which is `what` of the server.
    pub(super) fn admit(&self, what: &'static str, url: &Url) -> Result<(), AuthorizationError> {
        let has_user = !url.username().is_empty() || url.password().is_some();
        if has_user || !Authority::of(url).is_confidential(self.plain_loopback) {
            return Err(AuthorizationError::insecure(what, url));
        }
        if !self.is_internal && is_internal(url) {
            return Err(AuthorizationError::internal(what, url));
        }
        Ok(())
    }

    /// Fetches a document.
    pub(super) async fn get(&self, what: &'static str, url: &Url) -> Result<Members, AuthorizationError> {
        self.admit(what, url)?;
        let request = Request::get(url.clone()).with_header("accept", "application/json").with_timeout(TIMEOUT);
        let response = self.http.send(request).await.map_err(|error| AuthorizationError::fetch(url, error))?;
        match response.status() {
            200 => json(url, response).await,
            status => Err(AuthorizationError::status(url, status)),
        }
    }

    /// Posts a document. Returns the status and the document of the response.
    pub(super) async fn post(
        &self,
        what: &'static str,
        url: &Url,
        body: &Value,
    ) -> Result<(u16, Members), AuthorizationError> {
        self.admit(what, url)?;
        let request = Request::new(Method::Post, url.clone()).with_header("accept", "application/json");
        let request = request.with_body("application/json", body.to_string()).with_timeout(TIMEOUT);
        let response = self.http.send(request).await.map_err(|error| AuthorizationError::fetch(url, error))?;
        let status = response.status();
        match json(url, response).await {
            Err(_) if status >= 300 => Err(AuthorizationError::status(url, status)),
            document => Ok((status, document?)),
        }
    }
}

/// Returns the members of the object in a response.
async fn json(url: &Url, response: Response) -> Result<Members, AuthorizationError> {
    let stated = response.header("content-type").unwrap_or_default().to_owned();
    let essence = stated.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if essence != "application/json" && !essence.ends_with("+json") {
        return Err(AuthorizationError::other_type(url, &essence));
    }
    let body = response.bytes(MAX_DOCUMENT_BYTES).await.map_err(|error| AuthorizationError::fetch(url, error))?;
    // The parser limits the depth to 128.
    match serde_json::from_slice(&body) {
        Ok(Value::Object(members)) => Ok(Members::new(url, members)),
        Ok(_) => Err(AuthorizationError::document(url, "it is not a JSON object")),
        Err(error) => {
            let place = format!("it is not JSON: line {}, column {}", error.line(), error.column());
            Err(AuthorizationError::document(url, place))
        }
    }
}

/// Returns true if the host is `localhost`, or a loopback, private, link-local or unspecified address. Names that resolve
/// to such an address are not recognized.
pub(super) fn is_internal(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            name == "localhost" || name.ends_with(".localhost")
        }
        Some(Host::Ipv4(address)) => is_internal_v4(address),
        Some(Host::Ipv6(address)) => is_internal_v6(address),
        None => false,
    }
}

fn is_internal_v4(address: Ipv4Addr) -> bool {
    // 100.64.0.0/10 is shared address space (RFC 6598).
    let [first, second, ..] = address.octets();
    let is_shared = first == 100 && (64..128).contains(&second);
    address.is_loopback() || address.is_private() || address.is_link_local() || first == 0 || is_shared
}

fn is_internal_v6(address: Ipv6Addr) -> bool {
    if embedded(address).is_some_and(is_internal_v4) {
        return true;
    }
    // 64:ff9b:1::/48 is for translation within a network (RFC 8215), and fec0::/10 was for sites (RFC 3879).
    let [first, second, third, ..] = address.segments();
    let is_translated = (first, second, third) == (0x64, 0xff9b, 1);
    let is_local = address.is_unique_local() || address.is_unicast_link_local() || first & 0xffc0 == 0xfec0;
    address.is_loopback() || address.is_unspecified() || is_local || is_translated
}

/// Returns the IPv4 address that packets to an IPv6 address may be delivered to: IPv4-mapped and IPv4-compatible (RFC 4291,
/// section 2.5.5), NAT64 (RFC 6052, section 2.1) and 6to4 (RFC 3056, section 2) addresses.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    match address.segments() {
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            Some(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn internal_addresses_are_recognized_in_every_form() {
        let is_internal = |host: &str| is_internal(&format!("https://{host}/").parse().unwrap());
        for host in [
            "localhost",
            "LOCALHOST.",
            "a.localhost",
            "127.0.0.1",
            "127.1",
            "0x7f000001",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "[::1]",
            "[::]",
            "[fe80::1]",
            "[fd00::1]",
            "[::ffff:10.0.0.1]",
            "[::10.0.0.1]",
            "[64:ff9b::10.0.0.1]",
            "[64:ff9b::7f00:1]",
            "[64:ff9b:1::8.8.8.8]",
            "[2002:a9fe:a9fe::1]",
            "[fec0::1]",
        ] {
            assert!(is_internal(host), "{host}");
        }
        for host in [
            "example.com",
            "localhost.example",
            "8.8.8.8",
            "172.32.0.1",
            "100.128.0.1",
            "[2001:db8::1]",
            "[::ffff:8.8.8.8]",
            "[64:ff9b::8.8.8.8]",
            "[2002:808:808::1]",
        ] {
            assert!(!is_internal(host), "{host}");
        }
    }

    #[test]
    fn only_https_and_permitted_loopback_are_admitted() {
        let documents = |plain, server: &str| {
            let http = HttpClient::builder().with_plain_loopback().build().unwrap();
            Documents::new(http, plain, &server.parse().unwrap())
        };
        let admitted = |documents: &Documents, url: &str| documents.admit("it", &url.parse().unwrap()).is_ok();
        let public = documents(false, "https://mcp.test/");
        assert!(admitted(&public, "https://issuer.test/a"));
        for url in ["http://issuer.test/", "http://127.0.0.1/", "https://127.0.0.1/", "https://u:p@issuer.test/"] {
            assert!(!admitted(&public, url), "{url}");
        }
        assert!(!admitted(&documents(true, "https://mcp.test/"), "http://127.0.0.1/"), "not for a public server");
        assert!(admitted(&documents(true, "http://127.0.0.1:1/"), "http://localhost:2/"));
        assert!(!admitted(&documents(false, "https://10.0.0.1/"), "http://10.0.0.1/"));
        assert!(admitted(&documents(false, "https://10.0.0.1/"), "https://10.0.0.2/"));
    }
}
