use std::time::Duration;

use auth_http::{AuthorizedClient, Request};
use url::Url;

use crate::operation::{Answer, path};
use crate::{ApiError, Operation};

/// An exchange takes no longer than this.
const TIMEOUT: Duration = Duration::from_secs(30);
/// A larger answer is not read: a page of a hundred items with many artifacts stays well below.
const BODY_LIMIT: usize = 64 * 1024 * 1024;
/// Of a refusal no more than this is read.
const REFUSAL_LIMIT: usize = 1024 * 1024;

/// Sends operations to one platform. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    http: AuthorizedClient,
    root: Url,
}

impl Client {
    /// A client of the platform at `root`, such as `https://platform.aignostics.com`. A path of the
    /// root is kept before the path of each operation.
    pub fn new(http: AuthorizedClient, root: Url) -> Self {
        Self { http, root }
    }

    /// Sends `operation` and reads its answer.
    ///
    /// # Errors
    ///
    /// No answer came, the platform refused ([`ApiError::status`]), or the answer was not understood.
    pub async fn send<O: Operation>(&self, operation: &O) -> Result<O::Output, ApiError> {
        let response = self.http.send(self.request(operation)?).await.map_err(|error| ApiError::http(O::ID, error))?;
        let status = response.status();
        if status != O::SUCCESS {
            let body = response.bytes(REFUSAL_LIMIT).await.unwrap_or_default();
            return Err(ApiError::status_of(O::ID, status, &body));
        }
        let location = response.header("location").map(str::to_owned);
        let body = response.bytes(BODY_LIMIT).await.map_err(|error| ApiError::http(O::ID, error))?;
        O::decode(&Answer { location, body: body.into() }).map_err(|error| ApiError::decode(O::ID, error))
    }

    fn request<O: Operation>(&self, operation: &O) -> Result<Request, ApiError> {
        let path = path(O::TEMPLATE, &operation.segments()).map_err(|name| ApiError::segment(O::ID, name))?;
        let mut url = self.root.clone();
        url.set_path(&format!("{}{path}", self.root.path().trim_end_matches('/')));
        url.set_query(operation.query().into_text().as_deref());
        let request = Request::new(O::METHOD, url).with_timeout(TIMEOUT).with_header("accept", "application/json");
        Ok(match operation.body().map_err(|error| ApiError::body(O::ID, error))? {
            Some(body) => request.with_body("application/json", body),
            None => request,
        })
    }
}
