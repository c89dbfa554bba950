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
    /// The time limit for the confirmation of a submission by the user.
    pub(crate) confirmation_timeout: Duration,
    /// The secret key of the confirmation codes. Without it, clients cannot compute a code.
    pub(crate) confirmation_key: [[u8; 16]; 2],
}

impl Shared {
    /// Returns the name by which the client introduced itself.
    pub(crate) fn client_name(context: &RequestContext<RoleServer>) -> String {
        let info = context.client_info();
        info.map_or_else(|| "unnamed".to_owned(), |info| info.name)
    }
}
