//! Grants and share tokens control access across two organizations.

use std::time::Duration;

use auth_http::Method;
use platform_emulator::Emulator;
use serde_json::{Value, json};

use super::item;
use crate::client::{User, clock};

const GRANTS: &str = "/api/v1/access/grants";
const TOKENS: &str = "/api/v1/access/share-tokens";
const COLLEAGUE: &str = "auth0|emulator-2";
const STRANGER: &str = "auth0|second-1";

/// A run with two items that other users request.
struct SharedRun {
    run: String,
    items: Value,
}

impl SharedRun {
    async fn submit(user: &User) -> Self {
        let items = json!([item("a", &json!({})), item("b", &json!({}))]);
        let (_, submitted) = user.submit(&json!({ "application_id": "outcomes", "items": items })).await;
        let run = submitted["run_id"].as_str().unwrap().to_owned();
        user.wait_for_end(&run).await;
        let (_, items) = user.get(&format!("/api/v1/runs/{run}/items")).await;
        Self { run, items }
    }

    fn artifact(&self, item: usize) -> &str {
        self.items[item]["output_artifacts"][0]["output_artifact_id"].as_str().unwrap()
    }

    /// Requests the run, its items, each item and each file as `reader`, and returns the statuses. `query` is appended
    /// to each path.
    async fn statuses_for(&self, reader: &User, query: &str) -> [u16; 6] {
        let run = format!("/api/v1/runs/{}", self.run);
        let mut statuses = Vec::new();
        for path in ["", "/items", "/items/a", "/items/b"] {
            statuses.push(reader.get(&format!("{run}{path}{query}")).await.0);
        }
        for item in [0, 1] {
            let path = format!("{run}/artifacts/{}/file{query}", self.artifact(item));
            statuses.push(reader.send(reader.authorized(Method::Get, &path)).await.status());
        }
        statuses.try_into().unwrap()
    }
}

/// The statuses for a user who can see the whole run.
const FULL_ACCESS: [u16; 6] = [200, 200, 200, 200, 307, 307];
/// The statuses for a user who cannot see the run.
const NO_ACCESS: [u16; 6] = [403, 404, 403, 403, 403, 403];

fn viewer_grant(resource: (&str, &str), subject: (&str, &str)) -> Value {
    json!({
        "resource_type": resource.0, "resource_id": resource.1,
        "subject_type": subject.0, "subject_id": subject.1, "relation": "viewer",
    })
}

#[tokio::test]
async fn grant_gives_access_until_it_is_revoked() {
    let owner = User::new().await;
    let (colleague, stranger) = (owner.other_user(COLLEAGUE).await, owner.other_user(STRANGER).await);
    let shared = SharedRun::submit(&owner).await;
    let run = shared.run.as_str();
    let first_item = shared.items[0]["item_id"].as_str().unwrap();
    for (resource, subject, stranger_statuses, colleague_statuses) in [
        (("run", run), ("user", STRANGER), FULL_ACCESS, NO_ACCESS),
        (("run", run), ("organization_user", "org_second"), FULL_ACCESS, NO_ACCESS),
        (("run", run), ("organization_user", "org_emulator"), NO_ACCESS, FULL_ACCESS),
        (("run", run), ("organization_admin", "org_second"), NO_ACCESS, NO_ACCESS),
        (("item", first_item), ("user", STRANGER), [403, 404, 200, 403, 307, 403], NO_ACCESS),
        (("output_artifact", shared.artifact(1)), ("user", STRANGER), [403, 404, 403, 403, 403, 307], NO_ACCESS),
    ] {
        assert_eq!(shared.statuses_for(&stranger, "").await, NO_ACCESS);
        let (status, granted) = owner.send_json(Method::Post, GRANTS, &viewer_grant(resource, subject)).await;
        assert_eq!(status, 201, "{granted}");
        assert_eq!(granted["created_by"], "auth0|emulator-1");
        assert_eq!(shared.statuses_for(&stranger, "").await, stranger_statuses, "{granted}");
        assert_eq!(shared.statuses_for(&colleague, "").await, colleague_statuses, "{granted}");

        let path = format!("{GRANTS}/{}", granted["grant_id"].as_str().unwrap());
        assert_eq!(owner.get(&path).await, (200, granted.clone()));
        assert_eq!(
            stranger.send_json(Method::Delete, &path, &Value::Null).await.0,
            403,
            "only the owner can revoke the grant"
        );
        let (status, revoked) = owner.send_json(Method::Delete, &path, &Value::Null).await;
        assert_eq!((status, revoked["revoked"].as_bool()), (200, Some(true)));
        assert_eq!(owner.send_json(Method::Delete, &path, &Value::Null).await.0, 409);
        assert_eq!(shared.statuses_for(&stranger, "").await, NO_ACCESS);
        assert_eq!(shared.statuses_for(&colleague, "").await, NO_ACCESS);
    }
    assert_eq!(shared.statuses_for(&owner, "").await, FULL_ACCESS);
}

