use futures_util::stream::TryStreamExt;
use platform_api::models::{
    Application, ApplicationId, ApplicationSummary, ApplicationVersion, VersionNumber, VersionSummary,
};
use platform_api::operations::{GetApplication, GetApplicationVersion, ListApplications};

use crate::client::Client;
use crate::core::Group;
use crate::documents::Documents;
use crate::error::Error;
use crate::pages::List;

/// The applications available to the caller.
#[derive(Clone, Debug)]
pub struct Applications {
    client: Client,
}

impl Client {
    /// Returns the applications available to the caller.
    pub fn applications(&self) -> Applications {
        Applications { client: self.clone() }
    }
}

impl Applications {
    /// Lists all applications.
    pub fn list(&self) -> List<ApplicationSummary> {
        self.list_with(ListApplications::new())
    }

    /// Lists all applications with the order and page size of `query`. The page number of the query is ignored.
    pub fn list_with(&self, query: ListApplications) -> List<ApplicationSummary> {
        List::of(&self.client.core, query)
    }

    /// Returns an application with its versions.
    ///
    /// # Errors
    ///
    /// The request failed, or the application does not exist.
    pub async fn get(&self, id: &ApplicationId) -> Result<Application, Error> {
        self.client.core.read_cached(GetApplication::new(id.as_str()), Group::Application).await
    }

    /// Returns the versions of an application that are available to the caller, in descending order of precedence
    /// (Semantic Versioning 2.0.0, section 11). Versions with an invalid number come last.
    ///
    /// # Errors
    ///
    /// The same as [`get`](Self::get).
    pub async fn versions(&self, id: &ApplicationId) -> Result<Vec<VersionSummary>, Error> {
        let mut versions = self.get(id).await?.versions;
        // A number that is not valid becomes `None`, which is last in descending order.
        versions.sort_by_cached_key(|version| std::cmp::Reverse(semver::Version::parse(version.number.as_str()).ok()));
        Ok(versions)
    }

    /// Returns a version of an application, with its inputs and outputs.
    ///
    /// # Errors
    ///
    /// The request failed, or the version does not exist.
    pub async fn version(&self, id: &ApplicationId, version: &VersionNumber) -> Result<ApplicationVersion, Error> {
        self.client.core.read_cached(GetApplicationVersion::new(id.as_str(), version.as_str()), Group::Version).await
    }

    /// Returns the latest version of an application according to the platform.
    ///
    /// # Errors
    ///
    /// The request failed, the application does not exist, or it has no version.
    pub async fn latest_version(&self, id: &ApplicationId) -> Result<VersionNumber, Error> {
        let applications = self.list();
        let mut matching_applications = std::pin::pin!(
            applications.try_filter(|application| std::future::ready(application.application_id == *id))
        );
        let version = matching_applications.try_next().await?.and_then(|application| application.latest_version);
        version.map(|version| version.number).ok_or_else(|| Error::no_version(id))
    }

    /// Returns the documents of an application version.
    pub fn documents(&self, id: &ApplicationId, version: &VersionNumber) -> Documents {
        Documents::new(self.client.clone(), id.clone(), version.clone())
    }
}
