use auth_core::TokenRequest;

/// The key of the state of a principal: its tenant and its subject.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct PrincipalKey {
    tenant: Option<String>,
    subject: Option<String>,
}

impl PrincipalKey {
    pub(super) fn from_request(request: &TokenRequest) -> Self {
        Self { tenant: request.tenant().map(str::to_owned), subject: request.subject().map(str::to_owned) }
    }
}
