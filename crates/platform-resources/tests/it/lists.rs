use futures_util::TryStreamExt;
use platform_resources::models::ApplicationSummary;
use serde_json::{Value, json};
use wiremock::matchers::{path, query_param};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::lab::mock_client;

fn page(names: impl Iterator<Item = usize>) -> ResponseTemplate {
    let application = |number| json!({ "application_id": format!("app-{number}"), "name": "", "regulatory_classes": [], "description": "" });
    ResponseTemplate::new(200).set_body_json(names.map(application).collect::<Value>())
}

/// Starts a platform whose list of applications has these pages.
async fn start_platform(pages: Vec<ResponseTemplate>) -> MockServer {
    let server = MockServer::start().await;
    for (response, number) in pages.into_iter().zip(1..) {
        let number: i32 = number;
        Mock::given(path("/api/v1/applications"))
            .and(query_param("page", number.to_string()))
            .and(query_param("page-size", "100"))
            .respond_with(response)
            .mount(&server)
            .await;
    }
    server
}

async fn list_entries(pages: Vec<ResponseTemplate>) -> Result<Vec<ApplicationSummary>, platform_resources::Error> {
    let server = start_platform(pages).await;
    let applications: Vec<_> = mock_client(&server.uri()).applications().list().try_collect().await?;
    let in_order = applications
        .iter()
        .enumerate()
        .all(|(index, application)| application.application_id.as_str() == format!("app-{index}"));
    assert!(in_order);
    Ok(applications)
}

/// Lists the applications of a platform with these pages, and returns their number.
async fn count_entries(pages: Vec<ResponseTemplate>) -> Result<usize, platform_resources::Error> {
    Ok(list_entries(pages).await?.len())
}

#[tokio::test]
async fn list_ends_with_a_page_that_is_not_full() {
    assert_eq!(count_entries(vec![page(0..3)]).await.unwrap(), 3);
    assert_eq!(count_entries(vec![page(0..100), page(100..200), page(200..201)]).await.unwrap(), 201);
    assert_eq!(count_entries(vec![page(0..0)]).await.unwrap(), 0);
}

#[tokio::test]
async fn list_ends_with_404_for_a_page_beyond_the_end() {
    assert_eq!(count_entries(vec![page(0..100), ResponseTemplate::new(404)]).await.unwrap(), 100);
    assert_eq!(count_entries(vec![page(0..100), page(0..0)]).await.unwrap(), 100);
}

#[tokio::test]
async fn list_with_a_failed_page_is_an_error() {
    let error = count_entries(vec![ResponseTemplate::new(404)]).await.unwrap_err();
    assert!(error.api().unwrap().is_not_found(), "404 for the first page is an error");
    let error = count_entries(vec![page(0..100), ResponseTemplate::new(500)]).await.unwrap_err();
    assert_eq!(error.api().unwrap().status(), Some(500));
}

/// Starts a platform with `full_pages` full pages and a partial page, and with a latency of `delay`.
async fn start_long_list(full_pages: usize, delay: std::time::Duration) -> MockServer {
    let server = MockServer::start().await;
    let response = move |request: &wiremock::Request| {
        let requested_page =
            request.url.query_pairs().find(|(name, _)| name == "page").unwrap().1.parse::<usize>().unwrap();
        match requested_page {
            beyond if beyond > full_pages + 1 => ResponseTemplate::new(404),
            last if last == full_pages + 1 => page(full_pages * 100..full_pages * 100 + 7),
            number => page((number - 1) * 100..number * 100),
        }
        .set_delay(delay)
    };
    Mock::given(path("/api/v1/applications")).respond_with(response).mount(&server).await;
    server
}

async fn requested_pages(server: &MockServer) -> Vec<usize> {
    let requests = server.received_requests().await.unwrap();
    let page = |request: &wiremock::Request| {
        request.url.query_pairs().find(|(name, _)| name == "page").unwrap().1.into_owned()
    };
    let mut pages: Vec<usize> = requests.iter().map(|request| page(request).parse().unwrap()).collect();
    pages.sort_unstable();
    pages
}

