//! V4-style signed URLs by HMAC-SHA256, as the XML API of Google Cloud Storage and S3 know them.
//!
//! Decisions, case by case:
//! - the path and the query are taken as they came over the wire, not decoded and encoded again;
//! - `host` must be signed, and any other signed header must be there;
//! - a URL is good from its date (some clocks are ahead: five minutes) until its expiry, which is
//!   one second to seven days after it;
//! - the signature is compared in constant time, and before the period is looked at.

use std::fmt::Write;
use std::time::{Duration, SystemTime};

use aws_lc_rs::{digest, hmac};
use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use url::Url;

use super::Refusal;
use crate::account::{BUCKET_REGION, Organization};
use crate::platform::Platform;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const AHEAD: Duration = Duration::from_secs(300);
const LONGEST: u64 = 7 * 24 * 60 * 60;
/// All but the unreserved characters of RFC 3986, section 2.3.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// The same for a path, whose `/` stay.
const RESERVED_IN_PATH: &AsciiSet = &RESERVED.remove(b'/');

/// What the query of a signed URL says.
struct Signed {
    credential: String,
    date: String,
    day: String,
    start: SystemTime,
    lifetime: String,
    headers: String,
    signature: Vec<u8>,
}

impl Signed {
    fn read(query: &str) -> Result<Self, Refusal> {
        let parameter =
            |name| parameter(query, name).ok_or_else(|| denied(format!("{name} is missing: the URL must be signed")));
        if parameter("X-Amz-Algorithm")? != ALGORITHM {
            return Err(denied("another algorithm than AWS4-HMAC-SHA256"));
        }
        let date = parameter("X-Amz-Date")?;
        let (start, day) = parse_date(&date).ok_or_else(|| denied("X-Amz-Date is no date"))?;
        Ok(Self {
            credential: parameter("X-Amz-Credential")?,
            date,
            day,
            start,
            lifetime: parameter("X-Amz-Expires")?,
            headers: parameter("X-Amz-SignedHeaders")?,
            signature: hex_decode(&parameter("X-Amz-Signature")?).unwrap_or_default(),
        })
    }
}

fn denied(message: impl Into<String>) -> Refusal {
    Refusal::new(StatusCode::FORBIDDEN, "AccessDenied", message)
}

/// Lets a request pass if its URL was signed with the key of the organisation that owns the bucket, and
/// is still good.
pub(super) fn verify(platform: &Platform, bucket: &str, request: &Request) -> Result<(), Refusal> {
    let query = request.uri().query().unwrap_or_default();
    let signed = Signed::read(query)?;
    let (key_id, scope) = signed.credential.split_once('/').unwrap_or_default();
    let owner = platform
        .accounts
        .owner_of_key(key_id)
        .ok_or_else(|| Refusal::new(StatusCode::FORBIDDEN, "InvalidAccessKeyId", "unknown access key id"))?;
    if scope != credential_scope(&signed.day) {
        return Err(denied("the credential scope does not fit the date, region and service"));
    }
    let canonical = canonical_request(request.method(), request.uri(), query, request.headers(), &signed.headers);
    let canonical = canonical.ok_or_else(|| denied("a signed header is missing, or `host` is not signed"))?;
    let text = string_to_sign(&signed.date, &signed.day, &canonical);
    let key = signing_key(&owner.key.secret_access_key, &signed.day);
    if hmac::verify(&key, text.as_bytes(), &signed.signature).is_err() {
        return Err(Refusal::new(
            StatusCode::FORBIDDEN,
            "SignatureDoesNotMatch",
            "the signature does not fit the request",
        ));
    }
    if owner.bucket != bucket {
        return Err(denied("the key is not one of this bucket"));
    }
    let lifetime = signed.lifetime.parse().ok().filter(|seconds| (1..=LONGEST).contains(seconds));
    let lifetime = lifetime.ok_or_else(|| denied("X-Amz-Expires must be 1 to 604800 seconds"))?;
    let now = platform.now();
    if now + AHEAD < signed.start || signed.start + Duration::from_secs(lifetime) <= now {
        return Err(Refusal::new(StatusCode::FORBIDDEN, "ExpiredToken", "the URL has expired or is not valid yet"));
    }
    Ok(())
}

