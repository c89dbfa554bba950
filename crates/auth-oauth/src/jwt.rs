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
mod key;
mod keys;
mod refusal;
mod source;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

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
/// - Keys are fresh for a day. For one more day they are still used while one background task replaces them. A token
///   whose key is not among them triggers a fetch, at most once in five minutes.
/// - Id tokens are refused: by their `typ`, by claims that only they have, or by their audience.
///
/// Keys are fetched in a task on the tokio runtime of the caller that needs them first. The task does not depend on that
/// caller, but on its runtime: if the runtime shuts down, the next caller starts another fetch. A current-thread runtime
/// advances the task only while it runs. Without a runtime, cached keys are used until they are a day past expiry.
///
/// Cheap to clone; clones share their keys.
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
///     Ok(claims) => println!("the token is valid for {}", claims.sub),
///     Err(error) if error.is_unavailable() => println!("try again later: {error}"),
///     Err(error) => println!("access denied: {error}"),
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

    /// The age at which keys expire; a day by default.
    ///
    /// Expired keys are used for 24 h more, until a fetch in the background succeeds. A key that the issuer withdraws
    /// is therefore trusted for up to this lifetime and 24 h.
    pub fn with_key_lifetime(mut self, lifetime: Duration) -> Self {
        self.key_lifetime = lifetime;
        self
    }

    /// Fetches the keys of the issuer unless they are cached, so that no code or refresh token is spent on a token that
    /// cannot be verified.
    pub(crate) async fn prepare(&self) -> Result<(), JwtError> {
        let terms = Terms { clock: &self.clock, lifetime: self.key_lifetime };
        Ok(self.keys.prepare(&terms).await?)
    }

    /// Verifies `token`. Its times are checked against the clock.
    ///
    /// Waits for the keys of the issuer only if none are cached, if those expired more than a day ago, or if the key of
    /// the token is not among them.
    ///
    /// # Errors
    ///
    /// One of [`JwtError::is_unavailable`], [`JwtError::is_clock`] and [`JwtError::is_definitive`].
    /// [`JwtError::problem`] names the check that failed.
    pub async fn verify(&self, token: &Secret) -> Result<Claims, JwtError> {
        let claims = self.authentic(token).await?;
        self.expected.check(&claims, self.clock.now())?;
        Ok(claims)
    }

    /// Verifies `token` like [`verify`](Self::verify), but checks its times (`exp`, `nbf`, `iat`) against `now`.
    ///
    /// For a local clock that may be wrong: `now` is the time of the issuer, such as the `Date` of the response that
    /// brought the token over TLS. A time from any other source may revive an expired token. The age of cached keys is
    /// still measured by the clock.
    ///
    /// # Errors
    ///
    /// As for [`verify`](Self::verify); [`JwtError::is_clock`] refers to `now`.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use std::time::SystemTime;
    /// use auth_core::Secret;
    /// use auth_oauth::{Claims, JwtError, JwtVerifier};
    ///
    /// async fn verify(verifier: &JwtVerifier, token: &Secret, date: Option<SystemTime>) -> Result<Claims, JwtError> {
    ///     match (verifier.verify(token).await, date) {
    ///         (Err(error), Some(date)) if error.is_clock() => verifier.verify_as_of(token, date).await,
    ///         (outcome, _) => outcome,
    ///     }
    /// }
    /// ```
    pub async fn verify_as_of(&self, token: &Secret, now: SystemTime) -> Result<Claims, JwtError> {
        let claims = self.authentic(token).await?;
        self.expected.check(&claims, now)?;
        Ok(claims)
    }

    /// The claims of `token` if the issuer has signed it, whatever they are.
    async fn authentic(&self, token: &Secret) -> Result<Claims, JwtError> {
        let token = Compact::split(token.expose())?;
        let header = Header::read(&token.header, &self.algorithms)?;
        let terms = Terms { clock: &self.clock, lifetime: self.key_lifetime };
        let key = self.keys.find(&header.kid, header.algorithm, &terms).await?.ok_or(JwtProblem::UnknownKey)?;
        if !key.has_signed(&token, header.algorithm) {
            return Err(JwtProblem::Signature.into());
        }
        Ok(Claims::read(&token.claims)?)
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