#[tokio::test]
async fn long_list_is_prefetched_and_returned_in_order() {
    let server = start_long_list(30, std::time::Duration::ZERO).await;
    let all: Vec<_> = mock_client(&server.uri()).applications().list().try_collect().await.unwrap();
    assert_eq!(all.len(), 3007);
    let in_order = all.iter().enumerate().all(|(index, entry)| entry.application_id.as_str() == format!("app-{index}"));
    assert!(in_order);
    let pages = requested_pages(&server).await;
    assert!(
        pages.len() <= 31 + 7 && pages[..31] == (1..=31).collect::<Vec<_>>(),
        "each page is requested once, and few beyond the end: {pages:?}"
    );
}

#[tokio::test]
async fn unneeded_pages_are_not_requested() {
    for (limit, page_count) in [(1, 1), (100, 1), (101, 2), (450, 5)] {
        let server = start_long_list(30, std::time::Duration::ZERO).await;
        let entries: Vec<_> =
            mock_client(&server.uri()).applications().list().limit(limit).try_collect().await.unwrap();
        assert_eq!(entries.len(), limit);
        assert_eq!(requested_pages(&server).await, (1..=page_count).collect::<Vec<_>>(), "{limit}");
    }
    let server = start_long_list(30, std::time::Duration::ZERO).await;
    let no_entries: Vec<_> = mock_client(&server.uri()).applications().list().limit(0).try_collect().await.unwrap();
    assert!(no_entries.is_empty() && requested_pages(&server).await.is_empty());
    let mut list = mock_client(&server.uri()).applications().list();
    list.try_next().await.unwrap().unwrap();
    drop(list);
    assert_eq!(requested_pages(&server).await, [1], "reading one entry requests one page");
}

#[tokio::test]
async fn entry_that_moves_to_the_next_page_is_returned_once() {
    // An entry was inserted at the front between the requests. The last entry of a page is therefore also on the next
    // page.
    let all = list_entries(vec![page(0..100), page(99..199), page(198..200)]).await.unwrap();
    assert_eq!(all.len(), 200);
}

#[tokio::test]
async fn error_is_returned_after_the_entries_before_it() {
    let pages = (0..4).map(|number| page(number * 100..(number + 1) * 100));
    let pages = pages.chain([ResponseTemplate::new(403), page(500..600), page(600..601)]).collect();
    let server = start_platform(pages).await;
    let mut list = mock_client(&server.uri()).applications().list();
    for _ in 0..400 {
        list.try_next().await.unwrap().unwrap();
    }
    assert_eq!(list.try_next().await.unwrap_err().api().unwrap().status(), Some(403));
    assert!(list.try_next().await.unwrap().is_none(), "the list ends after an error");
}

#[tokio::test]
async fn page_size_and_order_of_the_query_are_used() {
    let server = MockServer::start().await;
    Mock::given(path("/api/v1/applications"))
        .and(query_param("page-size", "5"))
        .and(query_param("sort", "-name"))
        .respond_with(page(0..3))
        .mount(&server)
        .await;
    let query =
        platform_resources::operations::ListApplications::new().with_page_size(5).with_sort(["-name".to_owned()]);
    let entries: Vec<_> = mock_client(&server.uri()).applications().list_with(query).try_collect().await.unwrap();
    assert_eq!(entries.len(), 3);
}

#[tokio::test]
async fn slow_reader_does_not_time_out_pages() {
    let server = start_long_list(12, std::time::Duration::from_millis(20)).await;
    let mut settings = platform_resources::Settings::at(&server.uri().parse().unwrap()).unwrap();
    settings.application.timeout = std::time::Duration::from_secs(5);
    let provider = auth_core::async_provider_fn(|_| async { Ok("external") });
    let client = platform_resources::Client::builder(settings).with_token_provider(provider).build().unwrap();
    let mut list = client.applications().list();
    let mut count = 0;
    while list.try_next().await.unwrap().is_some() {
        count += 1;
        if count == 250 {
            // The list is not polled during this time.
            let busy_reader = tokio::time::timeout(std::time::Duration::from_secs(6), std::future::pending::<()>());
            busy_reader.await.unwrap_err();
        }
    }
    assert_eq!(count, 1207);
    let pages = requested_pages(&server).await;
    let distinct_pages: std::collections::BTreeSet<_> = pages.iter().collect();
    assert_eq!(distinct_pages.len(), pages.len(), "no page is requested twice: {pages:?}");
}
