//! V4 signatures of the XML API of Google Cloud Storage and of S3: in the query of a URL or in a request header, with
//! an HMAC key or the key of a service account.
//!
//! Decisions:
//! - The path and the query are used as received, not decoded and encoded again.
//! - `host` must be signed, and all other signed headers must be present.
//! - A URL is valid from its date (minus five minutes of clock skew) until its expiry, one second to seven days later.
//!   A signed request is valid for fifteen minutes around its date.
//! - The signature is compared in constant time, before the validity period is checked.
//! - A body must match its signed digest, or be unsigned. An unsigned body can be in chunks. Chunks with signatures are
//!   rejected.

use std::fmt::Write;
use std::time::{Duration, SystemTime};

use aws_lc_rs::{digest, hmac};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str};

use super::{StorageError, legacy, self_signed};
use crate::account::Organization;
use crate::platform::Platform;

/// The maximum clock skew of a client.
pub(super) const MAX_CLOCK_SKEW: Duration = Duration::from_secs(300);
/// The maximum difference between the current time and the date of a request that is signed in its header.
const MAX_DATE_DIFFERENCE: Duration = Duration::from_secs(15 * 60);
const MAX_LIFETIME_SECONDS: u64 = 7 * 24 * 60 * 60;
pub(super) const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";
const UNSIGNED_CHUNKS: &str = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";
/// All characters except the unreserved characters (RFC 3986, section 2.3).
pub(super) const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// The characters to encode in a path: [`RESERVED`] without `/`.
pub(super) const RESERVED_IN_PATH: &AsciiSet = &RESERVED.remove(b'/');

/// A signature scheme, with the texts in which schemes differ.
pub(super) struct Scheme {
    pub(super) algorithm: &'static str,
    /// The prefix of the query parameters and form fields.
    pub(super) parameters: &'static str,
    header_prefix: &'static str,
    /// The last two parts of the credential scope.
    pub(super) scope: &'static str,
    key: KeyKind,
}

enum KeyKind {
    /// A key that is derived from the secret of the bucket with this prefix.
    Hmac(&'static str),
    ServiceAccount,
}

pub(super) const AWS4: Scheme = Scheme {
    algorithm: "AWS4-HMAC-SHA256",
    parameters: "X-Amz-",
    header_prefix: "x-amz-",
    scope: "s3/aws4_request",
    key: KeyKind::Hmac("AWS4"),
};
const GOOG4: Scheme = Scheme {
    algorithm: "GOOG4-HMAC-SHA256",
    parameters: "X-Goog-",
    header_prefix: "x-goog-",
    scope: "storage/goog4_request",
    key: KeyKind::Hmac("GOOG4"),
};
const GOOG4_RSA: Scheme = Scheme { algorithm: "GOOG4-RSA-SHA256", key: KeyKind::ServiceAccount, ..GOOG4 };
pub(super) const SCHEMES: [Scheme; 3] = [AWS4, GOOG4, GOOG4_RSA];

/// The signature parameters of a request.
struct SignatureParameters {
    scheme: &'static Scheme,
    /// The signer and the scope of the signature: `key/day/region/service/request`.
    credential: String,
    /// The date as received.
    date: String,
    headers: String,
    signature: Vec<u8>,
    /// The lifetime of a URL, in seconds.
    lifetime: Option<String>,
    payload: String,
}

/// A request with a valid signature.
pub(super) struct VerifiedRequest {
    /// The bucket of the organization whose key signed the request.
    pub(super) bucket: String,
    body: SignedBody,
}

/// The statement of a signature about the request body.
enum SignedBody {
    /// The body has this SHA-256.
    Digest(Vec<u8>),
    Unsigned,
    /// The body is unsigned and consists of chunks that are followed by a checksum.
    Chunks,
}

impl VerifiedRequest {
    /// Returns true if the body consists of chunks with a checksum after them.
    pub(super) fn is_chunked(&self) -> bool {
        matches!(self.body, SignedBody::Chunks)
    }

    /// Returns the digest context for the body, if its digest is signed.
    pub(super) fn digest(&self) -> Option<digest::Context> {
        matches!(self.body, SignedBody::Digest(_)).then(|| digest::Context::new(&digest::SHA256))
    }

