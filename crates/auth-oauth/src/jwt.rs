//! What a token must be to verify. In this order, and the first check that fails is named:
//!
//! 1. [`compact`]: it is not too large, and three parts in base64url.
//! 2. [`header`]: its header asks for nothing that was not decided beforehand.
//! 3. [`source`], [`keys`], [`key`]: the issuer publishes the key that it names, for this algorithm.
//! 4. Its signature fits. Until then nobody reads the claims.
//! 5. [`claims`]: its claims are of the kind that they must be.
//! 6. [`expectation`]: they are those of an access token of this issuer, for this audience, now.

mod algorithm;
mod claims;
mod compact;
mod error;
mod expectation;
mod freshness;
mod header;
mod json;
mod key;
mod keys;
mod source;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use auth_core::{Clock, Secret, SystemClock};
use auth_http::HttpClient;
use url::Url;

use compact::Compact;
use expectation::Expectation;
use header::Header;
use source::{KeySource, Terms};

pub use algorithm::JwtAlgorithm;
pub use claims::Claims;
pub use error::{JwtError, JwtProblem};

/// Clocks differ by up to a minute, by default.
const LEEWAY: Duration = Duration::from_secs(60);

/// Verifies access tokens that are JWTs (RFC 7519, RFC 9068): the signature against the keys that the
/// issuer publishes, and the issuer, audience and validity period that they state.
///
/// - The algorithm is fixed here, RS256 by default, and never taken from the token (RFC 8725, section
///   3.1). Keys come from the issuer only, whatever the token offers.
/// - Keys are kept for a day, and for one more while the issuer cannot be asked. A token with a key that
///   is not among them has them fetched again, at most once in five minutes.
/// - Id tokens are refused: by their `typ`, by claims that only they have, or by their audience.
///
/// Needs a tokio runtime, on which keys are fetched. Cheap to clone; clones share their keys.
///
/// ```no_run
/// use auth_core::Secret;
/// use auth_http::HttpClient;
/// use auth_oauth::JwtVerifier;
///
/// # async fn example(http: HttpClient, token: Secret) -> Result<(), Box<dyn std::error::Error>> {
/// let jwks = "https://issuer.example/.well-known/jwks.json".parse()?;
/// let verifier = JwtVerifier::new(http, "https://issuer.example/", "https://platform.example", jwks);
/// match verifier.verify(&token).await {
///     Ok(claims) => println!("it speaks for {}", claims.sub),
///     Err(error) if error.is_invalid() => println!("{error}"),
///     Err(error) => println!("nobody knows: {error}"),
/// }
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct JwtVerifier {
    keys: Arc<KeySource>,
    expected: Expectation,
    algorithms: Vec<JwtAlgorithm>,
    key_lifetime: Duration,
    clock: Arc<dyn Clock>,
}

impl JwtVerifier {
    /// Accepts the tokens of `issuer` for `audience`; the issuer publishes its keys at `jwks`.
    pub fn new(http: HttpClient, issuer: impl Into<String>, audience: impl Into<String>, jwks: Url) -> Self {
        Self {
            keys: Arc::new(KeySource::new(http, jwks)),
            expected: Expectation { issuer: issuer.into(), audience: audience.into(), leeway: LEEWAY },
            algorithms: vec![JwtAlgorithm::Rs256],
            key_lifetime: freshness::LIFETIME,
            clock: Arc::new(SystemClock),
        }
    }

    /// Judges validity periods, and the age of keys, by `clock`.
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Accepts these algorithms and no others, instead of RS256.
    ///
    /// ```
    /// use auth_oauth::{JwtAlgorithm, JwtVerifier};
    ///
    /// fn for_elliptic_curves(verifier: JwtVerifier) -> JwtVerifier {
    ///     verifier.with_algorithms([JwtAlgorithm::Es256, JwtAlgorithm::Es384])
    /// }
    /// ```
    pub fn with_algorithms(mut self, algorithms: impl IntoIterator<Item = JwtAlgorithm>) -> Self {
        self.algorithms = algorithms.into_iter().collect();
        self
    }

    /// By how much the issuer's clock may differ from ours; a minute by default.
    pub fn with_leeway(mut self, leeway: Duration) -> Self {
        self.expected.leeway = leeway;
        self
    }

    /// How long keys are used before they are fetched again; a day by default. A key that the issuer
    /// withdraws is trusted for that long.
    pub fn with_key_lifetime(mut self, lifetime: Duration) -> Self {
        self.key_lifetime = lifetime;
        self
    }

    /// Has the keys of the issuer at hand: what is paid for a token – a code, a refresh token – should not be spent when
    /// the token could not be verified.
    pub(crate) async fn prepare(&self) -> Result<(), JwtError> {
        let terms = Terms { clock: &self.clock, lifetime: self.key_lifetime };
        Ok(self.keys.prepare(&terms).await?)
    }

    /// Verifies `token`, with the keys at hand or, where there are none or not that of the token, with
    /// those that the issuer publishes now.
    ///
    /// # Errors
    ///
    /// [`JwtError::is_invalid`]: the token is not what it must be; [`JwtError::problem`] names the check
    /// that failed. Otherwise the keys could not be had, which says nothing of the token:
    /// [`JwtError::is_transient`], [`JwtError::is_outdated`], [`JwtError::is_unusable_key_set`].
    pub async fn verify(&self, token: &Secret) -> Result<Claims, JwtError> {
        let token = Compact::split(token.expose())?;
        let header = Header::read(&token.header, &self.algorithms)?;
        let terms = Terms { clock: &self.clock, lifetime: self.key_lifetime };
        let key = self.keys.find(&header.kid, header.algorithm, &terms).await?.ok_or(JwtProblem::UnknownKey)?;
        if !key.has_signed(&token, header.algorithm) {
            return Err(JwtProblem::Signature.into());
        }
        let claims = Claims::read(&token.claims)?;
        self.expected.check(&claims, self.clock.now())?;
        Ok(claims)
    }
}

impl fmt::Debug for JwtVerifier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { expected, algorithms, .. } = self;
        formatter
            .debug_struct("JwtVerifier")
            .field("issuer", &expected.issuer)
            .field("audience", &expected.audience)
            .field("algorithms", algorithms)
            .finish_non_exhaustive()
    }
}
