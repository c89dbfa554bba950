//! The readers of a run: grants and share tokens.

use std::fmt;
use std::time::SystemTime;

use futures_util::TryStreamExt;
use platform_api::Timestamp;
use platform_api::models::{
    Grant, GrantId, ResourceType, RunId, ShareToken, ShareTokenCreated, ShareTokenCreation, ShareTokenId, SubjectType,
};
use platform_api::operations::{ListGrants, ListShareTokens};

use crate::client::Client;
use crate::error::Error;
use crate::run::{RunHandle, Viewer};

/// A right to read a run: a grant, or a share token without a grant.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AccessRight {
    /// The grant, if there is one.
    pub grant: Option<Grant>,
    /// The share token: the subject of the grant, or a share token without a grant. `None` if another subject has the
    /// grant.
    pub share_token: Option<ShareToken>,
}

/// The state of an [`AccessRight`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AccessState {
    /// The run can be read.
    Active,
    /// The share token has expired.
    Expired,
    /// The grant or the share token was revoked.
    Revoked,
}

impl Client {
    /// Returns the rights to read `run`, or all runs with `None`: all grants, including revoked grants, sorted by run
    /// and creation time. With `None`, also returns all share tokens without a grant.
    ///
    /// # Errors
    ///
    /// [`Error::is_not_found`]: the run does not exist. Otherwise a request failed.
    pub async fn access_rights(&self, run: Option<&RunId>) -> Result<Vec<AccessRight>, Error> {
        let client = self.clone().no_cache();
        let mut query = ListGrants::new().with_resource_type(ResourceType::Run);
        if let Some(run) = run {
            client.run(run.clone()).get().await?;
            query = query.with_resource_id(run.as_str());
        }
        let mut grants: Vec<Grant> = client.grants().list_with(query).try_collect().await?;
        grants.sort_by_key(|grant| (grant.resource_id.clone(), SystemTime::from(grant.created_at)));
        let tokens: Vec<ShareToken> = client.share_tokens().list().try_collect().await?;
        let has_grant =
            |token: &ShareToken| grants.iter().any(|grant| grant.subject_id == token.share_token_id.as_str());
        let unused_tokens: Vec<_> = tokens.iter().filter(|token| run.is_none() && !has_grant(token)).cloned().collect();
        let token_of = |grant: &Grant| {
            let is_for_token = grant.subject_type == SubjectType::ShareToken;
            tokens.iter().find(|token| is_for_token && grant.subject_id == token.share_token_id.as_str()).cloned()
        };
        let rights = grants.into_iter().map(|grant| AccessRight { share_token: token_of(&grant), grant: Some(grant) });
        Ok(rights
            .chain(unused_tokens.into_iter().map(|token| AccessRight { grant: None, share_token: Some(token) }))
            .collect())
    }
}

impl AccessRight {
    /// Returns the state of the right at a time.
    pub fn state(&self, now: SystemTime) -> AccessState {
        let token = self.share_token.as_ref();
        let is_revoked =
            self.grant.as_ref().is_some_and(|grant| grant.revoked) || token.is_some_and(|token| token.revoked);
        match self.expires_at() {
            _ if is_revoked => AccessState::Revoked,
            Some(end) if SystemTime::from(end) <= now => AccessState::Expired,
            _ => AccessState::Active,
        }
    }

    /// Returns the kind of subject that has the right.
    pub fn subject_type(&self) -> SubjectType {
        self.grant.as_ref().map_or(SubjectType::ShareToken, |grant| grant.subject_type.clone())
    }

    /// Returns the id of the subject.
    pub fn subject_id(&self) -> &str {
        let token = self.share_token.as_ref().map(|token| token.share_token_id.as_str());
        self.grant.as_ref().map(|grant| grant.subject_id.as_str()).or(token).unwrap_or_default()
    }

    /// Returns the time at which the grant, or else the share token, was created.
    pub fn created_at(&self) -> Option<Timestamp> {
        let token = self.share_token.as_ref().map(|token| token.created_at);
        self.grant.as_ref().map(|grant| grant.created_at).or(token)
    }

    /// Returns the time at which the share token expires, if it does.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.share_token.as_ref()?.expires_at
    }
}

