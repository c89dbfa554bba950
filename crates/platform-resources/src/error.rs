use platform_api::ApiError;

use crate::Problem;

/// Why the platform did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Error(#[from] Kind);

#[derive(Debug, thiserror::Error)]
enum Kind {
    #[error(transparent)]
    Api(ApiError),
    #[error("the run was not submitted: its inputs are not what the application asks for (problems: {})", .0.len())]
    Invalid(Vec<Problem>),
    #[error("there is no application {0} with a version that the caller may use")]
    NoVersion(String),
    #[cfg(feature = "download")]
    #[error("the bucket of the organisation cannot be used")]
    Bucket(#[source] platform_download::BucketError),
}

impl From<ApiError> for Error {
    fn from(error: ApiError) -> Self {
        Kind::Api(error).into()
    }
}

#[cfg(feature = "download")]
impl From<platform_download::BucketError> for Error {
    fn from(error: platform_download::BucketError) -> Self {
        Kind::Bucket(error).into()
    }
}

impl Error {
    pub(crate) fn invalid(problems: Vec<Problem>) -> Self {
        Kind::Invalid(problems).into()
    }

    pub(crate) fn no_version(application: &impl ToString) -> Self {
        Kind::NoVersion(application.to_string()).into()
    }

    /// What the platform or the way to it has to do with the failure, if anything.
    pub fn api(&self) -> Option<&ApiError> {
        match &self.0 {
            Kind::Api(error) => Some(error),
            _ => None,
        }
    }

    /// There is no such thing, or none that the caller may see.
    pub fn is_not_found(&self) -> bool {
        self.api().is_some_and(ApiError::is_not_found)
    }

    /// All that is wrong with a submission; empty if that is not the reason.
    pub fn problems(&self) -> &[Problem] {
        match &self.0 {
            Kind::Invalid(problems) => problems,
            _ => &[],
        }
    }
}
