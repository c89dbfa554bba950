//! The time of the server in the `Date` header of responses.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use auth_http::{HttpClient, Request};
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, ResponseTemplate};

const IMF_FIXDATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

async fn date_of(headers: &[(&str, &str)]) -> Option<SystemTime> {
    let server = MockServer::start().await;
    let empty = ResponseTemplate::new(204);
    let response = headers.iter().fold(empty, |response, (name, value)| response.append_header(*name, *value));
    Mock::given(any()).respond_with(response).mount(&server).await;
    let client = HttpClient::builder().with_plain_loopback().build().unwrap();
    client.send(Request::get(server.uri().parse().unwrap())).await.unwrap().date()
}

#[tokio::test]
async fn date_is_read_in_the_three_formats_of_http() {
    let expected = UNIX_EPOCH + Duration::from_secs(784_111_777);
    for date in [IMF_FIXDATE, "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"] {
        assert_eq!(date_of(&[("date", date)]).await, Some(expected), "{date}");
    }
}

#[tokio::test]
async fn date_in_another_format_is_ignored() {
    for date in ["", "now", "784111777", "1994-11-06T08:49:37Z", "Sun, 06 Nov 1994 08:49:37 +0100"] {
        assert_eq!(date_of(&[("date", date)]).await, None, "{date}");
    }
}

#[tokio::test]
async fn date_of_a_cached_response_is_ignored() {
    for (age_values, is_used) in [
        (&["0"][..], true),
        (&["1"], false),
        (&["86400"], false),
        (&["0", "1"], false),
        (&["soon"], false),
        (&[""], false),
    ] {
        let age_headers = age_values.iter().map(|age| ("age", *age));
        let headers: Vec<_> = age_headers.chain([("date", IMF_FIXDATE)]).collect();
        assert_eq!(date_of(&headers).await.is_some(), is_used, "{headers:?}");
    }
}
