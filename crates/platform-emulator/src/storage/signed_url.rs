//! Creates signed URLs for results and documents, and reads the expiry of signed URLs.

use std::time::{Duration, SystemTime};

use aws_lc_rs::hmac;
use percent_encoding::utf8_percent_encode;
use url::Url;

use super::signature::{
    AWS4, RESERVED, RESERVED_IN_PATH, SCHEMES, UNSIGNED_PAYLOAD, parameter, parse_date, signing_key,
};
use crate::account::BUCKET_REGION;
use crate::platform::Platform;

/// Returns a signed URL for a result or a document, valid for `lifetime`. `parameters` are added to the query and
/// signed.
pub(crate) fn presign(platform: &Platform, key: &str, lifetime: Duration, parameters: &[(&str, &str)]) -> Url {
    let owner = platform.accounts.files_owner();
    let mut url = platform.storage.clone();
    url.set_path(&format!("{}/{}", owner.bucket, utf8_percent_encode(key, RESERVED_IN_PATH)));
    let now = platform.timestamp();
    let (date, day) = (now.strftime("%Y%m%dT%H%M%SZ").to_string(), now.strftime("%Y%m%d").to_string());
    let scope = format!("{day}/{BUCKET_REGION}/{}", AWS4.scope);
    let credential = format!("{}/{scope}", owner.key.access_key_id);
    let (lifetime_seconds, encode) =
        (lifetime.as_secs().to_string(), |text| utf8_percent_encode(text, RESERVED).to_string());
    let signature_parameters = [
        ("X-Amz-Algorithm", AWS4.algorithm),
        ("X-Amz-Credential", &credential),
        ("X-Amz-Date", &date),
        ("X-Amz-Expires", &lifetime_seconds),
        ("X-Amz-SignedHeaders", "host"),
    ];
    let mut query: Vec<_> = signature_parameters
        .iter()
        .chain(parameters)
        .map(|(name, value)| format!("{name}={}", encode(value)))
        .collect();
    query.sort_unstable();
    let query = query.join("&");
    let authority = &url[url::Position::BeforeHost..url::Position::AfterPort];
    let canonical = format!("GET\n{}\n{query}\nhost:{authority}\n\nhost\n{UNSIGNED_PAYLOAD}", url.path());
    let key = signing_key("AWS4", &owner.key.secret_access_key, &day, BUCKET_REGION, AWS4.scope);
    let signature = hmac::sign(&key, AWS4.string_to_sign(&date, &scope, &canonical).as_bytes());
    url.set_query(Some(&format!("{query}&X-Amz-Signature={}", hex::encode(signature.as_ref()))));
    url
}

/// Returns the expiry of a signed URL of any storage, or `None` if the URL does not contain an expiry.
pub(crate) fn url_expiry(url: &str) -> Option<SystemTime> {
    let (_, query) = url.split_once('?')?;
    SCHEMES.iter().find_map(|scheme| {
        let parameter = |name| parameter(query, &format!("{}{name}", scheme.parameters));
        let (date, _) = parse_date(&parameter("Date")?)?;
        date.checked_add(Duration::from_secs(parameter("Expires")?.parse().ok()?))
    })
}