/// A URL that fetches an object of an organisation until `lifetime` is over.
pub(crate) fn presign(platform: &Platform, owner: &Organization, key: &str, lifetime: Duration) -> Url {
    let bucket = &owner.bucket;
    let mut url = platform.storage.clone();
    url.set_path(&format!("{bucket}/{}", utf8_percent_encode(key, RESERVED_IN_PATH)));
    let now = platform.timestamp();
    let (date, day) = (now.strftime("%Y%m%dT%H%M%SZ").to_string(), now.strftime("%Y%m%d").to_string());
    let credential = format!("{}/{}", owner.key.access_key_id, credential_scope(&day));
    let query = format!(
        "X-Amz-Algorithm={ALGORITHM}&X-Amz-Credential={}&X-Amz-Date={date}&X-Amz-Expires={}&X-Amz-SignedHeaders=host",
        utf8_percent_encode(&credential, RESERVED),
        lifetime.as_secs(),
    );
    let authority = &url[url::Position::BeforeHost..url::Position::AfterPort];
    let canonical = format!("GET\n{}\n{query}\nhost:{authority}\n\nhost\nUNSIGNED-PAYLOAD", url.path());
    let key = signing_key(&owner.key.secret_access_key, &day);
    let signature = hmac::sign(&key, string_to_sign(&date, &day, &canonical).as_bytes());
    url.set_query(Some(&format!("{query}&X-Amz-Signature={}", hex(signature.as_ref()))));
    url
}

fn credential_scope(day: &str) -> String {
    format!("{day}/{BUCKET_REGION}/s3/aws4_request")
}

fn string_to_sign(date: &str, day: &str, canonical: &str) -> String {
    let digest = digest::digest(&digest::SHA256, canonical.as_bytes());
    format!("{ALGORITHM}\n{date}\n{}\n{}", credential_scope(day), hex(digest.as_ref()))
}

fn signing_key(secret: &str, day: &str) -> hmac::Key {
    let start = hmac::Key::new(hmac::HMAC_SHA256, format!("AWS4{secret}").as_bytes());
    [day, BUCKET_REGION, "s3", "aws4_request"]
        .iter()
        .fold(start, |key, part| hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, part.as_bytes()).as_ref()))
}

fn canonical_request(method: &Method, uri: &Uri, query: &str, headers: &HeaderMap, signed: &str) -> Option<String> {
    let mut parameters: Vec<&str> = query.split('&').filter(|pair| !pair.starts_with("X-Amz-Signature=")).collect();
    parameters.sort_unstable();
    let mut canonical = format!("{method}\n{}\n{}\n", uri.path(), parameters.join("&"));
    let names: Vec<&str> = signed.split(';').collect();
    if !names.contains(&header::HOST.as_str()) {
        return None;
    }
    for name in names {
        let values: Option<Vec<_>> =
            headers.get_all(name).iter().map(|value| value.to_str().ok().map(str::trim)).collect();
        let values = values.filter(|values| !values.is_empty())?;
        writeln!(canonical, "{name}:{}", values.join(",")).ok()?;
    }
    Some(format!("{canonical}\n{signed}\nUNSIGNED-PAYLOAD"))
}

fn parameter(query: &str, name: &str) -> Option<String> {
    let value = query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name)?.1;
    Some(percent_decode_str(value).decode_utf8().ok()?.into_owned())
}

/// `20260301T120000Z` as a moment, and its day.
fn parse_date(text: &str) -> Option<(SystemTime, String)> {
    let moment = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", text).ok()?;
    let moment = moment.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some((moment.timestamp().into(), moment.strftime("%Y%m%d").to_string()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        text += &format!("{byte:02x}");
        text
    })
}

fn hex_decode(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    digits
        .filter(|digits| digits.len() % 2 == 0)
        .map(|digits| digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}
