use auth_core::TokenRequest;

/// A principal: its tenant and its subject. The state of one is never used for another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Who {
    tenant: Option<String>,
    subject: Option<String>,
}

impl Who {
    pub(super) fn of(request: &TokenRequest) -> Self {
        Self { tenant: request.tenant().map(str::to_owned), subject: request.subject().map(str::to_owned) }
    }
}
