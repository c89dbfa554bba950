use std::fmt;
use std::time::SystemTime;

use auth_core::Secret;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use sha2::{Digest, Sha256};
use x509_cert::certificate::{CertificateInner, Raw};
use x509_cert::der::Decode;
use zeroize::Zeroizing;

/// A client certificate (RFC 8705) and its private key. `Debug` and errors do not show the key.
///
/// Two values are equal if their certificate chains are equal.
#[derive(Clone)]
pub struct ClientCertificate {
    chain: String,
    key: Secret,
    thumbprint: String,
    validity: (SystemTime, SystemTime),
}

/// An error from [`ClientCertificate::from_pem`]. It does not contain the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// The certificate is missing or malformed.
    #[error("no readable certificate in PEM format")]
    InvalidCertificate,
    /// The private key is missing or malformed, or its type is not supported.
    #[error("no usable private key in PEM format: expected RSA, ECDSA or Ed25519 without a passphrase")]
    InvalidKey,
    /// The private key does not match the certificate.
    #[error("the private key does not match the certificate")]
    KeyMismatch,
}

fn parse_certificates(chain: &str) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain.as_bytes()).collect();
    certificates.map_err(|_| CertificateError::InvalidCertificate)
}

/// Creates a private key from its DER encoding.
type FromDer = fn(Vec<u8>) -> PrivateKeyDer<'static>;

/// The labels of private keys in PEM (RFC 7468, section 10; RFC 5915, section 4; RFC 8017, appendix A).
const KEY_LABELS: [(&str, FromDer); 3] = [
    ("PRIVATE KEY", |der| PrivateKeyDer::Pkcs8(der.into())),
    ("RSA PRIVATE KEY", |der| PrivateKeyDer::Pkcs1(der.into())),
    ("EC PRIVATE KEY", |der| PrivateKeyDer::Sec1(der.into())),
];

/// Decodes the first private key in a PEM text. Unlike the parser of the TLS library, it leaves no copies of the key in
/// memory.
fn parse_private_key(pem: &str) -> Option<Zeroizing<PrivateKeyDer<'static>>> {
    let mut lines = pem.lines().map(str::trim);
    let from_der = lines.find_map(|line| {
        let label = line.strip_prefix("-----BEGIN ")?.strip_suffix("-----")?;
        KEY_LABELS.iter().find(|(known_label, _)| *known_label == label).map(|(_, from_der)| from_der)
    })?;
    let mut base64 = Zeroizing::new(String::with_capacity(pem.len()));
    lines.take_while(|line| !line.starts_with("-----END ")).for_each(|line| base64.push_str(line));
    let mut der = Zeroizing::new(vec![0; base64.len()]);
    let length = STANDARD.decode_slice(base64.as_bytes(), &mut der).ok()?;
    der.truncate(length);
    // The capacity of the buffer is exact, because shrinking a buffer can leave a copy of the key in memory.
    let mut exact_der = Vec::with_capacity(length);
    exact_der.extend_from_slice(&der);
    Some(Zeroizing::new(from_der(exact_der)))
}

/// Returns the thumbprint of the first certificate in `chain` (`x5t#S256`; RFC 8705, section 3.1).
pub(crate) fn thumbprint(chain: &str) -> Option<String> {
    Some(URL_SAFE_NO_PAD.encode(Sha256::digest(parse_certificates(chain).ok()?.first()?)))
}

