//! The verification of JWT access tokens. The checks run in this order, and the error names the first failed check:
//!
//! 1. [`compact`]: the token is not too large, and has three parts in base64url.
//! 2. [`header`]: the header is valid, and the configuration allows its algorithm.
//! 3. [`source`], [`keys`], [`key`]: the issuer publishes the key that the header names, for this algorithm.
//! 4. The signature is valid. The claims are parsed only after this check.
//! 5. [`claims`]: the claims have the required types.
//! 6. [`expectation`]: the claims belong to a currently valid access token of the expected issuer for the expected
//!    audience.

mod algorithm;
mod claims;
mod compact;
mod error;
mod expectation;
mod freshness;
mod header;
mod key;
mod keys;
mod problem;
mod refusal;
mod source;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use auth_core::{Clock, Secret, SystemClock};
use auth_http::HttpClient;
use url::Url;

use compact::CompactToken;
use expectation::ExpectedClaims;
use header::Header;
use source::{CachePolicy, KeySource};

pub use algorithm::JwtAlgorithm;
pub use claims::Claims;
pub use error::JwtError;
pub use problem::JwtProblem;

/// The default tolerance for clock skew.
const DEFAULT_LEEWAY: Duration = Duration::from_secs(60);

/// A verifier of access tokens that are JWTs (RFC 7519, RFC 9068).
///
/// It checks the signature with the published keys of the issuer, and the issuer, the audience and the validity period.
///
/// - The accepted algorithms are configured (RS256 by default), and never taken from the token (RFC 8725, section 3.1).
///   Only keys that the issuer publishes are used. A token that contains a key or a reference to one is refused.
/// - Keys are fresh for a day. For one more day, they are used while a background task refreshes them. A token with an
///   unknown key causes another fetch, at most once in five minutes.
/// - ID tokens are refused. They are recognized by their `typ`, by claims that only ID tokens have, or by their
///   audience.
///
/// Keys are fetched by a task on the tokio runtime of the first caller that needs them. The task continues if that
/// caller is dropped, but not if its runtime is shut down; the next caller then starts another fetch. On a
/// current-thread runtime, the task makes progress only while the runtime is polled. Without a runtime, no keys can be
/// fetched, and cached keys are used until a day after their expiry.
///
/// Clones are cheap and share their keys.
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
    expected: ExpectedClaims,
    algorithms: Vec<JwtAlgorithm>,
    key_lifetime: Duration,
    clock: Arc<dyn Clock>,
}

impl JwtVerifier {
    /// Creates a verifier for tokens of `issuer` for `audience`. `jwks` is the URL at which the issuer publishes its
    /// keys.
    pub fn new(http: HttpClient, issuer: impl Into<String>, audience: impl Into<String>, jwks: Url) -> Self {
        Self {
            keys: Arc::new(KeySource::new(http, jwks)),
            expected: ExpectedClaims {
                issuer: issuer.into(),
                audience: audience.into(),
                organization: None,
                leeway: DEFAULT_LEEWAY,
            },
            algorithms: vec![JwtAlgorithm::Rs256],
            key_lifetime: freshness::DEFAULT_LIFETIME,
            clock: Arc::new(SystemClock),
        }
    }

    /// Refuses tokens of another organization (`org_id`). Tokens without an organization are accepted.
    pub fn with_organization(mut self, organization: impl Into<String>) -> Self {
        self.expected.organization = Some(organization.into());
        self
    }

    /// Sets the clock for the validity of tokens and for the age of keys. The default is the system clock.
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Sets the accepted algorithms. The default is only RS256.
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

    /// Sets the tolerance for clock skew. The default is one minute.
    pub fn with_leeway(mut self, leeway: Duration) -> Self {
        self.expected.leeway = leeway;
        self
    }

    /// Sets the age at which keys expire. The default is one day.
    ///
    /// Expired keys are used until a fetch in the background succeeds, for at most another 24 h. If the keys cannot be
    /// fetched, a key that the issuer has withdrawn is therefore trusted for up to this lifetime plus 24 h.
    pub fn with_key_lifetime(mut self, lifetime: Duration) -> Self {
        self.key_lifetime = lifetime;
        self
    }

    /// Fetches the keys of the issuer, unless they are cached. Call it before redeeming a single-use credential, so
    /// that the new token can be verified.
    pub(crate) async fn ensure_keys(&self) -> Result<(), JwtError> {
        let policy = CachePolicy { clock: &self.clock, lifetime: self.key_lifetime };
        Ok(self.keys.ensure_keys(&policy).await?)
    }

    /// Verifies `token`, and returns its claims. Its times are compared with the clock.
    ///
    /// The method waits for a fetch of the keys only if no keys are cached, if they expired more than a day ago, or if
    /// they do not contain the key of the token.
    ///
    /// # Errors
    ///
    /// [`JwtError::is_unavailable`], [`JwtError::is_clock`] or [`JwtError::is_definitive`]. [`JwtError::problem`]
    /// returns the check that failed.
    pub async fn verify(&self, token: &Secret) -> Result<Claims, JwtError> {
        let claims = self.verify_signature(token).await?;
        self.expected.check(&claims, self.clock.now())?;
        Ok(claims)
    }

    /// Verifies `token` like [`verify`](Self::verify), but compares its times (`exp`, `nbf`, `iat`) with `now`.
    ///
    /// Use it if the local clock may be wrong. `now` must be a time of the issuer, such as the `Date` of the response
    /// over TLS that contained the token. With any other time, an expired token might be accepted. The age of cached
    /// keys is still measured by the clock of the verifier.
    ///
    /// # Errors
    ///
    /// The errors of [`verify`](Self::verify), where [`JwtError::is_clock`] refers to `now`.
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
        let claims = self.verify_signature(token).await?;
        self.expected.check(&claims, now)?;
        Ok(claims)
    }

    /// Verifies the signature of `token`, and returns its claims, which are not checked.
    async fn verify_signature(&self, token: &Secret) -> Result<Claims, JwtError> {
        let token = CompactToken::split(token.expose())?;
        let header = Header::parse(&token.header, &self.algorithms)?;
        let policy = CachePolicy { clock: &self.clock, lifetime: self.key_lifetime };
        let key = self.keys.find(&header.kid, header.algorithm, &policy).await?.ok_or(JwtProblem::UnknownKey)?;
        if !key.verifies(&token, header.algorithm) {
            return Err(JwtProblem::InvalidSignature.into());
        }
        Ok(Claims::parse(&token.claims)?)
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
