mod filter;
mod journal;
mod once;

use platform_api::models::{Run, RunSubmission};
use platform_api::operations::{ListRuns, SubmitRun};

use crate::client::Client;
use crate::core::Group;
use crate::critical::Creation;
use crate::error::{Error, UncertainSubmission};
use crate::pages::List;
use crate::run::RunHandle;
use crate::validation;

pub use filter::RunFilter;
pub use journal::{SubmissionIntent, SubmissionJournal};
pub use once::{SubmissionEvent, SubmitOnce, Submitted};

/// The key of the submission token in the metadata of a run.
const TOKEN_KEY: &str = "submission_token";

/// Returns a random token for a submission. It is not secret.
fn new_submission_token() -> String {
    format!("{:032x}", fastrand::u128(..))
}

/// The runs of the caller.
#[derive(Clone, Debug)]
pub struct Runs {
    client: Client,
}

/// A submission that was validated, and whose version was resolved.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ValidatedSubmission {
    /// The submission, including the version.
    pub submission: RunSubmission,
}

impl Client {
    /// Returns the runs of the caller.
    pub fn runs(&self) -> Runs {
        Runs { client: self.clone() }
    }
}

impl Runs {
    /// Lists all runs.
    pub fn list(&self) -> List<Run> {
        self.list_with(ListRuns::new())
    }

    /// Lists the runs that match `query`, with the order and page size of the query. The page number of the query is
    /// ignored.
    pub fn list_with(&self, query: ListRuns) -> List<Run> {
        List::of(&self.client.core, query)
    }

    /// Resolves the version and validates all items like [`submit`](Self::submit), without submitting the run.
    ///
    /// # Errors
    ///
    /// [`Error::problems`]: the submission does not meet the application's requirements. Otherwise a request failed.
    pub async fn dry_run(&self, mut submission: RunSubmission) -> Result<ValidatedSubmission, Error> {
        let applications = self.client.applications();
        let version_number = match &submission.version_number {
            Some(requested_number) => requested_number.as_str().into(),
            None => applications.latest_version(&submission.application_id).await?,
        };
        let version = applications.version(&submission.application_id, &version_number).await?;
        validation::validate(&version, &submission, self.client.core.clock().now())?;
        submission.version_number = Some(version_number.to_string());
        Ok(ValidatedSubmission { submission })
    }

    /// Submits a run. First, all items are validated ([`validate`](crate::validate)). If the submission contains no
    /// version, the latest version of the application is used.
    ///
    /// The request is sent again only after a 401, which means that it was not accepted, or if no byte was sent. The
    /// platform bills each accepted submission, and cannot recognize a repeated submission.
    /// [`submit_once`](Self::submit_once) prevents repetitions.
    ///
    /// # Errors
    ///
    /// [`Error::problems`]: the submission does not meet the application's requirements.
    /// [`Error::is_submission_uncertain`]: the platform may have accepted the run, but did not confirm it;
    /// [`Error::uncertain_submission`] returns the properties by which it can be found. Otherwise a request failed.
    pub async fn submit(&self, submission: RunSubmission) -> Result<RunHandle, Error> {
        let ValidatedSubmission { submission } = self.dry_run(submission).await?;
        self.send(submission).await
    }

    /// Sends a validated submission. If its metadata contain no token that identifies the run, a token is added.
    async fn send(&self, mut submission: RunSubmission) -> Result<RunHandle, Error> {
        let timeout = self.client.settings().run_submit_timeout;
        let metadata = submission.custom_metadata.get_or_insert_default();
        let token = metadata.entry(TOKEN_KEY).or_insert_with(|| new_submission_token().into());
        let token = token.as_str().map_or_else(|| token.to_string(), str::to_owned);
        let uncertain_submission = UncertainSubmission {
            since: self.client.core.clock().now(),
            application: submission.application_id.clone(),
            external_ids: submission.items.iter().map(|item| item.external_id.clone()).collect(),
            token,
        };
        let creation = Creation::Run(uncertain_submission.clone());
        let outcome = self.client.core.create(SubmitRun::new(submission), timeout, &[Group::Run], creation).await;
        Ok(self.client.run(outcome.map_err(|error| error.uncertain(uncertain_submission))?.run_id))
    }
}
