use futures_util::TryStreamExt;
use serde_json::{Value, json};
use wiremock::matchers::{path, query_param};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::lab::scripted;

fn page(names: impl Iterator<Item = usize>) -> ResponseTemplate {
    let application = |number| json!({ "application_id": format!("app-{number}"), "name": "", "regulatory_classes": [], "description": "" });
    ResponseTemplate::new(200).set_body_json(names.map(application).collect::<Value>())
}

/// Lists the applications of a platform with these pages.
async fn list(pages: Vec<ResponseTemplate>) -> Result<usize, platform_resources::Error> {
    let server = MockServer::start().await;
    for (answer, number) in pages.into_iter().zip(1..) {
        let number: i32 = number;
        Mock::given(path("/api/v1/applications"))
            .and(query_param("page", number.to_string()))
            .and(query_param("page-size", "100"))
            .respond_with(answer)
            .mount(&server)
            .await;
    }
    let applications: Vec<_> = scripted(&server.uri()).applications().list().try_collect().await?;
    let in_order = applications
        .iter()
        .enumerate()
        .all(|(index, application)| application.application_id.as_str() == format!("app-{index}"));
    assert!(in_order);
    Ok(applications.len())
}

#[tokio::test]
async fn a_list_ends_with_a_page_that_is_not_full() {
    assert_eq!(list(vec![page(0..3)]).await.unwrap(), 3);
    assert_eq!(list(vec![page(0..100), page(100..200), page(200..201)]).await.unwrap(), 201);
    assert_eq!(list(vec![page(0..0)]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_page_beyond_the_end_may_not_be_found() {
    assert_eq!(list(vec![page(0..100), ResponseTemplate::new(404)]).await.unwrap(), 100);
    assert_eq!(list(vec![page(0..100), page(0..0)]).await.unwrap(), 100);
}

#[tokio::test]
async fn an_error_never_shortens_a_list() {
    let error = list(vec![ResponseTemplate::new(404)]).await.unwrap_err();
    assert!(error.api().unwrap().is_not_found(), "on page 1 it is an error");
    let error = list(vec![page(0..100), ResponseTemplate::new(500)]).await.unwrap_err();
    assert_eq!(error.api().unwrap().status(), Some(500));
}
