use std::fmt;
use std::time::SystemTime;

use auth_core::Secret;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use sha2::{Digest, Sha256};
use x509_cert::certificate::{CertificateInner, Raw};
use x509_cert::der::Decode;

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

/// An error from [`ClientCertificate::from_pem`]. It does not show the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// The certificate is missing or malformed.
    #[error("no readable certificate in PEM format")]
    Certificate,
    /// The private key is missing, or its type is not supported by TLS.
    #[error("no usable private key in PEM format: expected RSA, ECDSA or Ed25519 without a passphrase")]
    Key,
    /// The certificate does not match the private key.
    #[error("the private key does not match the certificate")]
    Mismatch,
}

fn certificates(chain: &str) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain.as_bytes()).collect();
    certificates.map_err(|_| CertificateError::Certificate)
}

/// Returns the thumbprint of the first certificate in `chain` (`x5t#S256`; RFC 8705, section 3.1).
pub(crate) fn thumbprint(chain: &str) -> Option<String> {
    Some(URL_SAFE_NO_PAD.encode(Sha256::digest(certificates(chain).ok()?.first()?)))
}

impl ClientCertificate {
    /// Creates a client certificate from a PEM chain, leaf first, and its PEM private key.
    ///
    /// # Errors
    ///
    /// The chain or the key cannot be parsed, or they do not match.
    pub fn from_pem(chain: impl Into<String>, key: Secret) -> Result<Self, CertificateError> {
        let chain = chain.into();
        let certificates = certificates(&chain)?;
        let first = certificates.first().ok_or(CertificateError::Certificate)?;
        // The strict profile rejects certificates that other implementations accept.
        let parsed = CertificateInner::<Raw>::from_der(first).map_err(|_| CertificateError::Certificate)?;
        let validity = parsed.tbs_certificate().validity();
        let validity = (validity.not_before.to_system_time(), validity.not_after.to_system_time());
        let thumbprint = URL_SAFE_NO_PAD.encode(Sha256::digest(first));

        let der = PrivateKeyDer::from_pem_slice(key.expose().as_bytes()).map_err(|_| CertificateError::Key)?;
        let signer = any_supported_type(&der).map_err(|_| CertificateError::Key)?;
        let fits = CertifiedKey::new(certificates, signer).keys_match();
        fits.map_err(|_| CertificateError::Mismatch)?;
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

    /// Returns the certificate thumbprint that bound tokens contain (`x5t#S256`; RFC 8705, section 3.1).
    pub fn thumbprint(&self) -> &str {
        &self.thumbprint
    }

    /// Returns the time at which the certificate expires.
    pub fn not_after(&self) -> SystemTime {
        self.validity.1
    }

    /// Returns true if `now` is within the validity period.
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
        let Self { thumbprint, validity: (_, end), .. } = self;
        let mut shown = formatter.debug_struct("ClientCertificate");
        shown.field("thumbprint", thumbprint).field("not_after", end).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn signed_by_itself(end: SystemTime) -> (String, Secret) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["machine.test".to_owned()]).unwrap();
        params.not_after = end.into();
        (params.self_signed(&key).unwrap().pem(), Secret::new(key.serialize_pem()))
    }

    #[test]
    fn certificate_has_an_expiry_and_a_thumbprint() {
        let end = SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000);
        let (chain, key) = signed_by_itself(end);
        let certificate = ClientCertificate::from_pem(chain.clone(), key.clone()).unwrap();
        assert_eq!(certificate.not_after(), end);
        assert!(certificate.is_valid_at(end) && !certificate.is_valid_at(end + Duration::from_secs(1)));
        let der = CertificateDer::from_pem_slice(chain.as_bytes()).unwrap();
        assert_eq!(URL_SAFE_NO_PAD.decode(certificate.thumbprint()).unwrap(), Sha256::digest(&der).to_vec());
        let (another, its_key) = signed_by_itself(end);
        assert_ne!(certificate, ClientCertificate::from_pem(another, its_key).unwrap());
        assert!(!format!("{certificate:?}").contains(key.expose().lines().nth(1).unwrap()));
    }

    #[test]
    fn invalid_pem_is_rejected_and_named() {
        let end = SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000);
        let ((chain, key), (another, _)) = (signed_by_itself(end), signed_by_itself(end));
        let refused = |chain: &str, key: &str| ClientCertificate::from_pem(chain, Secret::new(key)).unwrap_err();
        assert_eq!(refused("no PEM", key.expose()), CertificateError::Certificate);
        assert_eq!(refused(&chain.replace("MII", "AAA"), key.expose()), CertificateError::Certificate);
        assert_eq!(refused(&chain, &chain), CertificateError::Key);
        assert_eq!(refused(&another, key.expose()), CertificateError::Mismatch);
    }
}
