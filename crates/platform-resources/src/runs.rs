use futures_util::stream::Stream;
use platform_api::models::{Item, Run, RunId, RunSubmission};
use platform_api::operations::{GetRun, ListRunItems, SubmitRun};

use crate::{Client, Error, pages, validation};

/// The runs of the caller.
#[derive(Clone, Debug)]
pub struct Runs {
    client: Client,
}

impl Runs {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    /// Submits a run. Before anything is billed, the version is resolved and recorded in the
    /// submission if none is named, and every item is checked ([`validate`](crate::validate)).
    ///
    /// The request is sent once – and once more only after a 401, which says that it was not
    /// accepted: the platform bills what it accepts, and cannot recognise a submission that comes twice.
    ///
    /// # Errors
    ///
    /// [`Error::problems`] if items are not what the application asks for; otherwise the platform
    /// could not be asked, or refused. After [`ApiError::is_uncertain`](platform_api::ApiError::is_uncertain)
    /// the run may have been accepted all the same.
    pub async fn submit(&self, mut submission: RunSubmission) -> Result<RunHandle, Error> {
        let applications = self.client.applications();
        let number = match &submission.version_number {
            Some(number) => number.as_str().into(),
            None => applications.latest_version(&submission.application_id).await?,
        };
        let version = applications.version(&submission.application_id, &number).await?;
        validation::validate(&version, &submission)?;
        submission.version_number = Some(number.to_string());
        let submitted = self.client.api.send(&SubmitRun::new(submission)).await?;
        Ok(self.client.run(submitted.run_id.as_str()))
    }
}

/// One run. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RunHandle {
    pub(crate) client: Client,
    pub(crate) id: RunId,
}

impl RunHandle {
    pub(crate) fn new(client: Client, id: RunId) -> Self {
        Self { client, id }
    }

    /// The name that the platform gave the run.
    pub fn id(&self) -> &RunId {
        &self.id
    }

    /// The run and how far it is.
    ///
    /// # Errors
    ///
    /// The platform could not be asked, or there is no such run for the caller.
    pub async fn get(&self) -> Result<Run, Error> {
        Ok(self.client.api.send(&GetRun::new(self.id.as_str())).await?)
    }

    /// All items of the run, page after page. The stream fails at the first page that cannot be had.
    pub fn items(&self) -> impl Stream<Item = Result<Item, Error>> + Send + use<> {
        let run = self.clone();
        pages::all(move |page| {
            let request = ListRunItems::new(run.id.as_str()).with_page(page).with_page_size(pages::SIZE);
            let api = run.client.api.clone();
            async move { api.send(&request).await }
        })
    }
}