#[tokio::test]
async fn grant_allows_reading_without_inputs_or_changes() {
    let owner = User::new().await;
    let stranger = owner.other_user(STRANGER).await;
    let shared = SharedRun::submit(&owner).await;
    let granted = viewer_grant(("run", &shared.run), ("user", STRANGER));
    assert_eq!(owner.send_json(Method::Post, GRANTS, &granted).await.0, 201);
    let run = format!("/api/v1/runs/{}", shared.run);
    let cancel = stranger.send_json(Method::Post, &format!("{run}/cancel"), &Value::Null).await;
    assert_eq!(cancel.0, 403);
    let update = json!({ "custom_metadata": {} });
    assert_eq!(stranger.send_json(Method::Put, &format!("{run}/custom-metadata"), &update).await.0, 403);
    assert_eq!(stranger.send_json(Method::Delete, &format!("{run}/artifacts"), &Value::Null).await.0, 403);
    assert_eq!(
        stranger.send_json(Method::Post, GRANTS, &granted).await.0,
        403,
        "the subject of a grant cannot create further grants"
    );
    let (_, items) = stranger.get(&format!("{run}/items")).await;
    assert_eq!(items[0]["input_artifacts"][0]["download_url"], Value::Null);
    assert!(shared.items[0]["input_artifacts"][0]["download_url"].is_string());
    assert_eq!(
        stranger.list_ids("/api/v1/runs", "run_id").await,
        [shared.run],
        "the run is in the list of the subject"
    );
}

#[tokio::test]
async fn grant_names_a_user_by_email_and_invalid_grants_are_rejected() {
    let owner = User::new().await;
    let shared = SharedRun::submit(&owner).await;
    let by_email = |address: &str| {
        let mut body = viewer_grant(("run", &shared.run), ("user", ""));
        body["subject_id"] = Value::Null;
        body["subject_email"] = json!(address);
        body
    };
    let (status, granted) = owner.send_json(Method::Post, GRANTS, &by_email("Cleo@second.test")).await;
    assert_eq!((status, granted["subject_id"].as_str()), (201, Some(STRANGER)));

    let run = ("run", shared.run.as_str());
    let mut editor = viewer_grant(run, ("user", STRANGER));
    editor["relation"] = json!("editor");
    let mut without_subject = viewer_grant(run, ("user", STRANGER));
    without_subject.as_object_mut().unwrap().remove("subject_id");
    let unknown_id = "00000000-0000-0000-0000-000000000000";
    for (body, expected) in [
        (editor, 422),
        (without_subject, 422),
        (by_email("nobody@nowhere.test"), 422),
        (viewer_grant(run, ("user", "auth0|nobody")), 422),
        (viewer_grant(run, ("organization_user", "org_nowhere")), 422),
        (viewer_grant(run, ("share_token", unknown_id)), 422),
        (viewer_grant(run, ("robot", "x")), 422),
        (viewer_grant(("run", "x"), ("user", STRANGER)), 422),
        (viewer_grant(("run", unknown_id), ("user", STRANGER)), 404),
        (viewer_grant(("item", &shared.run), ("user", STRANGER)), 404),
    ] {
        assert_eq!(owner.send_json(Method::Post, GRANTS, &body).await.0, expected, "{body}");
    }
    assert_eq!(owner.get(&format!("{GRANTS}/{unknown_id}")).await.0, 404);
    assert_eq!(owner.get(&format!("{GRANTS}/x")).await.0, 422);
}

#[tokio::test]
async fn grants_are_listed_to_their_subjects() {
    let owner = User::new().await;
    let (colleague, stranger) = (owner.other_user(COLLEAGUE).await, owner.other_user(STRANGER).await);
    let shared = SharedRun::submit(&owner).await;
    let mut ids = Vec::new();
    for subject in [("user", STRANGER), ("organization_user", "org_second"), ("user", COLLEAGUE)] {
        let (_, granted) = owner.send_json(Method::Post, GRANTS, &viewer_grant(("run", &shared.run), subject)).await;
        ids.push(granted["grant_id"].as_str().unwrap().to_owned());
    }
    owner.send_json(Method::Delete, &format!("{GRANTS}/{}", ids[1]), &Value::Null).await;
    for (reader, query, expected) in [
        (&owner, "", &ids[..]),
        (&stranger, "", &ids[..2]),
        (&colleague, "", &ids[2..]),
        (&owner, "?revoked=true", &ids[1..2]),
        (&stranger, "?revoked=false", &ids[..1]),
        (&owner, "?subject_type=organization_user", &ids[1..2]),
        (&owner, "?subject_id=auth0%7Cemulator-2", &ids[2..]),
        (&owner, "?resource_type=item", &[]),
        (&owner, &format!("?resource_id={}", shared.run), &ids[..]),
        (&owner, "?relation=owner&relation=viewer&sort=created_at", &ids[..]),
        (&owner, "?relation=owner", &[]),
    ] {
        assert_eq!(reader.list_ids(&format!("{GRANTS}{query}"), "grant_id").await, expected, "{query}");
    }
    for query in ["?relation=king", "?revoked=maybe", "?resource_id=x", "?subject_type=robot", "?sort=x"] {
        assert_eq!(owner.get(&format!("{GRANTS}{query}")).await.0, 422, "{query}");
    }
    assert_eq!(colleague.get(&format!("{GRANTS}/{}", ids[0])).await.0, 403);
}

