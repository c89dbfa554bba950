//! The metadata servers of cloud machines, which speak plain http on link-local addresses.

use url::{Host, Url};

/// The addresses: of AWS, Google and Azure machines, of ECS tasks, and of EKS pods.
const ADDRESSES: [&str; 5] = ["169.254.169.254", "169.254.170.2", "169.254.170.23", "fd00:ec2::254", "fd00:ec2::23"];
/// The host name of Google's metadata server.
const GOOGLE_HOST: &str = "metadata.google.internal";

/// Returns true if the URL is plain http to the default port of a metadata server.
pub(crate) fn is_server(url: &Url) -> bool {
    let is_address = |address: String| ADDRESSES.contains(&address.as_str());
    let is_known = match url.host() {
        Some(Host::Ipv4(address)) => is_address(address.to_string()),
        Some(Host::Ipv6(address)) => is_address(address.to_string()),
        Some(Host::Domain(name)) => name == GOOGLE_HOST,
        None => false,
    };
    is_known && url.scheme() == "http" && url.port().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_fixed_addresses_are_metadata_servers() {
        let is_server = |url: &str| is_server(&url.parse().unwrap());
        for url in [
            "http://169.254.169.254/latest/meta-data",
            "http://169.254.170.2/v2/credentials/1",
            "http://169.254.170.23/v1/credentials",
            "http://[fd00:ec2::254]/latest",
            "http://[FD00:EC2:0::23]/v1",
            "http://metadata.google.internal/computeMetadata/v1",
            // The same address in another form.
            "http://0xa9fea9fe/latest",
        ] {
            assert!(is_server(url), "{url}");
        }
        for url in [
            "https://169.254.169.254/",
            "http://169.254.169.254:8080/",
            "http://169.254.169.253/",
            "http://169.254.169.254.example/",
            "http://metadata.google.internal.example/",
            "http://metadata/",
            "http://127.0.0.1/",
            "http://storage.example/",
        ] {
            assert!(!is_server(url), "{url}");
        }
    }
}
