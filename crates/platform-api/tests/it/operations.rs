use platform_api::Secret;
use platform_api::models::{InputArtifactSubmission, ItemSubmission, RunSubmission};
use platform_api::operations::{
    GetApplicationVersion, GetArtifactFile, GetRun, ListApplications, ListRunItems, SubmitRun,
};
use serde_json::json;
use wiremock::ResponseTemplate;
use wiremock::matchers::{any, body_json, header, method};

use crate::platform;

#[tokio::test]
async fn parameters_are_encoded_as_documented() {
    let (server, client) = platform(any(), ResponseTemplate::new(200).set_body_json(json!([]))).await;
    client
        .send(&ListApplications::new().with_page_size(100).with_sort(["-name".to_owned(), "a+b&c".to_owned()]))
        .await
        .unwrap();
    let items = ListRunItems::new("r/1 ü")
        .with_share_token(Secret::new("a+b"))
        .with_external_id_in(["x y".to_owned(), "../z".to_owned()])
        .with_page(2);
    client.send(&items).await.unwrap();
    let sent_requests: Vec<_> = server
        .received_requests()
        .await
        .unwrap()
        .iter()
        .map(|request| request.url[url::Position::BeforePath..].to_owned())
        .collect();
    assert_eq!(sent_requests[0], "/api/v1/applications?page-size=100&sort=-name&sort=a%2Bb%26c");
    assert_eq!(
        sent_requests[1],
        "/api/v1/runs/r%2F1%20%C3%BC/items?share_token=a%2Bb&external_id__in=x%20y&external_id__in=..%2Fz&page=2"
    );
}

#[tokio::test]
async fn unsafe_path_segment_is_rejected_before_the_request() {
    let (server, client) = platform(any(), ResponseTemplate::new(200)).await;
    for segment in ["", ".", ".."] {
        let error = client.send(&GetApplicationVersion::new("he-tme", segment)).await.unwrap_err();
        assert!(error.is_unsendable() && error.to_string().contains("`version`"), "{error}");
    }
    assert!(server.received_requests().await.unwrap().is_empty());
}

#[tokio::test]
async fn submission_is_sent_as_json_with_signed_urls() {
    let artifact =
        InputArtifactSubmission::new("slide", Secret::new("https://b.test/s?sig=canary"), serde_json::Map::new());
    let submit = SubmitRun::new(RunSubmission::new("he-tme", vec![ItemSubmission::new("s1", vec![artifact])]));
    let expected = json!({ "application_id": "he-tme", "items": [
        { "external_id": "s1", "input_artifacts": [{ "name": "slide", "download_url": "https://b.test/s?sig=canary", "metadata": {} }] },
    ] });
    let response = ResponseTemplate::new(201).set_body_json(json!({ "run_id": "7" }));
    let (server, client) = platform(body_json(expected), response).await;
    assert_eq!(client.send(&submit).await.unwrap().run_id.as_str(), "7");
    assert!(!format!("{submit:?}").contains("canary"));
    assert_eq!(server.received_requests().await.unwrap().len(), 1);
}

#[tokio::test]
async fn redirect_is_returned_and_its_debug_shows_no_signature() {
    let response =
        ResponseTemplate::new(307).insert_header("location", "https://storage.test/b/o?X-Goog-Signature=canary");
    let (_server, client) = platform(header("authorization", "Bearer bearer-canary"), response).await;
    let redirect = client.send(&GetArtifactFile::new("r", "a")).await.unwrap();
    assert!(!format!("{redirect:?}").contains("canary"));
    assert_eq!(redirect.expose().as_str(), "https://storage.test/b/o?X-Goog-Signature=canary");
    let (_server, client) = platform(any(), ResponseTemplate::new(307)).await;
    let error = client.send(&GetArtifactFile::new("r", "a")).await.unwrap_err();
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("Location"));
}

#[tokio::test]
async fn error_response_with_any_body_is_parsed() {
    for (response, details) in [
        (ResponseTemplate::new(422).set_body_json(json!({ "detail": [{ "loc": ["body", "items", 0, "external_id"], "msg": "Field required", "type": "missing" }] })), vec!["body.items[0].external_id: Field required"]),
        (ResponseTemplate::new(422).set_body_json(json!({ "detail": "Too long" })), vec!["Too long"]),
        (ResponseTemplate::new(422).set_body_json(json!({ "detail": [7, { "msg": "no place" }] })), vec!["no place"]),
        (ResponseTemplate::new(422).set_body_string("Jwt is missing"), vec![]),
        (ResponseTemplate::new(422), vec![]),
    ] {
        let (_server, client) = platform(method("GET"), response).await;
        let error = client.send(&GetRun::new("r")).await.unwrap_err();
        assert_eq!((error.status(), error.operation()), (Some(422), "get_run"));
        assert_eq!(error.details().iter().map(ToString::to_string).collect::<Vec<_>>(), details);
        assert!(!error.is_transient());
    }
}

#[tokio::test]
async fn decode_error_contains_the_location_and_not_the_value() {
    let response = ResponseTemplate::new(200).set_body_json(json!([{ "application_id": 7, "name": "canary" }]));
    let (_server, client) = platform(any(), response).await;
    let error = client.send(&ListApplications::new()).await.unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("`[0].application_id`"), "{source}");
    let response = ResponseTemplate::new(200).set_body_json(json!({ "organization": "canary", "user": { "id": "u" } }));
    let (_server, client) = platform(any(), response).await;
    let error = client.send(&platform_api::operations::GetMe::new()).await.unwrap_err();
    let error_output = format!("{error} {error:?} {}", std::error::Error::source(&error).unwrap());
    assert!(error_output.contains("organization") && !error_output.contains("canary"), "{error_output}");
}

#[tokio::test]
async fn transient_and_uncertain_failures_are_distinguished() {
    let free_address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = crate::client(&format!("http://{free_address}")).send(&GetRun::new("r")).await.unwrap_err();
    assert!(error.status().is_none() && error.is_transient() && !error.is_uncertain(), "{error}");
    for (status, transient, uncertain) in
        [(503, true, true), (408, true, true), (429, true, false), (404, false, false), (201, false, true)]
    {
        let (_server, client) = platform(any(), ResponseTemplate::new(status)).await;
        let error = client.send(&GetRun::new("r")).await.unwrap_err();
        assert_eq!((error.is_transient(), error.is_uncertain()), (transient, uncertain), "{status}");
    }
    // A server that accepts the request and closes the connection.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let root = format!("http://{}", listener.local_addr().unwrap());
    let closing_server = tokio::spawn(async move {
        use tokio::io::AsyncReadExt;
        let (mut stream, _) = listener.accept().await.unwrap();
        assert_ne!(stream.read(&mut [0; 1024]).await.unwrap(), 0);
    });
    let error = crate::client(&root).send(&GetRun::new("r")).await.unwrap_err();
    closing_server.await.unwrap();
    assert!(error.is_transient() && error.is_uncertain(), "{error}");
}