    /// Rejects a body that does not match the signed digest.
    pub(super) fn check(&self, body: Option<&digest::Digest>) -> Result<(), StorageError> {
        let signed = if let SignedBody::Digest(digest) = &self.body { Some(digest.as_slice()) } else { None };
        if signed == body.map(AsRef::as_ref) {
            return Ok(());
        }
        Err(StorageError::new(
            StatusCode::BAD_REQUEST,
            "XAmzContentSHA256Mismatch",
            "the body does not match the signed digest",
        ))
    }
}

impl SignatureParameters {
    fn from_request(request: &Request) -> Result<Self, StorageError> {
        match request.headers().get(header::AUTHORIZATION) {
            Some(value) => Self::from_header(value.to_str().unwrap_or_default(), request.headers()),
            None => Self::from_query(request.uri().query().unwrap_or_default(), request.headers()),
        }
    }

    fn from_query(query: &str, headers: &HeaderMap) -> Result<Self, StorageError> {
        let named_scheme = SCHEMES
            .iter()
            .find_map(|scheme| Some(Scheme::find(&parameter(query, &format!("{}Algorithm", scheme.parameters))?)));
        let scheme = named_scheme.ok_or_else(|| StorageError::denied("the request must be signed"))?;
        let scheme = scheme.ok_or_else(|| StorageError::denied("the algorithm of the signature is not known"))?;
        let parameter = |name: &str| {
            let name = format!("{}{name}", scheme.parameters);
            parameter(query, &name).ok_or_else(|| StorageError::denied(format!("{name} is missing")))
        };
        Ok(Self {
            scheme,
            credential: parameter("Credential")?,
            date: parameter("Date")?,
            headers: parameter("SignedHeaders")?,
            signature: hex::decode(parameter("Signature")?).unwrap_or_default(),
            lifetime: Some(parameter("Expires")?),
            payload: scheme.header(headers, "content-sha256").unwrap_or(UNSIGNED_PAYLOAD).to_owned(),
        })
    }

    fn from_header(value: &str, headers: &HeaderMap) -> Result<Self, StorageError> {
        let (algorithm, fields) = value.split_once(' ').unwrap_or_default();
        let scheme = Scheme::find(algorithm)
            .ok_or_else(|| StorageError::denied("the algorithm of the signature is not known"))?;
        let field = |name: &str| {
            let mut fields = fields.split(',').filter_map(|field| field.trim().split_once('='));
            let value = fields.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned());
            value.ok_or_else(|| StorageError::denied(format!("{name} is missing in the Authorization header")))
        };
        let missing = |name| StorageError::denied(format!("the header {}{name} is missing", scheme.header_prefix));
        Ok(Self {
            scheme,
            credential: field("Credential")?,
            date: scheme.header(headers, "date").ok_or_else(|| missing("date"))?.to_owned(),
            headers: field("SignedHeaders")?,
            signature: hex::decode(field("Signature")?).unwrap_or_default(),
            lifetime: None,
            payload: scheme.header(headers, "content-sha256").ok_or_else(|| missing("content-sha256"))?.to_owned(),
        })
    }

    /// Checks the validity period of the request.
    fn check_period(&self, start: SystemTime, now: SystemTime) -> Result<(), StorageError> {
        let Some(lifetime) = &self.lifetime else {
            let is_current = start <= now + MAX_DATE_DIFFERENCE && now <= start + MAX_DATE_DIFFERENCE;
            let skewed = || StorageError::new(StatusCode::FORBIDDEN, "RequestTimeTooSkewed", "the date is not current");
            return if is_current { Ok(()) } else { Err(skewed()) };
        };
        let lifetime = lifetime.parse().ok().filter(|seconds| (1..=MAX_LIFETIME_SECONDS).contains(seconds));
        let lifetime = lifetime.ok_or_else(|| StorageError::denied("the expiry must be 1 to 604800 seconds"))?;
        if now + MAX_CLOCK_SKEW < start || start + Duration::from_secs(lifetime) <= now {
            return Err(StorageError::expired());
        }
        Ok(())
    }

