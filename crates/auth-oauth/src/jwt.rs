//! The verification of JWT access tokens. The checks run in this order, and the error names the first that fails:
//!
//! 1. [`compact`]: the token is not too large, and has three parts in base64url.
//! 2. [`header`]: the header requires nothing that the configuration does not allow.
//! 3. [`source`], [`keys`], [`key`]: the issuer publishes the named key, for this algorithm.
//! 4. The signature is valid. The claims are parsed only after this check.
//! 5. [`claims`]: the claims have the required types.
//! 6. [`expectation`]: the claims are those of a currently valid access token of this issuer, for this audience.

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

use compact::Compact;
use expectation::Expectation;
use header::Header;
use source::{KeySource, Terms};

pub use algorithm::JwtAlgorithm;
pub use claims::Claims;
pub use error::JwtError;
pub use problem::JwtProblem;

/// The default tolerance for clock skew.
const LEEWAY: Duration = Duration::from_secs(60);

/// A verifier of access tokens that are JWTs (RFC 7519, RFC 9068).
///
/// It checks the signature against the published keys of the issuer, and the issuer, the audience and the validity
/// period.
///
/// - The algorithms are set here, RS256 by default, and never taken from the token (RFC 8725, section 3.1). Keys in the
///   token are ignored. Only published keys of the issuer are used.
/// - Keys are fresh for a day. For one more day, they are used while one background task refreshes them. A token whose
///   key is not among them triggers a fetch, at most once in five minutes.
/// - ID tokens are refused: by their `typ`, by claims that only they have, or by their audience.
///
/// Keys are fetched in a task on the tokio runtime of the first caller that needs them. The task does not depend on
/// that caller, but on its runtime. If the runtime shuts down, the next caller starts another fetch. A current-thread
/// runtime advances the task only while it runs. Without a runtime, cached keys are used until a day after their
/// expiry.
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
    expected: Expectation,
    algorithms: Vec<JwtAlgorithm>,
    key_lifetime: Duration,
    clock: Arc<dyn Clock>,
}

impl JwtVerifier {
    /// Creates a verifier for tokens of `issuer` for `audience`. The issuer publishes its keys at `jwks`.
    pub fn new(http: HttpClient, issuer: impl Into<String>, audience: impl Into<String>, jwks: Url) -> Self {
        Self {
            keys: Arc::new(KeySource::new(http, jwks)),
            expected: Expectation {
                issuer: issuer.into(),
                audience: audience.into(),
                organization: None,
                leeway: LEEWAY,
            },
            algorithms: vec![JwtAlgorithm::Rs256],
            key_lifetime: freshness::LIFETIME,
            clock: Arc::new(SystemClock),
        }
    }

    /// Accepts tokens of one organization only, if they state their organization (`org_id`). A user can be a member of
    /// several.
    pub fn with_organization(mut self, organization: impl Into<String>) -> Self {
        self.expected.organization = Some(organization.into());
        self
    }

    /// Sets the clock for validity periods and for the age of keys.
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Sets the accepted algorithms, instead of RS256.
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
    /// Expired keys are used for 24 h more, until a fetch in the background succeeds. A key that the issuer withdraws
    /// is therefore trusted for up to this lifetime plus 24 h.
    pub fn with_key_lifetime(mut self, lifetime: Duration) -> Self {
        self.key_lifetime = lifetime;
        self
    }

    /// Fetches the keys of the issuer unless they are cached, so that no code or refresh token is redeemed for a token
    /// that cannot be verified.
    pub(crate) async fn prepare(&self) -> Result<(), JwtError> {
        let terms = Terms { clock: &self.clock, lifetime: self.key_lifetime };
        Ok(self.keys.prepare(&terms).await?)
    }

    /// Verifies `token`. Its times are checked against the clock.
    ///
    /// The method waits for the keys of the issuer only if none are cached, if they expired more than a day ago, or if
    /// they do not contain the key of the token.
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
    /// This is for a local clock that may be wrong. `now` must be a time of the issuer, such as the `Date` of the
    /// response that brought the token over TLS. A time from any other source may accept an expired token. The age of
    /// cached keys is still measured by the clock.
    ///
    /// # Errors
    ///
    /// The same as [`verify`](Self::verify). [`JwtError::is_clock`] refers to `now`.
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

    /// Returns the claims of `token` if its signature is valid. The claims are not checked.
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