#[tokio::test]
async fn share_token_gives_access_until_it_expires_or_is_revoked() {
    let clock = clock();
    let emulator = Emulator::builder().with_clock(clock.clone()).start().await.unwrap();
    let owner = User::logged_in_to(emulator).await;
    let items = json!([item("a", &json!({})), item("b", &json!({}))]);
    let (_, submitted) = owner.submit(&json!({ "application_id": "outcomes", "items": items })).await;
    clock.advance(Duration::from_secs(1));
    let run = submitted["run_id"].as_str().unwrap().to_owned();
    owner.wait_for_end(&run).await;
    let (_, items) = owner.get(&format!("/api/v1/runs/{run}/items")).await;
    let shared = SharedRun { run, items };
    let stranger = owner.other_user(STRANGER).await;

    let expires_at =
        jiff::Timestamp::try_from(auth_core::Clock::now(&*clock)).unwrap() + jiff::SignedDuration::from_secs(3600);
    let (status, token) = owner.send_json(Method::Post, TOKENS, &json!({ "expires_at": expires_at.to_string() })).await;
    assert_eq!(status, 201, "{token}");
    let (id, secret) = (token["share_token_id"].as_str().unwrap(), token["share_token"].as_str().unwrap());
    let query = format!("?share_token={secret}");
    assert_eq!(shared.statuses_for(&stranger, &query).await, NO_ACCESS, "the share token has no grants");
    let granted = viewer_grant(("run", &shared.run), ("share_token", id));
    assert_eq!(stranger.send_json(Method::Post, GRANTS, &granted).await.0, 403);
    assert_eq!(owner.send_json(Method::Post, GRANTS, &granted).await.0, 201);
    assert_eq!(shared.statuses_for(&stranger, &query).await, FULL_ACCESS);
    assert_eq!(shared.statuses_for(&stranger, "").await, NO_ACCESS, "the request has no share token");
    assert_eq!(shared.statuses_for(&stranger, "?share_token=guessed").await, NO_ACCESS);
    let url = owner.emulator.api_root().join(&format!("/api/v1/runs/{}{query}", shared.run)).unwrap();
    assert_eq!(
        stranger.send(auth_http::Request::get(url)).await.status(),
        401,
        "an access token is required in addition"
    );

    clock.advance(Duration::from_secs(3600));
    assert_eq!(shared.statuses_for(&stranger, &query).await, NO_ACCESS, "the share token has expired");

    let (_, token) = owner.send_json(Method::Post, TOKENS, &json!({})).await;
    let (id, secret) = (token["share_token_id"].as_str().unwrap(), token["share_token"].as_str().unwrap());
    let granted = viewer_grant(("run", &shared.run), ("share_token", id));
    assert_eq!(owner.send_json(Method::Post, GRANTS, &granted).await.0, 201);
    let query = format!("?share_token={secret}");
    assert_eq!(shared.statuses_for(&stranger, &query).await, FULL_ACCESS);
    let path = format!("{TOKENS}/{id}");
    assert_eq!(stranger.send_json(Method::Delete, &path, &Value::Null).await.0, 403);
    assert_eq!(owner.send_json(Method::Delete, &path, &Value::Null).await.0, 200);
    assert_eq!(owner.send_json(Method::Delete, &path, &Value::Null).await.0, 409);
    assert_eq!(shared.statuses_for(&stranger, &query).await, NO_ACCESS, "the share token is revoked");
}

#[tokio::test]
async fn secret_of_a_share_token_is_returned_only_on_creation() {
    let owner = User::new().await;
    let shared = SharedRun::submit(&owner).await;
    let (_, token) = owner.send_json(Method::Post, TOKENS, &json!({})).await;
    let (_, other) = owner.send_json(Method::Post, TOKENS, &json!({})).await;
    let ids = [&token, &other].map(|token| token["share_token_id"].as_str().unwrap());
    let path = format!("{TOKENS}/{}", ids[0]);
    let (status, read) = owner.get(&path).await;
    assert_eq!((status, read.get("share_token")), (200, None));
    assert_eq!(
        owner.send_json(Method::Post, GRANTS, &viewer_grant(("run", &shared.run), ("share_token", ids[1]))).await.0,
        201
    );
    let run_query = format!("?run_id={}", shared.run);
    for (query, expected) in [("", &ids[..]), (&run_query, &ids[1..]), ("?created_by=me", &ids), ("?revoked=true", &[])]
    {
        assert_eq!(owner.list_ids(&format!("{TOKENS}{query}"), "share_token_id").await, expected, "{query}");
    }
    let stranger = owner.other_user(STRANGER).await;
    assert!(stranger.list_ids(TOKENS, "share_token_id").await.is_empty());
    assert_eq!(stranger.get(&path).await.0, 403);
    let past = json!({ "expires_at": "2020-01-01T00:00:00Z" });
    for invalid in [past, json!({ "expires_at": "soon" }), json!([])] {
        assert_eq!(owner.send_json(Method::Post, TOKENS, &invalid).await.0, 422, "{invalid}");
    }
}
