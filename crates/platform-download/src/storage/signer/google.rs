//! URLs signed by a service account: the V4 signing process of Google Cloud Storage, with `GOOG4-RSA-SHA256`.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use jiff::Timestamp;
use percent_encoding::utf8_percent_encode;
use url::{Position, Url};

use super::{RESERVED, ServiceAccountKey, SignError, UnsignedRequest};

const ALGORITHM: &str = "GOOG4-RSA-SHA256";
const PAYLOAD: &str = "UNSIGNED-PAYLOAD";

/// Returns the URL with a signature in its query.
pub(super) fn sign(
    key: &ServiceAccountKey,
    mut url: Url,
    request: &UnsignedRequest<'_>,
    now: Timestamp,
    lifetime: Duration,
) -> Result<Url, SignError> {
    let date = now.strftime("%Y%m%dT%H%M%SZ").to_string();
    let scope = format!("{}/auto/storage/goog4_request", now.strftime("%Y%m%d"));
    let authority = url[Position::BeforeHost..Position::AfterPort].to_owned();
    let mut headers = [&[("host", authority.as_str())], request.headers].concat();
    headers.sort_unstable();
    let signed_headers = headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
    let credential = format!("{}/{scope}", key.client_email());
    let lifetime = lifetime.as_secs().to_string();
    let parameters = [
        ("X-Goog-Algorithm", ALGORITHM),
        ("X-Goog-Credential", &credential),
        ("X-Goog-Date", &date),
        ("X-Goog-Expires", &lifetime),
        ("X-Goog-SignedHeaders", &signed_headers),
    ];
    let query = query(parameters.into_iter().chain(request.query.iter().copied()));
    let mut canonical_request = format!("{}\n{}\n{query}\n", request.method, url.path());
    for (name, value) in &headers {
        canonical_request += &format!("{name}:{}\n", value.split_whitespace().collect::<Vec<_>>().join(" "));
    }
    canonical_request += &format!("\n{signed_headers}\n{PAYLOAD}");
    let digest = hex::encode(digest(&SHA256, canonical_request.as_bytes()).as_ref());
    let signature = key.sign(&format!("{ALGORITHM}\n{date}\n{scope}\n{digest}"))?;
    url.set_query(Some(&format!("{query}&X-Goog-Signature={}", hex::encode(signature))));
    Ok(url)
}

/// Returns the percent-encoded query in canonical order.
fn query<'a>(parameters: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let encode = |text| utf8_percent_encode(text, RESERVED).to_string();
    let mut encoded_pairs: Vec<_> = parameters.map(|(name, value)| (encode(name), encode(value))).collect();
    encoded_pairs.sort_unstable();
    encoded_pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}
