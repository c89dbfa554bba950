use auth_http::Request;

use crate::client::{User, read};

#[tokio::test]
async fn catalog_describes_the_inputs_of_a_run() {
    let user = User::new().await;
    let (_, applications) = user.get("/api/v1/applications").await;
    let (id, version) = (&applications[0]["application_id"], &applications[0]["latest_version"]["number"]);
    let application = format!("/api/v1/applications/{}", id.as_str().unwrap());
    let (_, described) = user.get(&application).await;
    assert_eq!((&described["application_id"], &described["versions"][0]["number"]), (id, version));
    let (_, version) = user.get(&format!("{application}/versions/{}", version.as_str().unwrap())).await;
    assert_eq!(version["input_artifacts"][0]["name"], "whole_slide_image");
    assert_eq!(version["output_artifacts"].as_array().unwrap().len(), 3);
    for (path, status) in [
        ("tissue/versions/9.9.9", 404),
        ("other/versions/1.0.0", 404),
        ("tissue/versions/1", 422),
        ("tissue/versions/99999999999999999999999.0.0", 404),
    ] {
        assert_eq!(user.get(&format!("/api/v1/applications/{path}")).await.0, status, "{path}");
    }
    assert_eq!(user.get("/api/v1/applications/other").await.0, 404);
}

#[tokio::test]
async fn applications_are_sorted_by_the_requested_field() {
    let user = User::new().await;
    let sorted = user.list_ids("/api/v1/applications?sort=application_id", "application_id").await;
    assert!(sorted.is_sorted() && sorted.len() > 2, "{sorted:?}");
    let mut reversed = user.list_ids("/api/v1/applications?sort=-application_id", "application_id").await;
    reversed.reverse();
    assert_eq!(sorted, reversed);
    assert_eq!(user.get("/api/v1/applications?sort=size").await.0, 422);
    assert_eq!(
        user.get("/api/v1/applications?page=9").await,
        (200, serde_json::json!([])),
        "the document declares no 404 for this list"
    );
}

#[tokio::test]
async fn documents_with_special_characters_in_their_names_can_be_downloaded() {
    let user = User::new().await;
    let documents = "/api/v1/applications/tissue/versions/1.0.0/documents";
    let names = user.list_ids(documents, "name").await;
    assert!(names.iter().any(|name| name.contains('/')), "{names:?}");
    for name in names {
        let path = format!("{documents}/{}", name.replace('/', "%2F").replace(' ', "%20"));
        let (status, document) = user.get(&path).await;
        assert_eq!((status, document["name"].as_str()), (200, Some(name.as_str())));
        for (suffix, disposition) in [("file", Some("attachment")), ("content", None)] {
            let redirect = user.send(user.authorized(auth_http::Method::Get, &format!("{path}/{suffix}"))).await;
            assert_eq!((redirect.status(), redirect.header("cache-control")), (307, Some("no-store")), "{path}");
            let file = user.send(Request::get(redirect.header("location").unwrap().parse().unwrap())).await;
            assert_eq!(file.header("content-type"), document["mime_type"].as_str());
            let disposition_type = file.header("content-disposition").map(|value| value.split(';').next().unwrap());
            assert_eq!(disposition_type, disposition, "{suffix}");
            let (status, body) = read(file).await;
            assert!(status == 200 && String::from_utf8(body).unwrap().contains("Tissue detection 1.0.0"));
        }
    }
    assert_eq!(user.get(&format!("{documents}/absent.pdf")).await.0, 404);
    assert_eq!(user.get("/api/v1/applications/tissue/versions/9.0.0/documents").await.0, 404);
}

#[tokio::test]
async fn api_document_and_health_need_no_login() {
    let user = User::anonymous().await;
    let url = |path| user.emulator.api_root().join(path).unwrap();
    let (status, document) = read(user.send(Request::get(url("/api/openapi.json"))).await).await;
    let document: serde_json::Value = serde_json::from_slice(&document).unwrap();
    assert_eq!((status, document["paths"]["/v1/runs"]["post"]["operationId"].as_str()), (200, Some("submit_run")));
    assert_eq!(read(user.send(Request::get(url("/health"))).await).await, (200, br#"{"status":"UP"}"#.to_vec()));
}

#[tokio::test]
async fn unknown_path_or_method_gets_a_platform_error() {
    let user = User::new().await;
    let (status, problem) = user.get("/api/v1/nowhere").await;
    assert_eq!((status, problem["detail"].as_str()), (404, Some("Not Found")));
    let response = user.send(user.authorized(auth_http::Method::Post, "/api/v1/me")).await;
    assert!(response.header("allow").is_some_and(|allowed| allowed.contains("GET")));
    let (status, problem) = read(response).await;
    assert_eq!((status, problem), (405, br#"{"detail":"Method Not Allowed"}"#.to_vec()));
    assert_eq!(user.get("/api/v1/applications/%FF").await.0, 422);
}