impl ClientCertificate {
    /// Creates a client certificate from a PEM chain, leaf first, and its PEM private key.
    ///
    /// # Errors
    ///
    /// The chain or the key cannot be parsed, or they do not match.
    pub fn from_pem(chain: impl Into<String>, key: Secret) -> Result<Self, CertificateError> {
        let chain = chain.into();
        let certificates = parse_certificates(&chain)?;
        let first = certificates.first().ok_or(CertificateError::InvalidCertificate)?;
        // The `Raw` profile is used, because the strict one rejects certificates that other implementations accept.
        let parsed = CertificateInner::<Raw>::from_der(first).map_err(|_| CertificateError::InvalidCertificate)?;
        let validity = parsed.tbs_certificate().validity();
        let validity = (validity.not_before.to_system_time(), validity.not_after.to_system_time());
        let thumbprint = URL_SAFE_NO_PAD.encode(Sha256::digest(first));

        let der = parse_private_key(key.expose()).ok_or(CertificateError::InvalidKey)?;
        let signer = any_supported_type(&der).map_err(|_| CertificateError::InvalidKey)?;
        let match_result = CertifiedKey::new(certificates, signer).keys_match();
        match_result.map_err(|_| CertificateError::KeyMismatch)?;
        Ok(Self { chain, key, thumbprint, validity })
    }

    /// Returns the certificate chain in PEM, leaf first.
    pub fn chain(&self) -> &str {
        &self.chain
    }

    /// Returns the private key in PEM.
    pub fn key(&self) -> &Secret {
        &self.key
    }

    /// Returns the thumbprint of the certificate, which certificate-bound tokens contain (`x5t#S256`; RFC 8705, section
    /// 3.1).
    pub fn thumbprint(&self) -> &str {
        &self.thumbprint
    }

    /// Returns the time at which the certificate expires.
    pub fn not_after(&self) -> SystemTime {
        self.validity.1
    }

    /// Returns true if `now` is within the validity period of the certificate.
    pub fn is_valid_at(&self, now: SystemTime) -> bool {
        (self.validity.0..=self.validity.1).contains(&now)
    }
}

impl PartialEq for ClientCertificate {
    fn eq(&self, other: &Self) -> bool {
        self.thumbprint == other.thumbprint && self.chain == other.chain
    }
}

impl Eq for ClientCertificate {}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { thumbprint, validity: (_, not_after), .. } = self;
        let mut output = formatter.debug_struct("ClientCertificate");
        output.field("thumbprint", thumbprint).field("not_after", not_after).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    /// Returns a self-signed certificate that expires at `not_after`, and its key.
    fn self_signed(not_after: SystemTime) -> (String, Secret) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["machine.test".to_owned()]).unwrap();
        params.not_after = not_after.into();
        (params.self_signed(&key).unwrap().pem(), Secret::new(key.serialize_pem()))
    }

    #[test]
    fn expiry_and_thumbprint_match_the_certificate() {
        let not_after = SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000);
        let (chain, key) = self_signed(not_after);
        let certificate = ClientCertificate::from_pem(chain.clone(), key.clone()).unwrap();
        assert_eq!(certificate.not_after(), not_after);
        assert!(certificate.is_valid_at(not_after) && !certificate.is_valid_at(not_after + Duration::from_secs(1)));
        let der = CertificateDer::from_pem_slice(chain.as_bytes()).unwrap();
        assert_eq!(URL_SAFE_NO_PAD.decode(certificate.thumbprint()).unwrap(), Sha256::digest(&der).to_vec());
        let (other_chain, other_key) = self_signed(not_after);
        assert_ne!(certificate, ClientCertificate::from_pem(other_chain, other_key).unwrap());
        assert!(!format!("{certificate:?}").contains(key.expose().lines().nth(1).unwrap()));
    }

    #[test]
    fn error_states_if_certificate_or_key_is_invalid() {
        let not_after = SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000);
        let ((chain, key), (other_chain, _)) = (self_signed(not_after), self_signed(not_after));
        let error = |chain: &str, key: &str| ClientCertificate::from_pem(chain, Secret::new(key)).unwrap_err();
        assert_eq!(error("no PEM", key.expose()), CertificateError::InvalidCertificate);
        assert_eq!(error(&chain.replace("MII", "AAA"), key.expose()), CertificateError::InvalidCertificate);
        assert_eq!(error(&chain, &chain), CertificateError::InvalidKey);
        assert_eq!(error(&other_chain, key.expose()), CertificateError::KeyMismatch);
    }
}
