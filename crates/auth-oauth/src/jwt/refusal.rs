use std::fmt;
use std::time::Duration;

use super::problem::JwtProblem;

/// The reason why a token was refused: the check that it failed, and the claim that the check concerns.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refusal {
    pub(super) problem: JwtProblem,
    pub(super) claim: Option<&'static str>,
    /// The difference between the clock and the claim, if the claim is a time.
    pub(super) clock_difference: Option<Duration>,
}

impl Refusal {
    pub(super) fn for_claim(problem: JwtProblem, claim: &'static str) -> Self {
        Self { claim: Some(claim), ..problem.into() }
    }

    /// Creates a refusal because of a time that differs from the clock by `seconds`.
    pub(super) fn for_time(problem: JwtProblem, claim: &'static str, seconds: f64) -> Self {
        let clock_difference = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
        Self { clock_difference: Some(clock_difference), ..Self::for_claim(problem, claim) }
    }
}

impl From<JwtProblem> for Refusal {
    fn from(problem: JwtProblem) -> Self {
        Self { problem, claim: None, clock_difference: None }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.problem, self.claim, self.clock_difference) {
            (problem @ JwtProblem::Expired, Some(claim), Some(difference)) => {
                write!(formatter, "{problem} (`{claim}` is {} s behind the clock)", difference.as_secs())
            }
            (problem, Some(claim), Some(difference)) => {
                write!(formatter, "{problem} (`{claim}` is {} s ahead of the clock)", difference.as_secs())
            }
            (JwtProblem::MissingClaim, Some(claim), _) => write!(formatter, "it lacks the claim `{claim}`"),
            (JwtProblem::InvalidClaims, Some(claim), _) => write!(formatter, "its claim `{claim}` is invalid"),
            (problem, ..) => problem.fmt(formatter),
        }
    }
}