    fn body(&self) -> Result<SignedBody, StorageError> {
        match hex::decode(&self.payload).ok().filter(|digest| digest.len() == 32) {
            Some(digest) => Ok(SignedBody::Digest(digest)),
            None if self.payload == UNSIGNED_PAYLOAD => Ok(SignedBody::Unsigned),
            None if self.payload == UNSIGNED_CHUNKS => Ok(SignedBody::Chunks),
            None => Err(StorageError::not_implemented(
                "bodies that are signed chunk by chunk are not supported: sign the digest of the body, or leave it unsigned",
            )),
        }
    }
}

impl Scheme {
    /// Returns the scheme with an algorithm name.
    pub(super) fn find(algorithm: &str) -> Option<&'static Self> {
        SCHEMES.iter().find(|scheme| scheme.algorithm == algorithm)
    }

    /// Verifies a signature. Returns the organization whose key created it, and its date. `string_to_sign` returns the
    /// signed text for a scope.
    pub(super) fn signer<'a>(
        &self,
        platform: &'a Platform,
        credential: &str,
        date: &str,
        signature: &[u8],
        string_to_sign: impl FnOnce(&str) -> String,
    ) -> Result<(&'a Organization, SystemTime), StorageError> {
        let (start, day) =
            parse_date(date).ok_or_else(|| StorageError::denied("the date of the signature is invalid"))?;
        let (key, scope) = credential.split_once('/').unwrap_or_default();
        let location = scope.strip_prefix(&format!("{day}/")).and_then(|rest| rest.split_once('/'));
        let location = location.filter(|(_, rest)| *rest == self.scope).map(|(location, _)| location);
        let location = location
            .ok_or_else(|| StorageError::denied("the credential scope does not match the date and the service"))?;
        let owner = match self.key {
            KeyKind::Hmac(_) => platform.accounts.owner_of_key(key),
            KeyKind::ServiceAccount => platform.accounts.owner_of_service_account(key),
        };
        let owner = owner
            .ok_or_else(|| StorageError::new(StatusCode::FORBIDDEN, "InvalidAccessKeyId", "unknown access key id"))?;
        let string_to_sign = string_to_sign(scope);
        let is_match = match self.key {
            KeyKind::Hmac(prefix) => {
                let key = signing_key(prefix, &owner.key.secret_access_key, &day, location, self.scope);
                hmac::verify(&key, string_to_sign.as_bytes(), signature).is_ok()
            }
            KeyKind::ServiceAccount => platform.service_accounts.verify_signature(owner, &string_to_sign, signature),
        };
        let message = "the signature does not match the request";
        if is_match {
            Ok((owner, start))
        } else {
            Err(StorageError::new(StatusCode::FORBIDDEN, "SignatureDoesNotMatch", message))
        }
    }

    fn header<'a>(&self, headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
        headers.get(format!("{}{name}", self.header_prefix))?.to_str().ok()
    }

    pub(super) fn string_to_sign(&self, date: &str, scope: &str, canonical: &str) -> String {
        let digest = digest::digest(&digest::SHA256, canonical.as_bytes());
        format!("{}\n{date}\n{scope}\n{}", self.algorithm, hex::encode(digest.as_ref()))
    }
}

/// Verifies that a key of the bucket's organization signed the request, and that the signature has not expired. If
/// `bucket` is empty, keys of all organizations are accepted.
pub(super) fn verify_request(
    platform: &Platform,
    bucket: &str,
    request: &Request,
) -> Result<VerifiedRequest, StorageError> {
    let token_or_legacy_signer = match (self_signed::token(request), legacy::credential(request)) {
        (Some(token), _) => Some(self_signed::signer(platform, token)?),
        (_, Some(credential)) => Some(legacy::signer(platform, request, credential)?),
        _ => None,
    };
    if let Some(owner) = token_or_legacy_signer {
        if !bucket.is_empty() {
            check_owner(platform, owner, bucket)?;
        }
        return Ok(VerifiedRequest { bucket: owner.bucket.clone(), body: SignedBody::Unsigned });
    }
    let parameters = SignatureParameters::from_request(request)?;
    let canonical = canonical_request(request, &parameters)
        .ok_or_else(|| StorageError::denied("a signed header is missing, or `host` is not signed"))?;
    let string_to_sign = |scope: &str| parameters.scheme.string_to_sign(&parameters.date, scope, &canonical);
    let (owner, start) = parameters.scheme.signer(
        platform,
        &parameters.credential,
        &parameters.date,
        &parameters.signature,
        string_to_sign,
    )?;
    if !bucket.is_empty() {
        check_owner(platform, owner, bucket)?;
    }
    parameters.check_period(start, platform.now())?;
    Ok(VerifiedRequest { bucket: owner.bucket.clone(), body: parameters.body()? })
}

