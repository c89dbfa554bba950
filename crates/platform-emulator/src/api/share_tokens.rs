//! Share tokens: secrets that give access to the resources granted to them.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Caller;
use super::problem::Problem;
use super::request::{Body, Parameters, PathParameters, SortKey, parse_uuid};
use crate::clock::truncated_to_microseconds;
use crate::platform::Platform;
use crate::state::Records;
use crate::state::access::{Reader, ShareToken, SubjectType};
use crate::state::store::Changes;

const SORT_FIELDS: [&str; 4] = ["share_token_id", "created_at", "expires_at", "revoked"];
const NOT_FOUND: Problem = Problem::NotFound("Share token not found");

#[derive(Deserialize)]
pub(super) struct NewShareToken {
    expires_at: Option<Timestamp>,
}

fn describe(token: &ShareToken) -> Value {
    json!({
        "share_token_id": token.id,
        "created_at": token.created_at.to_string(),
        "expires_at": token.expires_at.map(|moment| moment.to_string()),
        "revoked": token.revoked,
    })
}

pub(super) async fn create(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    Body(new_token): Body<NewShareToken>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let (user, _) = caller.account(&platform)?;
    let created_at = platform.timestamp();
    if new_token.expires_at.is_some_and(|expires_at| expires_at <= created_at) {
        return Err(Problem::invalid(json!(["body", "expires_at"]), "Input should be in the future"));
    }
    let secret = format!("{}{}", platform.random.token(), platform.random.token());
    let token = ShareToken {
        id: platform.random.uuid(),
        digest: ShareToken::digest_of(&secret),
        created_by: user.id.clone(),
        created_at,
        expires_at: new_token.expires_at.map(truncated_to_microseconds),
        revoked: false,
    };
    let mut response = describe(&token);
    // The secret is returned only in this response.
    response["share_token"] = json!(secret);
    let insert = |records: &mut Records, changes: &mut Changes| {
        changes.put_share_token(&token);
        records.share_tokens.insert(token.id, token);
        Ok((StatusCode::CREATED, Json(response)))
    };
    platform.state.change(insert).await
}

/// Returns the id of the organization of the token's creator.
fn creator_organization<'a>(platform: &'a Platform, token: &ShareToken) -> &'a str {
    platform.accounts.user(&token.created_by).map_or("", |user| &user.organization)
}

pub(super) async fn list(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    parameters: Parameters,
) -> Result<Json<Vec<Value>>, Problem> {
    let (user, _) = caller.account(&platform)?;
    let (page, sort) = (parameters.page()?, parameters.sort(&SORT_FIELDS)?);
    let (run, revoked) = (parameters.uuid("run_id")?, parameters.boolean("revoked")?);
    let creator = parameters.value("created_by").map(|id| if id == "me" { &user.id } else { id });
    platform.state.read(|records| {
        let reader = Reader::new(records, user, None, platform.timestamp());
        let grants_access_to = |token: &ShareToken, run| {
            let id = token.id.to_string();
            let mut grants = records.grants.values().filter(|grant| !grant.revoked && grant.resource == run);
            grants.any(|grant| grant.subject_type == SubjectType::ShareToken && grant.subject == id)
        };
        let is_match = |token: &&ShareToken| {
            reader.can_see_share_token(token, creator_organization(&platform, token))
                && run.is_none_or(|run| grants_access_to(token, run))
                && creator.is_none_or(|creator| token.created_by == creator)
                && revoked.is_none_or(|revoked| token.revoked == revoked)
        };
        let mut tokens: Vec<&ShareToken> = records.share_tokens.values().filter(is_match).collect();
        sort.apply(&mut tokens, |token, field| match field {
            "created_at" => SortKey::time(Some(token.created_at)),
            "expires_at" => SortKey::time(token.expires_at),
            field => SortKey::value(&describe(token)[field]),
        });
        Ok(Json(page.entries_of(tokens).into_iter().map(describe).collect()))
    })
}

pub(super) async fn get(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    PathParameters(id): PathParameters<String>,
) -> Result<Json<Value>, Problem> {
    let id = parse_uuid("share_token_id", &id)?;
    let (user, _) = caller.account(&platform)?;
    platform.state.read(|records| {
        let token = records.share_tokens.get(&id).ok_or(NOT_FOUND)?;
        let reader = Reader::new(records, user, None, platform.timestamp());
        let is_visible = reader.can_see_share_token(token, creator_organization(&platform, token));
        if is_visible { Ok(Json(describe(token))) } else { Err(Problem::Forbidden) }
    })
}

pub(super) async fn revoke(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    PathParameters(id): PathParameters<String>,
) -> Result<Json<Value>, Problem> {
    let id = parse_uuid("share_token_id", &id)?;
    let (user, _) = caller.account(&platform)?;
    let revoke = |records: &mut Records, changes: &mut Changes| {
        let token = records.share_tokens.get_mut(&id).ok_or(NOT_FOUND)?;
        if !user.manages(&token.created_by, creator_organization(&platform, token)) {
            return Err(Problem::Forbidden);
        }
        if token.revoked {
            return Err(Problem::Conflict("The share token is already revoked"));
        }
        token.revoked = true;
        changes.put_share_token(token);
        Ok(Json(describe(token)))
    };
    platform.state.change(revoke).await
}
