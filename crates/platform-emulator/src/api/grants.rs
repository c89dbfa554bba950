//! Grants: permissions to see a run, an item, an artifact or a share token.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::Caller;
use super::problem::Problem;
use super::request::{Body, Parameters, PathParameters, SortKey, parse_uuid};
use crate::account::User;
use crate::platform::Platform;
use crate::state::Records;
use crate::state::access::{Grant, ResourceType, SubjectType};
use crate::state::run::{Item, Run};
use crate::state::store::Changes;

const RELATIONS: [&str; 3] = ["owner", "editor", "viewer"];
const RESOURCE_TYPES: [&str; 4] = ["run", "item", "output_artifact", "share_token"];
const SUBJECT_TYPES: [&str; 4] = ["user", "organization_admin", "organization_user", "share_token"];
const SORT_FIELDS: [&str; 7] =
    ["grant_id", "resource_type", "resource_id", "subject_type", "subject_id", "created_by", "created_at"];

#[derive(Deserialize)]
pub(super) struct NewGrant {
    resource_type: ResourceType,
    resource_id: Uuid,
    subject_type: SubjectType,
    subject_id: Option<String>,
    subject_email: Option<String>,
    relation: String,
}

fn describe(grant: &Grant) -> Value {
    json!({
        "grant_id": grant.id,
        "resource_type": grant.resource_type,
        "resource_id": grant.resource,
        "subject_type": grant.subject_type,
        "subject_id": grant.subject,
        "relation": "viewer",
        "created_by": grant.created_by,
        "created_at": grant.created_at.to_string(),
        "revoked": grant.revoked,
    })
}

pub(super) async fn create(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    Body(new_grant): Body<NewGrant>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let (user, _) = caller.account(&platform)?;
    if new_grant.relation != "viewer" {
        return Err(Problem::invalid(json!(["body", "relation"]), "Only viewer grants can be created"));
    }
    let create = |records: &mut Records, changes: &mut Changes| {
        let owner = owner_of_resource(&platform, records, user, &new_grant)?;
        let grant = Grant {
            id: platform.random.uuid(),
            resource_type: new_grant.resource_type,
            resource: new_grant.resource_id,
            owner,
            subject_type: new_grant.subject_type,
            subject: subject_id(&platform, records, user, &new_grant)?,
            created_by: user.id.clone(),
            created_at: platform.timestamp(),
            revoked: false,
        };
        changes.put_grant(&grant);
        let response = describe(&grant);
        records.grants.insert(grant.id, grant);
        Ok((StatusCode::CREATED, Json(response)))
    };
    platform.state.change(create).await
}

/// Returns the id of the resource's owner. Returns an error if the user may not grant access to the resource.
fn owner_of_resource(
    platform: &Platform,
    records: &Records,
    user: &User,
    new_grant: &NewGrant,
) -> Result<String, Problem> {
    let id = new_grant.resource_id;
    let owner_of_run = |matches: &dyn Fn(&Run) -> bool| {
        let run = records.runs.values().find(|run| matches(run));
        run.map(|run| (run.submitted_by.clone(), run.organization.clone()))
    };
    let owner = match new_grant.resource_type {
        ResourceType::Run => owner_of_run(&|run| run.id == id),
        ResourceType::Item => owner_of_run(&|run| run.items.iter().any(|item| item.id == id)),
        ResourceType::OutputArtifact => {
            owner_of_run(&|run| run.items.iter().flat_map(Item::artifacts).any(|artifact| artifact.id == id))
        }
        ResourceType::ShareToken => records.share_tokens.get(&id).map(|token| {
            let organization = platform.accounts.user(&token.created_by).map(|user| user.organization.clone());
            (token.created_by.clone(), organization.unwrap_or_default())
        }),
    };
    let (owner, organization) = owner.ok_or(Problem::NotFound("Resource not found"))?;
    if user.manages(&owner, &organization) { Ok(owner) } else { Err(Problem::Forbidden) }
}