/// Rejects a bucket that does not exist, or belongs to another organization.
pub(super) fn check_owner(platform: &Platform, owner: &Organization, bucket: &str) -> Result<(), StorageError> {
    if !platform.accounts.has_bucket(bucket) {
        return Err(StorageError::new(StatusCode::NOT_FOUND, "NoSuchBucket", "there is no such bucket"));
    }
    if owner.bucket != bucket {
        return Err(StorageError::denied("the key belongs to another bucket"));
    }
    Ok(())
}

pub(super) fn signing_key(prefix: &str, secret: &str, day: &str, location: &str, scope: &str) -> hmac::Key {
    let start = hmac::Key::new(hmac::HMAC_SHA256, format!("{prefix}{secret}").as_bytes());
    [day, location]
        .into_iter()
        .chain(scope.split('/'))
        .fold(start, |key, part| hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, part.as_bytes()).as_ref()))
}

/// Returns the canonical request, or `None` if a signed header is missing.
fn canonical_request(request: &Request, signed: &SignatureParameters) -> Option<String> {
    let signature = format!("{}Signature=", signed.scheme.parameters);
    let query = request.uri().query().unwrap_or_default();
    let mut parameters: Vec<_> = query
        .split('&')
        .filter(|pair| !pair.is_empty() && !pair.starts_with(&signature))
        // A name without a value is signed with an empty value.
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .collect();
    // Pairs are sorted, not texts: `a=` precedes `a-b=`, although `=` sorts after `-`.
    parameters.sort_unstable();
    let parameters: Vec<_> = parameters.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mut canonical = format!("{}\n{}\n{}\n", request.method(), request.uri().path(), parameters.join("&"));
    let names: Vec<&str> = signed.headers.split(';').collect();
    if !names.contains(&header::HOST.as_str()) {
        return None;
    }
    for name in names {
        let canonical_value = |value: &HeaderValue| Some(single_spaced(value.to_str().ok()?));
        let values: Option<Vec<_>> = request.headers().get_all(name).iter().map(canonical_value).collect();
        let values = values.filter(|values| !values.is_empty())?;
        writeln!(canonical, "{name}:{}", values.join(",")).ok()?;
    }
    Some(format!("{canonical}\n{}\n{}", signed.headers, signed.payload))
}

/// Returns a value in its canonical form: trimmed, with single spaces.
fn single_spaced(value: &str) -> String {
    value.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Returns a decoded query parameter. A name without a value is empty.
pub(super) fn parameter(query: &str, name: &str) -> Option<String> {
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let value = pairs.into_iter().find(|(key, _)| *key == name)?.1.replace('+', " ");
    Some(percent_decode_str(&value).decode_utf8().ok()?.into_owned())
}

/// Parses `20260301T120000Z` as a time and its day.
pub(super) fn parse_date(text: &str) -> Option<(SystemTime, String)> {
    let time = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", text).ok()?;
    let time = time.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some((time.timestamp().into(), time.strftime("%Y%m%d").to_string()))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    #[test]
    fn canonical_request_is_sorted_and_normalized() {
        let request = Request::builder()
            .uri("/bucket/key?b=2&a-b=1&a=1&X-Amz-Signature=00&c")
            .header("host", "storage.test")
            .header("content-disposition", "  attachment;   filename=\"a  b.tif\" ")
            .body(Body::empty())
            .unwrap();
        let signed = SignatureParameters {
            scheme: &AWS4,
            credential: String::new(),
            date: String::new(),
            headers: "content-disposition;host".to_owned(),
            signature: Vec::new(),
            lifetime: None,
            payload: UNSIGNED_PAYLOAD.to_owned(),
        };
        let canonical = canonical_request(&request, &signed).unwrap();
        let expected = "GET\n/bucket/key\na=1&a-b=1&b=2&c=\ncontent-disposition:attachment; filename=\"a b.tif\"\n\
                        host:storage.test\n\ncontent-disposition;host\nUNSIGNED-PAYLOAD";
        assert_eq!(canonical, expected);
    }
}
