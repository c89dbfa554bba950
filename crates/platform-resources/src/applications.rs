use futures_util::stream::{Stream, TryStreamExt};
use platform_api::models::{ApplicationId, ApplicationSummary, ApplicationVersion, VersionNumber};
use platform_api::operations::{GetApplicationVersion, ListApplications};

use crate::{Error, pages};

/// The applications that the caller may use.
#[derive(Clone, Debug)]
pub struct Applications {
    api: platform_api::Client,
}

impl Applications {
    pub(crate) fn new(api: platform_api::Client) -> Self {
        Self { api }
    }

    /// All of them, page after page. The stream fails at the first page that cannot be had.
    pub fn list(&self) -> impl Stream<Item = Result<ApplicationSummary, Error>> + Send + use<> {
        let api = self.api.clone();
        pages::all(move |page| {
            let api = api.clone();
            async move { api.send(&ListApplications::new().with_page(page).with_page_size(pages::SIZE)).await }
        })
    }

    /// What a version of an application takes in and gives out.
    ///
    /// # Errors
    ///
    /// The platform could not be asked, or there is no such version.
    pub async fn version(&self, id: &ApplicationId, version: &VersionNumber) -> Result<ApplicationVersion, Error> {
        Ok(self.api.send(&GetApplicationVersion::new(id.as_str(), version.as_str())).await?)
    }

    /// The highest version of an application that the caller may use.
    ///
    /// # Errors
    ///
    /// The platform could not be asked, or there is no such application or no version of it.
    pub async fn latest_version(&self, id: &ApplicationId) -> Result<VersionNumber, Error> {
        let mut found =
            std::pin::pin!(self.list().try_filter(|application| std::future::ready(application.application_id == *id)));
        let version = found.try_next().await?.and_then(|application| application.latest_version);
        version.map(|version| version.number).ok_or_else(|| Error::no_version(id))
    }
}
