//! The state of the server.

use std::time::Duration;

use platform_resources::Client;
use rmcp::RoleServer;
use rmcp::service::RequestContext;

use crate::budget::Budget;
use crate::folders::Folders;

/// The state that all requests share.
pub(crate) struct Shared {
    pub(crate) client: Client,
    pub(crate) folders: Folders,
    pub(crate) budget: Option<Budget>,
    pub(crate) bucket_user: String,
    /// The time that the user has to confirm a submission.
    pub(crate) confirmation_timeout: Duration,
    /// Makes the codes of confirmations unknown to clients.
    pub(crate) confirmation_key: [[u8; 16]; 2],
}

impl Shared {
    /// Returns the name of the client, which it chose.
    pub(crate) fn client_name(context: &RequestContext<RoleServer>) -> String {
        let info = context.client_info();
        info.map_or_else(|| "unnamed".to_owned(), |info| info.name)
    }
}
