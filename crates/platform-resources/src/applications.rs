use futures_util::stream::TryStreamExt;
use platform_api::models::{
    Application, ApplicationId, ApplicationSummary, ApplicationVersion, VersionNumber, VersionSummary,
};
use platform_api::operations::{GetApplication, GetApplicationVersion, ListApplications};

use crate::core::Group;
use crate::{Client, Documents, Error, List};

/// The applications that the caller may use.
#[derive(Clone, Debug)]
pub struct Applications {
    client: Client,
}

impl Applications {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    /// All of them.
    pub fn list(&self) -> List<ApplicationSummary> {
        self.list_with(ListApplications::new())
    }

    /// All of them, as `query` sorts them and in pages of its size. Its page is of no account.
    pub fn list_with(&self, query: ListApplications) -> List<ApplicationSummary> {
        List::of(&self.client.core, query)
    }

    /// One application with its versions.
    ///
    /// # Errors
    ///
    /// The platform could not be asked, or there is no such application.
    pub async fn get(&self, id: &ApplicationId) -> Result<Application, Error> {
        self.client.core.read(GetApplication::new(id.as_str()), Group::Application).await
    }

    /// The versions of an application that the caller may use, the highest first (Semantic Versioning 2.0.0, section 11);
    /// those that are none by that standard come last.
    ///
    /// # Errors
    ///
    /// Those of [`get`](Self::get).
    pub async fn versions(&self, id: &ApplicationId) -> Result<Vec<VersionSummary>, Error> {
        let mut versions = self.get(id).await?.versions;
        // The highest first, and `None` is the lowest.
        versions.sort_by_cached_key(|version| std::cmp::Reverse(semver::Version::parse(version.number.as_str()).ok()));
        Ok(versions)
    }

    /// What a version of an application takes in and gives out.
    ///
    /// # Errors
    ///
    /// The platform could not be asked, or there is no such version.
    pub async fn version(&self, id: &ApplicationId, version: &VersionNumber) -> Result<ApplicationVersion, Error> {
        self.client.core.read(GetApplicationVersion::new(id.as_str(), version.as_str()), Group::Version).await
    }

    /// The highest version of an application that the caller may use.
    ///
    /// # Errors
    ///
    /// The platform could not be asked, or there is no such application or no version of it.
    pub async fn latest_version(&self, id: &ApplicationId) -> Result<VersionNumber, Error> {
        let applications = self.list();
        let mut found = std::pin::pin!(
            applications.try_filter(|application| std::future::ready(application.application_id == *id))
        );
        let version = found.try_next().await?.and_then(|application| application.latest_version);
        version.map(|version| version.number).ok_or_else(|| Error::no_version(id))
    }

    /// The documents of a version of an application.
    pub fn documents(&self, id: &ApplicationId, version: &VersionNumber) -> Documents {
        Documents::new(self.client.clone(), id.clone(), version.clone())
    }
}
