use platform_emulator::Emulator;
use serde_json::{Value, json};

use super::{item, metadata};
use crate::client::User;

const COLLEAGUE: &str = "auth0|emulator-2";

async fn user_without_replica_lag() -> User {
    let config = toml::from_str("replica_lag_ms = 0").unwrap();
    User::logged_in_to(Emulator::builder().with_config(config).start().await.unwrap()).await
}

/// Submits a run of one item with the given outcome, and waits for its end.
async fn submit_and_wait(user: &User, external_id: &str, custom_metadata: &Value, outcome: &str) -> String {
    let mut item = item(external_id, &json!({ "outcome": outcome }));
    item["custom_metadata"] = json!({ "of": external_id });
    let submission = json!({ "application_id": "outcomes", "custom_metadata": custom_metadata, "items": [item] });
    let (status, submitted) = user.submit(&submission).await;
    assert_eq!(status, 201, "{submitted}");
    let id = submitted["run_id"].as_str().unwrap().to_owned();
    user.wait_for_end(&id).await;
    id
}

#[tokio::test]
async fn runs_are_filtered_by_all_documented_parameters() {
    let user = user_without_replica_lag().await;
    let high = submit_and_wait(&user, "a", &json!({ "study": "high", "tags": ["x", "y"] }), "SUCCEEDED").await;
    let low = submit_and_wait(&user, "b", &json!({ "study": "low" }), "USER_ERROR").await;
    let none = submit_and_wait(&user, "c", &Value::Null, "SYSTEM_ERROR").await;
    let all = [high.clone(), low.clone(), none.clone()];
    for (query, expected) in [
        ("", &all[..]),
        ("application_id=outcomes", &all),
        ("application_id=tissue", &[]),
        ("application_version=1.0.0", &all),
        ("application_version=2.0.0", &[]),
        ("external_id=b", std::slice::from_ref(&low)),
        ("submitted_by=me", &all),
        ("submitted_by=auth0%7Cemulator-1", &all),
        ("submitted_by=somebody", &[]),
        ("organization_id=my_org", &all),
        ("organization_id=org_second", &[]),
        ("custom_metadata=%24.study", &all[..2]),
        ("custom_metadata=%24.study%20%3F%20(%40%20%3D%3D%20%22high%22)", std::slice::from_ref(&high)),
        ("custom_metadata=tags%5B*%5D%20%3F%20(%40%20%3D%3D%20%22y%22)", std::slice::from_ref(&high)),
        ("application_id=outcomes&external_id=c", std::slice::from_ref(&none)),
    ] {
        let path = format!("/api/v1/runs?sort=submitted_at&{query}");
        assert_eq!(user.list_ids(&path, "run_id").await, expected, "{query}");
    }
    for query in ["custom_metadata=%24%5B", &format!("custom_metadata={}", "a".repeat(1001)), "page_size=4", "page=0"] {
        let (status, problem) = user.get(&format!("/api/v1/runs?{query}")).await;
        assert_eq!((status, problem["detail"][0]["loc"][0].as_str()), (422, Some("query")), "{query}");
    }
}

#[tokio::test]
async fn runs_are_sorted_by_several_fields() {
    let user = user_without_replica_lag().await;
    let mut runs = Vec::new();
    for (name, outcome) in [("a", "SUCCEEDED"), ("b", "SUCCEEDED"), ("c", "SUCCEEDED")] {
        runs.push(submit_and_wait(&user, name, &json!({ "n": name }), outcome).await);
    }
    let oldest_first = user.list_ids("/api/v1/runs?sort=application_id&sort=submitted_at", "run_id").await;
    assert_eq!(oldest_first, runs);
    // An encoded plus, and one that is decoded as a space.
    assert_eq!(user.list_ids("/api/v1/runs?sort=%2Bsubmitted_at", "run_id").await, runs);
    assert_eq!(user.list_ids("/api/v1/runs?sort=+submitted_at", "run_id").await, runs);
    runs.reverse();
    assert_eq!(user.list_ids("/api/v1/runs?sort=termination_reason&sort=-submitted_at", "run_id").await, runs);
    assert_eq!(user.list_ids("/api/v1/runs?sort=-terminated_at", "run_id").await, runs);
    assert_eq!(user.list_ids("/api/v1/runs?sort=-custom_metadata", "run_id").await, runs);
    runs.sort();
    assert_eq!(user.list_ids("/api/v1/runs?sort=run_id", "run_id").await, runs);
    assert_eq!(user.get("/api/v1/runs?sort=size").await.0, 422);
}

