//! Grants and share tokens.

use platform_api::models::{
    Grant, GrantCreation, GrantId, ShareToken, ShareTokenCreated, ShareTokenCreation, ShareTokenId,
};
use platform_api::operations::{
    CreateGrant, CreateShareToken, GetGrant, GetShareToken, ListGrants, ListShareTokens, RevokeGrant, RevokeShareToken,
};

use crate::client::Client;
use crate::core::{Core, Group};
use crate::critical::Creation;
use crate::error::Error;
use crate::outcome::ChangeOutcome;
use crate::pages::List;

/// Grants: permissions that give a subject, such as an organization, access to a resource, such as a run.
#[derive(Clone, Debug)]
pub struct Grants {
    core: Core,
}

/// Share tokens: secrets that can be the subject of grants. A logged-in user who presents a share token can read the
/// resources that were granted to it.
#[derive(Clone, Debug)]
pub struct ShareTokens {
    core: Core,
}

impl Client {
    /// Returns a handle for the grants that the caller can see.
    pub fn grants(&self) -> Grants {
        Grants { core: self.core.clone() }
    }

    /// Returns a handle for the caller's share tokens.
    pub fn share_tokens(&self) -> ShareTokens {
        ShareTokens { core: self.core.clone() }
    }
}

impl Grants {
    /// Lists all grants.
    pub fn list(&self) -> List<Grant> {
        self.list_with(ListGrants::new())
    }

    /// Lists the grants that match `query`. The page number of the query is ignored.
    pub fn list_with(&self, query: ListGrants) -> List<Grant> {
        List::of(&self.core, query)
    }

    /// Returns a grant.
    ///
    /// # Errors
    ///
    /// [`Error::is_not_found`]: the grant does not exist. Otherwise the request failed.
    pub async fn get(&self, id: &GrantId) -> Result<Grant, Error> {
        self.core.read_cached(GetGrant::new(id.as_str()), Group::Access).await
    }

    /// Creates a grant. If the response is lost, the request is not sent again, because it may have taken effect.
    ///
    /// # Errors
    ///
    /// The request failed.
    pub async fn create(&self, grant: GrantCreation) -> Result<Grant, Error> {
        let timeout = self.core.settings().run.timeout;
        self.core.create(CreateGrant::new(grant), timeout, &[Group::Access, Group::Run], Creation::Grant).await
    }

    /// Revokes a grant. Returns [`ChangeOutcome::AlreadyApplied`] if it was revoked before.
    ///
    /// # Errors
    ///
    /// [`Error::is_not_found`]: the grant does not exist. Otherwise the request failed.
    pub async fn revoke(&self, id: &GrantId) -> Result<ChangeOutcome, Error> {
        let timeout = self.core.settings().run.timeout;
        let outcome = self.core.change(RevokeGrant::new(id.as_str()), timeout, &[Group::Access, Group::Run]).await;
        ChangeOutcome::of(outcome)
    }
}

impl ShareTokens {
    /// Lists all share tokens, without their secrets.
    pub fn list(&self) -> List<ShareToken> {
        self.list_with(ListShareTokens::new())
    }

    /// Lists the share tokens that match `query`, without their secrets. The page number of the query is ignored.
    pub fn list_with(&self, query: ListShareTokens) -> List<ShareToken> {
        List::of(&self.core, query)
    }

    /// Returns a share token, without its secret.
    ///
    /// # Errors
    ///
    /// [`Error::is_not_found`]: the token does not exist. Otherwise the request failed.
    pub async fn get(&self, id: &ShareTokenId) -> Result<ShareToken, Error> {
        self.core.read_cached(GetShareToken::new(id.as_str()), Group::Access).await
    }

    /// Creates a share token. Only this call returns its secret. The token gives no access until it is the subject of a
    /// grant. If the response is lost, the request is not sent again.
    ///
    /// # Errors
    ///
    /// The request failed.
    pub async fn create(&self, token: ShareTokenCreation) -> Result<ShareTokenCreated, Error> {
        let timeout = self.core.settings().run.timeout;
        self.core.create(CreateShareToken::new(token), timeout, &[Group::Access], Creation::ShareToken).await
    }

    /// Revokes a share token. Returns [`ChangeOutcome::AlreadyApplied`] if it was revoked before.
    ///
    /// # Errors
    ///
    /// [`Error::is_not_found`]: the token does not exist. Otherwise the request failed.
    pub async fn revoke(&self, id: &ShareTokenId) -> Result<ChangeOutcome, Error> {
        let timeout = self.core.settings().run.timeout;
        let outcome = self.core.change(RevokeShareToken::new(id.as_str()), timeout, &[Group::Access, Group::Run]).await;
        ChangeOutcome::of(outcome)
    }
}
