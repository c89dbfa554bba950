//! Grants: rights to see a run, an item, an artifact or a share token.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::Caller;
use super::problem::Problem;
use super::request::{Body, Key, Parameters, PathParameters, uuid};
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
pub(super) struct Creation {
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
    Body(creation): Body<Creation>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let (user, _) = caller.account(&platform)?;
    if creation.relation != "viewer" {
        return Err(Problem::invalid(json!(["body", "relation"]), "Only viewer grants can be created"));
    }
    let create = |records: &mut Records, changes: &mut Changes| {
        let owner = owner(&platform, records, user, &creation)?;
        let grant = Grant {
            id: platform.random.uuid(),
            resource_type: creation.resource_type,
            resource: creation.resource_id,
            owner,
            subject_type: creation.subject_type,
            subject: subject(&platform, records, user, &creation)?,
            created_by: user.id.clone(),
            created_at: platform.timestamp(),
            revoked: false,
        };
        changes.grant(&grant);
        let response = describe(&grant);
        records.grants.insert(grant.id, grant);
        Ok((StatusCode::CREATED, Json(response)))
    };
    platform.state.change(create).await
}

/// Returns the id of the resource's owner. If the user may not grant access to the resource, returns an error.
fn owner(platform: &Platform, records: &Records, user: &User, creation: &Creation) -> Result<String, Problem> {
    let id = creation.resource_id;
    let run = |is: &dyn Fn(&Run) -> bool| {
        let run = records.runs.values().find(|run| is(run));
        run.map(|run| (run.submitted_by.clone(), run.organization.clone()))
    };
    let owner = match creation.resource_type {
        ResourceType::Run => run(&|run| run.id == id),
        ResourceType::Item => run(&|run| run.items.iter().any(|item| item.id == id)),
        ResourceType::OutputArtifact => {
            run(&|run| run.items.iter().flat_map(Item::artifacts).any(|artifact| artifact.id == id))
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
fn subject(platform: &Platform, records: &Records, user: &User, creation: &Creation) -> Result<String, Problem> {
    let unknown = |field: &str| Problem::invalid(json!(["body", field]), "There is no such subject");
    let id = creation.subject_id.as_deref();
    let known = match (creation.subject_type, id, &creation.subject_email) {
        (SubjectType::User, None, Some(email)) => {
            return platform.accounts.user_by_email(email).map(|user| user.id.clone()).ok_or(unknown("subject_email"));
        }
        (_, None, _) => return Err(Problem::invalid(json!(["body", "subject_id"]), "Field required")),
        (SubjectType::User, Some(id), _) => platform.accounts.user(id).is_some(),
        (SubjectType::OrganizationAdmin | SubjectType::OrganizationUser, Some(id), _) => {
            platform.accounts.organization(id).is_some()
        }
        (SubjectType::ShareToken, Some(id), _) => {
            let token = id.parse().ok().and_then(|id: Uuid| records.share_tokens.get(&id));
            // Formatted again, because grants compare the text of the id.
            return match token {
                Some(token) if token.created_by == user.id => Ok(token.id.to_string()),
                Some(_) => Err(Problem::Forbidden),
                None => Err(unknown("subject_id")),
            };
        }
    };
    if known { Ok(id.unwrap_or_default().to_owned()) } else { Err(unknown("subject_id")) }
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
    let (resource, subject) = (parameters.uuid("resource_id")?, parameters.text("subject_id"));
    let (relation, revoked) = (parameters.one_of("relation", &RELATIONS)?, parameters.boolean("revoked")?);
    // All grants have the relation `viewer`.
    let viewers = relation.is_none() || parameters.texts("relation").any(|relation| relation == "viewer");
    platform.state.read(|records| {
        let is_match = |grant: &&Grant| {
            viewers
                && may_see(&platform, user, grant)
                && resource_type.is_none_or(|wanted| json!(grant.resource_type) == wanted)
                && subject_type.is_none_or(|wanted| json!(grant.subject_type) == wanted)
                && resource.is_none_or(|wanted| grant.resource == wanted)
                && subject.is_none_or(|wanted| grant.subject == wanted)
                && revoked.is_none_or(|wanted| grant.revoked == wanted)
        };
        let mut grants: Vec<&Grant> = records.grants.values().filter(is_match).collect();
        sort.apply(&mut grants, |grant, field| match field {
            "created_at" => Key::moment(Some(grant.created_at)),
            field => Key::value(&describe(grant)[field]),
        });
        Ok(Json(page.of(grants).into_iter().map(describe).collect()))
    })
}

pub(super) async fn get(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    PathParameters(id): PathParameters<String>,
) -> Result<Json<Value>, Problem> {
    let id = uuid("grant_id", &id)?;
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
    let id = uuid("grant_id", &id)?;
    let (user, _) = caller.account(&platform)?;
    let revoke = |records: &mut Records, changes: &mut Changes| {
        let grant = records.grants.get_mut(&id).ok_or(Problem::NotFound("Grant not found"))?;
        if !may_revoke(&platform, user, grant) {
            return Err(Problem::Forbidden);
        }
        if grant.revoked {
            return Err(Problem::Conflict("The grant is revoked already"));
        }
        grant.revoked = true;
        changes.grant(grant);
        Ok(Json(describe(grant)))
    };
    platform.state.change(revoke).await
}
