use std::time::Duration;

use auth_http::Method;
use serde_json::json;
use wiremock::matchers::path;
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use super::*;
use crate::raw::tests::client;

fn query_number(request: &Request, name: &str) -> Option<usize> {
    let values: Vec<_> = request.url.query_pairs().filter(|(parameter, _)| parameter == name).collect();
    assert!(values.len() <= 1, "{}", request.url);
    values.first().map(|(_, value)| value.parse().unwrap())
}

/// Starts a server with a list of `entries` entries at the path `at`. The name of the page size parameter is `size`.
async fn start_list_server(at: &str, entries: usize, size: &'static str) -> MockServer {
    let server = MockServer::start().await;
    let respond = move |request: &Request| {
        let size = query_number(request, size).unwrap_or(5);
        let start = (query_number(request, "page").unwrap_or(1) - 1) * size;
        ResponseTemplate::new(200).set_body_json((start..entries.min(start + size)).collect::<Vec<_>>())
    };
    Mock::given(path(at)).respond_with(respond).mount(&server).await;
    server
}

async fn fetch_all(server: &MockServer, path: &str) -> Vec<Value> {
    let request = RawRequest::new(Method::Get, path);
    client(server, Duration::ZERO).raw_pages(request).await.unwrap().unwrap()
}

async fn request_count(server: &MockServer) -> usize {
    server.received_requests().await.unwrap().len()
}

#[tokio::test]
async fn known_list_is_fetched_with_its_page_size_parameter() {
    for (list, size) in [("applications", "page-size"), ("runs", "page_size"), ("runs/1/items", "page_size")] {
        let server = start_list_server(&format!("/api/v1/{list}"), 150, size).await;
        assert_eq!(
            fetch_all(&server, &format!("/v1/{list}?page=7&page-size=3&page_size=2&x=1")).await.len(),
            150,
            "{list}"
        );
        assert_eq!(request_count(&server).await, 2);
        let requests = server.received_requests().await.unwrap();
        assert!(requests.iter().all(|request| query_number(request, "x") == Some(1)));
    }
}

#[tokio::test]
async fn unknown_list_is_fetched_to_its_end() {
    for size in ["page-size", "page_size", "limit"] {
        let server = start_list_server("/api/v1/x", 12, size).await;
        assert_eq!(fetch_all(&server, "/v1/x").await, (0..12).map(Value::from).collect::<Vec<_>>(), "{size}");
    }
}

#[tokio::test]
async fn list_that_ignores_pages_is_returned_once() {
    let server = MockServer::start().await;
    Mock::given(path("/api/v1/x"))
        .respond_with(ResponseTemplate::new(200).set_body_json(vec![1; 100]))
        .mount(&server)
        .await;
    assert_eq!(fetch_all(&server, "/v1/x").await.len(), 100);
    assert_eq!(request_count(&server).await, 2);
}

#[tokio::test]
async fn list_without_an_end_is_an_error() {
    let server = start_list_server("/api/v1/runs", usize::MAX, "page_size").await;
    let request = RawRequest::new(Method::Get, "/v1/runs");
    let error = client(&server, Duration::ZERO).raw_pages_up_to(request, 3).await.unwrap_err();
    assert!(error.to_string().contains("more than 3 pages"), "{error}");
    assert_eq!(request_count(&server).await, 3);
}

#[test]
fn all_lists_of_the_openapi_document_are_known() {
    let document: Value = serde_json::from_str(include_str!("../../../../../openapi/platform.json")).unwrap();
    let mut lists = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        let parameters = operations["get"]["parameters"].as_array().into_iter().flatten();
        let size = parameters
            .filter_map(|parameter| parameter["name"].as_str())
            .find(|name| PAGE_SIZE_PARAMETERS.contains(name));
        lists.extend(size.map(|size| (path.as_str(), size)));
    }
    lists.sort_unstable();
    assert_eq!(lists, KNOWN_LISTS);
    assert_eq!(page_size_parameter(&"https://h.test/api/v1/runs/1".parse().unwrap()), None);
    assert_eq!(json!(page_size_parameter(&"https://h.test/lab/api/v1/runs".parse().unwrap())), json!("page_size"));
}
