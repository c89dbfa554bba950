//! Read and write permissions: owners, administrators, grants and share tokens.

use std::collections::HashSet;

use aws_lc_rs::digest;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::account::User;
use crate::config::Role;
use crate::state::Records;
use crate::state::run::Run;

/// A grant: the permission to see a resource.
#[derive(Clone, Deserialize, Serialize)]
pub(crate) struct Grant {
    pub(crate) id: Uuid,
    pub(crate) resource_type: ResourceType,
    pub(crate) resource: Uuid,
    /// The id of the resource's owner.
    pub(crate) owner: String,
    pub(crate) subject_type: SubjectType,
    /// The id of the user, the organization or the share token that receives access.
    pub(crate) subject: String,
    pub(crate) created_by: String,
    pub(crate) created_at: Timestamp,
    pub(crate) revoked: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ResourceType {
    Run,
    Item,
    OutputArtifact,
    ShareToken,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SubjectType {
    User,
    OrganizationAdmin,
    OrganizationUser,
    ShareToken,
}

/// A share token. A request with the token can read the resources that are granted to the token.
#[derive(Clone, Deserialize, Serialize)]
pub(crate) struct ShareToken {
    pub(crate) id: Uuid,
    /// The SHA-256 of the secret. The secret itself is not stored.
    pub(crate) digest: Vec<u8>,
    pub(crate) created_by: String,
    pub(crate) created_at: Timestamp,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) revoked: bool,
}

impl ShareToken {
    pub(crate) fn digest_of(secret: &str) -> Vec<u8> {
        digest::digest(&digest::SHA256, secret.as_bytes()).as_ref().to_vec()
    }

    fn is_valid(&self, now: Timestamp) -> bool {
        !self.revoked && self.expires_at.is_none_or(|expires_at| now < expires_at)
    }
}

impl User {
    /// Returns true if the user may change resources of `owner` in `organization`.
    pub(crate) fn manages(&self, owner: &str, organization: &str) -> bool {
        self.id == owner || self.administers(organization)
    }

    pub(crate) fn administers(&self, organization: &str) -> bool {
        self.role == Role::Admin && self.organization == organization
    }

    pub(crate) fn manages_run(&self, run: &Run) -> bool {
        self.manages(&run.submitted_by, &run.organization)
    }
}

/// A user who sends a read request, with the grants that apply to the request.
pub(crate) struct Reader<'a> {
    records: &'a Records,
    user: &'a User,
    granted_resources: HashSet<Uuid>,
}

impl<'a> Reader<'a> {
    /// Creates a reader. `share_token_secret` is the share token of the request. An invalid share token is
    /// ignored.
    pub(crate) fn new(records: &'a Records, user: &'a User, share_token_secret: Option<&str>, now: Timestamp) -> Self {
        let digest = share_token_secret.map(ShareToken::digest_of);
        let token = records.share_tokens.values().find(|token| Some(&token.digest) == digest.as_ref());
        let token = token.filter(|token| token.is_valid(now)).map(|token| token.id.to_string());
        let applies = |grant: &&Grant| match grant.subject_type {
            _ if grant.revoked => false,
            SubjectType::User => grant.subject == user.id,
            SubjectType::OrganizationUser => grant.subject == user.organization,
            SubjectType::OrganizationAdmin => user.administers(&grant.subject),
            SubjectType::ShareToken => token.as_ref() == Some(&grant.subject),
        };
        let granted_resources = records.grants.values().filter(applies).map(|grant| grant.resource).collect();
        Self { records, user, granted_resources }
    }

    /// Returns true if the run and everything in it is visible.
    pub(crate) fn can_see_run(&self, run: &Run) -> bool {
        self.user.manages_run(run) || self.granted_resources.contains(&run.id)
    }

    /// Returns true if one of these parts of a run is visible.
    pub(crate) fn can_see_part(&self, run: &Run, parts: &[Uuid]) -> bool {
        self.can_see_run(run) || parts.iter().any(|part| self.granted_resources.contains(part))
    }

    /// Returns true if the run is in the reader's list of runs.
    pub(crate) fn lists_run(&self, run: &Run) -> bool {
        run.submitted_by == self.user.id || self.granted_resources.contains(&run.id)
    }

    pub(crate) fn can_see_share_token(&self, token: &ShareToken, organization: &str) -> bool {
        self.user.manages(&token.created_by, organization) || self.granted_resources.contains(&token.id)
    }

    pub(crate) fn records(&self) -> &'a Records {
        self.records
    }

    pub(crate) fn user(&self) -> &'a User {
        self.user
    }
}
