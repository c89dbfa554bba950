//! Who else sees what.

use platform_api::models::{
    Grant, GrantCreation, GrantId, ShareToken, ShareTokenCreated, ShareTokenCreation, ShareTokenId,
};
use platform_api::operations::{
    CreateGrant, CreateShareToken, GetGrant, GetShareToken, ListGrants, ListShareTokens, RevokeGrant, RevokeShareToken,
};

use crate::core::{Core, Group};
use crate::{Creation, Done, Error, List};

/// What was granted: who may see which run.
#[derive(Clone, Debug)]
pub struct Grants {
    core: Core,
}

/// Share tokens: whoever has one, and a login of the platform, sees what was granted to it.
#[derive(Clone, Debug)]
pub struct ShareTokens {
    core: Core,
}

impl Grants {
    pub(crate) fn new(core: Core) -> Self {
        Self { core }
    }

    /// All of them.
    pub fn list(&self) -> List<Grant> {
        self.list_with(ListGrants::new())
    }

    /// Those that `query` asks for. Its page is of no account.
    pub fn list_with(&self, query: ListGrants) -> List<Grant> {
        List::of(&self.core, query)
    }

    /// One of them.
    ///
    /// # Errors
    ///
    /// The platform could not be asked, or there is no such grant.
    pub async fn get(&self, id: &GrantId) -> Result<Grant, Error> {
        self.core.read(GetGrant::new(id.as_str()), Group::Access).await
    }

    /// Grants something. It is asked for once: nobody knows of an answer that did not come.
    ///
    /// # Errors
    ///
    /// The platform could not be asked, or refused.
    pub async fn create(&self, grant: GrantCreation) -> Result<Grant, Error> {
        let timeout = self.core.settings().run.timeout;
        self.core.create(CreateGrant::new(grant), timeout, &[Group::Access, Group::Run], Creation::Grant).await
    }

    /// Takes a grant back, if that was not done before.
    ///
    /// # Errors
    ///
    /// The platform could not be asked, or there is no such grant.
    pub async fn revoke(&self, id: &GrantId) -> Result<Done, Error> {
        let timeout = self.core.settings().run.timeout;
        let revoked = self.core.change(RevokeGrant::new(id.as_str()), timeout, &[Group::Access, Group::Run]).await;
        Done::of(revoked)
    }
}

impl ShareTokens {
    pub(crate) fn new(core: Core) -> Self {
        Self { core }
    }

    /// All of them, without their secrets.
    pub fn list(&self) -> List<ShareToken> {
        self.list_with(ListShareTokens::new())
    }

    /// Those that `query` asks for. Its page is of no account.
    pub fn list_with(&self, query: ListShareTokens) -> List<ShareToken> {
        List::of(&self.core, query)
    }

    /// One of them, without its secret.
    ///
    /// # Errors
    ///
    /// The platform could not be asked, or there is no such token.
    pub async fn get(&self, id: &ShareTokenId) -> Result<ShareToken, Error> {
        self.core.read(GetShareToken::new(id.as_str()), Group::Access).await
    }

    /// Makes one, whose secret is told this once. It opens nothing before something is granted to it.
    ///
    /// # Errors
    ///
    /// The platform could not be asked, or refused.
    pub async fn create(&self, token: ShareTokenCreation) -> Result<ShareTokenCreated, Error> {
        let timeout = self.core.settings().run.timeout;
        self.core.create(CreateShareToken::new(token), timeout, &[Group::Access], Creation::ShareToken).await
    }

    /// Ends one, if that was not done before.
    ///
    /// # Errors
    ///
    /// The platform could not be asked, or there is no such token.
    pub async fn revoke(&self, id: &ShareTokenId) -> Result<Done, Error> {
        let timeout = self.core.settings().run.timeout;
        let revoked = self.core.change(RevokeShareToken::new(id.as_str()), timeout, &[Group::Access, Group::Run]).await;
        Done::of(revoked)
    }
}