/// Returns the id of the subject that receives access.
fn subject_id(platform: &Platform, records: &Records, user: &User, new_grant: &NewGrant) -> Result<String, Problem> {
    let unknown_subject = |field: &str| Problem::invalid(json!(["body", field]), "There is no such subject");
    let id = new_grant.subject_id.as_deref();
    let is_known = match (new_grant.subject_type, id, &new_grant.subject_email) {
        (SubjectType::User, None, Some(email)) => {
            return platform
                .accounts
                .user_by_email(email)
                .map(|user| user.id.clone())
                .ok_or(unknown_subject("subject_email"));
        }
        (_, None, _) => return Err(Problem::invalid(json!(["body", "subject_id"]), "Field required")),
        (SubjectType::User, Some(id), _) => platform.accounts.user(id).is_some(),
        (SubjectType::OrganizationAdmin | SubjectType::OrganizationUser, Some(id), _) => {
            platform.accounts.organization(id).is_some()
        }
        (SubjectType::ShareToken, Some(id), _) => {
            let token = id.parse().ok().and_then(|id: Uuid| records.share_tokens.get(&id));
            // The id is formatted again, because grants compare its canonical text.
            return match token {
                Some(token) if token.created_by == user.id => Ok(token.id.to_string()),
                Some(_) => Err(Problem::Forbidden),
                None => Err(unknown_subject("subject_id")),
            };
        }
    };
    if is_known { Ok(id.unwrap_or_default().to_owned()) } else { Err(unknown_subject("subject_id")) }
}

/// Returns true if the user is the owner of the resource, the creator of the grant, or its subject.
fn may_see(platform: &Platform, user: &User, grant: &Grant) -> bool {
    may_revoke(platform, user, grant)
        || match grant.subject_type {
            SubjectType::User => grant.subject == user.id,
            SubjectType::OrganizationUser => grant.subject == user.organization,
            SubjectType::OrganizationAdmin => user.administers(&grant.subject),
            SubjectType::ShareToken => false,
        }
}

fn may_revoke(platform: &Platform, user: &User, grant: &Grant) -> bool {
    let organization = platform.accounts.user(&grant.owner).map_or("", |owner| &owner.organization);
    grant.created_by == user.id || user.manages(&grant.owner, organization)
}

pub(super) async fn list(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    parameters: Parameters,
) -> Result<Json<Vec<Value>>, Problem> {
    let (user, _) = caller.account(&platform)?;
    let (page, sort) = (parameters.page()?, parameters.sort(&SORT_FIELDS)?);
    let resource_type = parameters.one_of("resource_type", &RESOURCE_TYPES)?;
    let subject_type = parameters.one_of("subject_type", &SUBJECT_TYPES)?;
    let (resource, subject) = (parameters.uuid("resource_id")?, parameters.value("subject_id"));
    let (relation, revoked) = (parameters.one_of("relation", &RELATIONS)?, parameters.boolean("revoked")?);
    // All grants have the relation `viewer`.
    let includes_viewers = relation.is_none() || parameters.values("relation").any(|relation| relation == "viewer");
    platform.state.read(|records| {
        let is_match = |grant: &&Grant| {
            includes_viewers
                && may_see(&platform, user, grant)
                && resource_type.is_none_or(|resource_type| json!(grant.resource_type) == resource_type)
                && subject_type.is_none_or(|subject_type| json!(grant.subject_type) == subject_type)
                && resource.is_none_or(|resource| grant.resource == resource)
                && subject.is_none_or(|subject| grant.subject == subject)
                && revoked.is_none_or(|revoked| grant.revoked == revoked)
        };
        let mut grants: Vec<&Grant> = records.grants.values().filter(is_match).collect();
        sort.apply(&mut grants, |grant, field| match field {
            "created_at" => SortKey::time(Some(grant.created_at)),
            field => SortKey::value(&describe(grant)[field]),
        });
        Ok(Json(page.entries_of(grants).into_iter().map(describe).collect()))
    })
}

pub(super) async fn get(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    PathParameters(id): PathParameters<String>,
) -> Result<Json<Value>, Problem> {
    let id = parse_uuid("grant_id", &id)?;
    let (user, _) = caller.account(&platform)?;
    platform.state.read(|records| {
        let grant = records.grants.get(&id).ok_or(Problem::NotFound("Grant not found"))?;
        if may_see(&platform, user, grant) { Ok(Json(describe(grant))) } else { Err(Problem::Forbidden) }
    })
}

pub(super) async fn revoke(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    PathParameters(id): PathParameters<String>,
) -> Result<Json<Value>, Problem> {
    let id = parse_uuid("grant_id", &id)?;
    let (user, _) = caller.account(&platform)?;
    let revoke = |records: &mut Records, changes: &mut Changes| {
        let grant = records.grants.get_mut(&id).ok_or(Problem::NotFound("Grant not found"))?;
        if !may_revoke(&platform, user, grant) {
            return Err(Problem::Forbidden);
        }
        if grant.revoked {
            return Err(Problem::Conflict("The grant is already revoked"));
        }
        grant.revoked = true;
        changes.put_grant(grant);
        Ok(Json(describe(grant)))
    };
    platform.state.change(revoke).await
}
