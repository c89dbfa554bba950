//! Custom transports, and options of calls.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use platform_api::blocking::{self, OnRuntime};
use platform_api::operations::{DeleteRunResults, GetArtifactFile, GetRun, GetRunItem, ListApplications, ListRuns};
use platform_api::{
    ApiError, ApiRequest, ApiResponse, CallOptions, Client, Method, Operation, Secret, Transport, TransportError,
};
use wiremock::ResponseTemplate;
use wiremock::matchers::any;

use crate::{authorized, platform};

/// A transport that records its request and returns one response.
#[derive(Debug)]
pub(crate) struct Recorder {
    response: ApiResponse,
    sent_requests: Mutex<Vec<ApiRequest>>,
}

impl Recorder {
    pub(crate) fn new(response: ApiResponse) -> Arc<Self> {
        Arc::new(Self { response, sent_requests: Mutex::default() })
    }

    pub(crate) fn client(self: &Arc<Self>) -> Client {
        Client::new(self.clone(), "https://platform.test".parse().unwrap())
    }

    pub(crate) fn sent_requests(&self) -> Vec<ApiRequest> {
        std::mem::take(&mut self.sent_requests.lock().unwrap())
    }
}

#[async_trait]
impl Transport for Recorder {
    async fn send(&self, request: ApiRequest) -> Result<ApiResponse, TransportError> {
        self.sent_requests.lock().unwrap().push(request);
        Ok(self.response.clone())
    }
}

impl blocking::Transport for Recorder {
    fn send(&self, request: ApiRequest) -> Result<ApiResponse, TransportError> {
        self.sent_requests.lock().unwrap().push(request);
        Ok(self.response.clone())
    }
}

#[derive(Debug)]
struct SharedTransport(Arc<Recorder>);

impl blocking::Transport for SharedTransport {
    fn send(&self, request: ApiRequest) -> Result<ApiResponse, TransportError> {
        blocking::Transport::send(&*self.0, request)
    }
}

#[tokio::test]
async fn operation_runs_over_async_and_blocking_transports() {
    let recorder = Recorder::new(ApiResponse::new(200, "[]"));
    assert!(recorder.client().send(&ListApplications::new()).await.unwrap().is_empty());
    let client = blocking::Client::new(SharedTransport(recorder.clone()), "https://platform.test".parse().unwrap());
    assert!(client.send(&ListApplications::new()).unwrap().is_empty());
    let [async_request, blocking_request] = &recorder.sent_requests()[..] else { panic!("expected two calls") };
    for request in [async_request, blocking_request] {
        assert_eq!((request.operation, request.method, request.success), ("list_applications", Method::Get, 200));
        assert_eq!(request.url.as_str(), "https://platform.test/api/v1/applications");
        assert_eq!(request.timeout, Duration::from_secs(30));
        assert_eq!(request.headers, [("accept".to_owned(), "application/json".to_owned())]);
        assert!(request.body.is_none());
    }
}

#[tokio::test]
async fn call_options_set_timeout_headers_and_share_token() {
    let recorder = Recorder::new(ApiResponse::new(404, ""));
    let client = recorder.client();
    let options = CallOptions::new().with_timeout(Duration::from_secs(5)).with_header("x-request-id", "canary");
    let options = options.with_share_token(Secret::new("canary +"));
    assert!(!format!("{options:?} {options:#?}").contains("canary"), "{options:?}");
    client.send_with(&GetRun::new("r"), &options).await.unwrap_err();
    client.send_with(&GetRun::new("r").with_share_token(Secret::new("own")), &options).await.unwrap_err();
    client.send_with(&GetRunItem::new("r", "i"), &options).await.unwrap_err();
    client.send_with(&GetArtifactFile::new("r", "a"), &options).await.unwrap_err();
    // The following operations do not accept a share token.
    client.send_with(&ListRuns::new().with_page(2), &options).await.unwrap_err();
    client.send_with(&DeleteRunResults::new("r"), &options).await.unwrap_err();
    let sent_requests = recorder.sent_requests();
    let queries: Vec<_> = sent_requests.iter().map(|request| request.url.query().unwrap_or_default()).collect();
    let shared = "share_token=canary%20%2B";
    assert_eq!(queries, [shared, "share_token=own", shared, shared, "page=2", ""]);
    for request in &sent_requests {
        assert_eq!(request.timeout, Duration::from_secs(5));
        assert!(request.headers.contains(&("x-request-id".to_owned(), "canary".to_owned())));
        assert!(!format!("{request:?}").contains("canary"), "{request:?}");
    }
}

#[tokio::test]
async fn headers_of_the_transport_cannot_be_set() {
    let recorder = Recorder::new(ApiResponse::new(200, "[]"));
    for name in ["Authorization", "cookie", "Host", "content-length"] {
        let options = CallOptions::new().with_header(name, "canary");
        let error = recorder.client().send_with(&ListApplications::new(), &options).await.unwrap_err();
        assert!(error.to_string().contains(name) && !format!("{error:?}").contains("canary"), "{error:?}");
    }
    assert!(recorder.sent_requests().is_empty());
}

#[test]
fn blocking_client_fails_inside_a_runtime() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let response = ResponseTemplate::new(200).set_body_string("[]");
    let (server, _) = runtime.block_on(platform(any(), response));
    let root: url::Url = server.uri().parse().unwrap();
    let client = blocking::Client::new(OnRuntime::new(authorized(&root)).unwrap(), root);
    assert!(client.send(&ListApplications::new()).unwrap().is_empty());
    let error = runtime.block_on(async { client.send(&ListApplications::new()).unwrap_err() });
    assert!(error.is_inside_runtime() && !error.is_transient() && !error.is_uncertain(), "{error:?}");
    // Dropping the client inside the runtime does not panic.
    runtime.block_on(async move { drop(client) });
}