#[tokio::test]
async fn administrator_lists_all_runs_of_the_organization() {
    let admin = user_without_replica_lag().await;
    let colleague = admin.other_user(COLLEAGUE).await;
    let own_run = submit_and_wait(&admin, "a", &Value::Null, "SUCCEEDED").await;
    let colleague_run = submit_and_wait(&colleague, "b", &Value::Null, "SUCCEEDED").await;
    assert_eq!(admin.list_ids("/api/v1/runs", "run_id").await, std::slice::from_ref(&own_run));
    let all = admin.list_ids("/api/v1/runs?for_organization=org_emulator&sort=submitted_at", "run_id").await;
    assert_eq!(all, [own_run.clone(), colleague_run.clone()]);
    assert_eq!(colleague.list_ids("/api/v1/runs", "run_id").await, std::slice::from_ref(&colleague_run));
    assert_eq!(colleague.get("/api/v1/runs?for_organization=org_emulator").await.0, 404);
    assert_eq!(admin.get("/api/v1/runs?for_organization=org_second").await.0, 404);
    assert_eq!(admin.get(&format!("/api/v1/runs/{colleague_run}")).await.0, 200);
    assert_eq!(colleague.get(&format!("/api/v1/runs/{own_run}")).await.0, 403);
}

#[tokio::test]
async fn items_are_filtered_and_sorted() {
    let user = user_without_replica_lag().await;
    let items: Vec<_> = [("a/1", "SUCCEEDED"), ("b 2", "USER_ERROR"), ("ü", "SYSTEM_ERROR")]
        .iter()
        .map(|(id, outcome)| {
            let mut item = item(id, &json!({ "outcome": outcome }));
            item["custom_metadata"] = json!({ "patient": id });
            item
        })
        .collect();
    let (_, submitted) = user.submit(&json!({ "application_id": "outcomes", "items": items })).await;
    let path = format!("/api/v1/runs/{}/items", submitted["run_id"].as_str().unwrap());
    user.wait_for_end(submitted["run_id"].as_str().unwrap()).await;
    let ids = user.list_ids(&path, "item_id").await;
    for (query, expected) in [
        (format!("item_id__in={}&item_id__in={}", ids[0], ids[2]), vec!["a/1", "ü"]),
        ("external_id__in=b%202".to_owned(), vec!["b 2"]),
        ("state=TERMINATED".to_owned(), vec!["a/1", "b 2", "ü"]),
        ("state=PENDING".to_owned(), vec![]),
        ("termination_reason=USER_ERROR".to_owned(), vec!["b 2"]),
        ("custom_metadata=%24.patient%20%3F%20(%40%20starts%20with%20%22a%22)".to_owned(), vec!["a/1"]),
        ("sort=-external_id".to_owned(), vec!["ü", "b 2", "a/1"]),
        ("sort=termination_reason".to_owned(), vec!["a/1", "ü", "b 2"]),
    ] {
        assert_eq!(user.list_ids(&format!("{path}?{query}"), "external_id").await, expected, "{query}");
    }
    for query in ["item_id__in=x", "state=DONE", "termination_reason=", "sort=-"] {
        assert_eq!(user.get(&format!("{path}?{query}")).await.0, 422, "{query}");
    }
    for id in ["a%2F1", "b%202", "%C3%BC"] {
        assert_eq!(user.get(&format!("{path}/{id}")).await.0, 200, "{id}");
    }
    assert_eq!(user.get(&format!("{path}/c")).await.0, 404);
}