impl fmt::Display for AccessState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Active => "active",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        })
    }
}

impl RunHandle {
    /// Returns the grants on the run that are not revoked. With `subject_type`, returns only the grants to subjects of
    /// this type. A missing run is an error, although the platform would return an empty list.
    ///
    /// # Errors
    ///
    /// [`Error::is_not_found`]: the run does not exist. Otherwise a request failed.
    pub async fn valid_grants(&self, subject_type: Option<SubjectType>) -> Result<Vec<Grant>, Error> {
        let run = self.clone().no_cache();
        run.get().await?;
        let query = ListGrants::new().with_resource_type(ResourceType::Run).with_resource_id(self.id().as_str());
        let mut query = query.with_revoked(false);
        query.subject_type = subject_type;
        let grants: Vec<Grant> = run.client.grants().list_with(query).try_collect().await?;
        Ok(grants.into_iter().filter(|grant| !grant.revoked).collect())
    }

    /// Returns the share tokens that are subjects of these grants on the run.
    ///
    /// # Errors
    ///
    /// A request failed.
    pub async fn share_tokens_of(&self, grants: &[Grant]) -> Result<Vec<ShareToken>, Error> {
        let query = ListShareTokens::new().with_run_id(self.id().as_str());
        let tokens: Vec<ShareToken> =
            self.client.clone().no_cache().share_tokens().list_with(query).try_collect().await?;
        let is_subject =
            |token: &ShareToken| grants.iter().any(|grant| grant.subject_id == token.share_token_id.as_str());
        Ok(tokens.into_iter().filter(is_subject).collect())
    }

    /// Creates a share token for the run, with an optional expiry time. The token is revoked if its grant cannot be
    /// created. Open a [critical section](crate::CriticalSections::enter) to prevent an interruption between the two
    /// requests.
    ///
    /// # Errors
    ///
    /// A request failed.
    pub async fn share_by_token(&self, expires_at: Option<Timestamp>) -> Result<ShareTokenCreated, Error> {
        let tokens = self.client.share_tokens();
        let creation = expires_at.into_iter().fold(ShareTokenCreation::new(), ShareTokenCreation::with_expires_at);
        let token = tokens.create(creation).await?;
        let id = token.share_token_id.clone();
        match self.share_with(Viewer::ShareToken(id.to_string())).await {
            Ok(_) => Ok(token),
            Err(error) => {
                if let Err(error) = tokens.revoke(&id).await {
                    tracing::warn!(%error, token = %id, "cannot revoke an unused share token");
                }
                Err(error)
            }
        }
    }

    /// Revokes the valid grants on the run to a subject, and returns the ids of these grants.
    ///
    /// # Errors
    ///
    /// The same as [`valid_grants`](Self::valid_grants), or a grant cannot be revoked.
    pub async fn stop_sharing_with(&self, kind: SubjectType, subject_id: &str) -> Result<Vec<GrantId>, Error> {
        let grants = self.valid_grants(Some(kind)).await?;
        self.revoke_grants_to(subject_id, grants).await
    }

    /// Revokes the valid grants on the run to a share token. With `everywhere`, also revokes the token itself. Returns
    /// the ids of the revoked grants, which are none if the token gives no access to the run.
    ///
    /// # Errors
    ///
    /// The same as [`stop_sharing_with`](Self::stop_sharing_with), or the token cannot be revoked.
    pub async fn revoke_share_token(&self, token: &ShareTokenId, everywhere: bool) -> Result<Vec<GrantId>, Error> {
        let grants = self.valid_grants(Some(SubjectType::ShareToken)).await?;
        if everywhere {
            self.client.share_tokens().revoke(token).await?;
        }
        self.revoke_grants_to(token.as_str(), grants).await
    }

    async fn revoke_grants_to(&self, subject_id: &str, grants: Vec<Grant>) -> Result<Vec<GrantId>, Error> {
        let mut revoked_ids = Vec::new();
        for grant in grants.into_iter().filter(|grant| grant.subject_id == subject_id) {
            self.client.grants().revoke(&grant.grant_id).await?;
            revoked_ids.push(grant.grant_id);
        }
        Ok(revoked_ids)
    }
}