#[derive(Debug)]
struct FailingTransport(fn() -> TransportError);

impl blocking::Transport for FailingTransport {
    fn send(&self, _request: ApiRequest) -> Result<ApiResponse, TransportError> {
        Err(self.0())
    }
}

#[test]
fn error_is_transient_or_uncertain_depending_on_the_progress() {
    for (new_error, transient, uncertain) in [
        ((|| TransportError::unreachable("no route")) as fn() -> _, true, false),
        (|| TransportError::interrupted("reset"), true, true),
        (|| TransportError::unusable("too large"), false, true),
        (|| TransportError::not_sent("no token"), false, false),
    ] {
        let client = blocking::Client::new(FailingTransport(new_error), "https://platform.test".parse().unwrap());
        let error = client.send(&GetRun::new("r")).unwrap_err();
        assert_eq!((error.is_transient(), error.is_uncertain()), (transient, uncertain), "{error:?}");
        assert_eq!((error.status(), error.operation()), (None, "get_run"));
        assert!(std::error::Error::source(&error).is_some());
    }
}

#[tokio::test]
async fn each_error_status_has_a_predicate() {
    type Predicate = fn(&ApiError) -> bool;
    let predicates: [(u16, Predicate); 9] = [
        (400, ApiError::is_bad_request),
        (401, ApiError::is_unauthorized),
        (402, ApiError::is_quota_exceeded),
        (403, ApiError::is_forbidden),
        (404, ApiError::is_not_found),
        (409, ApiError::is_already_done),
        (410, ApiError::is_gone),
        (412, ApiError::is_conflict),
        (422, ApiError::is_validation),
    ];
    for (status, _) in predicates {
        let error = Recorder::new(ApiResponse::new(status, "")).client().send(&GetRun::new("r")).await.unwrap_err();
        let matching: Vec<_> = predicates.iter().filter(|(_, is)| is(&error)).map(|(status, _)| *status).collect();
        assert_eq!(matching, [status]);
        assert!(error.to_string().contains(&status.to_string()) && !error.is_transient(), "{error}");
    }
}

#[tokio::test]
async fn response_larger_than_the_limit_is_an_error() {
    let spaces = |size: usize| " ".repeat(size);
    let (_server, client) = platform(any(), ResponseTemplate::new(400).set_body_string(spaces(1 << 20) + "x")).await;
    let error = client.send(&GetRun::new("r")).await.unwrap_err();
    assert_eq!(
        (error.status(), error.snippet()),
        (Some(400), None),
        "the status is known although the body is too large"
    );
    let request = |success| {
        let recorder = Recorder::new(ApiResponse::new(success, ""));
        async move {
            let _ = recorder.client().send(&ListApplications::new()).await;
            recorder.sent_requests().pop().unwrap()
        }
    };
    let limit = request(200).await.body_limit(200);
    let (_server, client) = platform(any(), ResponseTemplate::new(200).set_body_string(spaces(limit + 1))).await;
    let error = client.send(&ListApplications::new()).await.unwrap_err();
    assert!(error.is_uncertain() && !error.is_transient(), "{error:?}");
}

#[test]
fn redirect_to_plain_http_is_rejected_except_on_loopback() {
    let redirect = |location: Option<&str>| {
        let response = ApiResponse::new(307, "");
        let response =
            location.into_iter().fold(response, |response, location| response.with_header("Location", location));
        GetArtifactFile::decode(&response.into())
    };
    for allowed in ["https://storage.test/o?sig=canary", "http://127.0.0.1:9000/o?sig=canary"] {
        assert_eq!(redirect(Some(allowed)).unwrap().expose().as_str(), allowed);
    }
    for rejected in [None, Some("/o?sig=canary"), Some("http://storage.test/o?sig=canary"), Some("file:///etc/canary")]
    {
        let error = redirect(rejected).unwrap_err();
        assert!(error.path().contains("Location") && !format!("{error} {error:?}").contains("canary"), "{error}");
    }
}

#[tokio::test]
async fn root_path_is_prepended_to_the_operation_path() {
    let recorder = Recorder::new(ApiResponse::new(200, "[]"));
    for root in ["https://gateway.test/platform", "https://gateway.test/platform/"] {
        let client = Client::new(recorder.clone(), root.parse().unwrap());
        client.send(&ListApplications::new()).await.unwrap();
        let url = recorder.sent_requests().pop().unwrap().url;
        assert_eq!(url.as_str(), "https://gateway.test/platform/api/v1/applications");
    }
}

#[tokio::test]
async fn errors_never_show_a_share_token() {
    let free_address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (_server, failing_client) = platform(any(), ResponseTemplate::new(500)).await;
    for client in
        [crate::client(&format!("http://{free_address}")), crate::client("http://platform.test"), failing_client]
    {
        let error = client.send(&GetRun::new("r").with_share_token(Secret::new("canary"))).await.unwrap_err();
        let chain = std::iter::successors(Some(&error as &dyn std::error::Error), |&error| error.source());
        let printed: Vec<_> = chain.map(|error| format!("{error} {error:?}")).collect();
        assert!(!printed.concat().contains("canary"), "{printed:?}");
        assert!(error.to_string().starts_with("GET /api/v1/runs/r failed: "), "{error}");
    }
}