#[tokio::test]
async fn pages_have_the_requested_size_and_the_page_after_the_last_is_404() {
    let user = User::new().await;
    let items = (0..12).map(|number| item(&format!("slide-{number}"), &metadata())).collect();
    let (run, _) = user.run_tissue(items).await;
    let path = format!("/api/v1/runs/{}/items", run["run_id"].as_str().unwrap());
    for (query, expected) in [("", 12), ("?page_size=5", 5), ("?page_size=5&page=3", 2)] {
        assert_eq!(user.get(&format!("{path}{query}")).await.1.as_array().unwrap().len(), expected, "{query}");
    }
    assert_eq!(user.get(&format!("{path}?page=2")).await.0, 404);
    for query in ["?page_size=4", "?page_size=101", "?page=0", "?page=x"] {
        let (status, problem) = user.get(&format!("{path}{query}")).await;
        assert_eq!((status, problem["detail"][0]["loc"][0].as_str()), (422, Some("query")), "{query}");
    }
    assert_eq!(user.get("/api/v1/applications?page-size=4").await.0, 422);
    assert_eq!(user.get("/api/v1/applications?page_size=4").await.0, 200);
}

#[tokio::test]
async fn new_run_is_not_listed_during_the_replica_lag() {
    let config = toml::from_str("replica_lag_ms = 3600000").unwrap();
    let user = User::logged_in_to(Emulator::builder().with_config(config).start().await.unwrap()).await;
    let submission = json!({ "application_id": "outcomes", "items": [item("a", &json!({}))] });
    assert_eq!(user.submit(&submission).await.0, 201);
    assert!(user.list_ids("/api/v1/runs", "run_id").await.is_empty());
}

#[tokio::test]
async fn pending_items_have_a_queue_position() {
    let config = toml::from_str("replica_lag_ms = 0\nspeed = 0.000001\ninterruptions = 0").unwrap();
    let user = User::logged_in_to(Emulator::builder().with_config(config).start().await.unwrap()).await;
    let stranger = user.other_user("auth0|second-1").await;
    let submission = json!({ "application_id": "outcomes", "items": [item("a", &json!({})), item("b", &json!({})), item("c", &json!({}))] });
    let mut runs = Vec::new();
    for user in [&user, &stranger, &user] {
        let (_, submitted) = user.submit(&submission).await;
        let path = format!("/api/v1/runs/{}", submitted["run_id"].as_str().unwrap());
        // The first item of each run is being processed, and does not finish.
        let processing = async { while user.get(&path).await.1["state"] != "PROCESSING" {} };
        tokio::time::timeout(std::time::Duration::from_secs(60), processing).await.unwrap();
        runs.push(path);
    }
    let (_, last) = user.get(&runs[2]).await;
    assert_eq!((&last["num_preceding_items_org"], &last["num_preceding_items_platform"]), (&json!(2), &json!(4)));
    let (_, items) = user.get(&format!("{}/items?sort=external_id", runs[2])).await;
    let positions = items.as_array().unwrap().iter();
    let positions: Vec<_> =
        positions.map(|item| json!([item["queue_position_org"], item["queue_position_platform"]])).collect();
    assert_eq!(json!(positions), json!([[null, null], [3, 5], [4, 6]]));

    let cancel = user.authorized(auth_http::Method::Post, &format!("{}/cancel", runs[2]));
    assert_eq!(user.send(cancel).await.status(), 202);
    let (_, canceled) = user.get(&runs[2]).await;
    assert_eq!(canceled["num_preceding_items_org"], Value::Null);
}

#[tokio::test]
async fn filter_that_exceeds_the_work_budget_is_rejected() {
    let user = user_without_replica_lag().await;
    let run = submit_and_wait(&user, "a", &json!({ "l": (0..1000).collect::<Vec<_>>() }), "SUCCEEDED").await;
    for filter in ["$.l[*] ? ($.l[*] ? ($.l[*] > 5000) > 1)", "$.l ? ($.** ? ($.** > 5000) > 1)"] {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        let query = query.append_pair("custom_metadata", filter).finish();
        let (status, problem) = user.get(&format!("/api/v1/runs?{query}")).await;
        assert!(status == 422 && problem.to_string().contains("too expensive to evaluate"), "{filter}: {problem}");
    }
    assert_eq!(
        user.list_ids("/api/v1/runs?custom_metadata=%24.l%5B*%5D%20%3F%20(%40%20%3D%3D%20999)", "run_id").await,
        [run]
    );
}
