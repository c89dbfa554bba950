//! Requests for cards.

use std::sync::Arc;

use auth_core::Authority;
use auth_http::{Method, Request, Response};
use url::Url;

use super::cache::{CachedCard, key};
use super::hints::Hints;
use super::{AgentCard, AgentCardError, CardCache, parse};
use crate::principal::Principal;
use crate::server::{AgentAddress, Server};
use crate::transport::{CORRELATION, Correlation, Identities, Transport};

/// The maximum size of a card, in bytes.
const MAX_CARD_BYTES: usize = 1024 * 1024;
/// The media types of a card: that of all versions, and that of A2A 1.0 (section 14.1).
const ACCEPT: &str = "application/json, application/a2a+json";

/// The cards of a gateway, and what it adds to those of its directory.
pub(crate) struct AgentCards {
    pub(crate) cache: CardCache,
    /// The agents that the caller has added to those of the directory.
    pub(crate) added: Vec<AgentAddress>,
    /// The origins at which any agent may have interfaces.
    pub(crate) origins: Vec<Authority>,
    pub(crate) plain_loopback: bool,
}

/// The origin of a request: the connections, the principal and its correlation id.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) identities: &'a Arc<Identities>,
    pub(crate) principal: &'a Principal,
    pub(crate) correlation: &'a Correlation,
}

impl AgentCards {
    /// Returns the card of an agent for a principal, from the cache or from the agent.
    pub(crate) async fn card(&self, agent: &AgentAddress, source: Source<'_>) -> Result<AgentCard, AgentCardError> {
        if !agent.admits(source.principal) {
            return Err(AgentCardError::tenant(agent));
        }
        let key = key(agent, source.principal);
        let cached = self.cache.get(&key);
        if let Some(cached) = cached.as_ref().filter(|cached| self.cache.is_fresh(cached)) {
            return Ok(cached.card.clone());
        }
        let epoch = self.cache.epoch();
        let tag = cached.as_ref().and_then(|cached| cached.hints.tag.as_deref());
        let response = self.send(agent, source, tag).await?;
        let hints = Hints::of(&response);
        let (card, hints) = match (response.status(), cached) {
            (304, Some(CachedCard { card, hints: stored, .. })) if stored.tag.is_some() => (card, hints.or(stored)),
            (200, _) => (self.read(agent, response).await?, hints),
            (300..=399, _) if response.header("location").is_some() => return Err(redirect(agent, &response)),
            (status, _) => return Err(AgentCardError::unexpected(agent, status)),
        };
        self.cache.keep(&key, card.clone(), hints, epoch);
        Ok(card)
    }

    async fn send(
        &self,
        agent: &AgentAddress,
        source: Source<'_>,
        tag: Option<&str>,
    ) -> Result<Response, AgentCardError> {
        let wanted = source.principal.token_request();
        let server = Server::at(agent.card_url().clone(), agent.id(), agent.tenant());
        let transport = Transport::new(source.identities.clone(), &server, self.plain_loopback, wanted);
        let request = || {
            let request = Request::new(Method::Get, agent.card_url().clone()).with_header("accept", ACCEPT);
            let request = request.with_header(CORRELATION, &source.correlation.0);
            tag.iter().fold(request, |request, tag| request.with_header("if-none-match", *tag))
        };
        transport.send(request).await.map_err(|error| AgentCardError::transport(agent, error))
    }

    async fn read(&self, agent: &AgentAddress, response: Response) -> Result<AgentCard, AgentCardError> {
        let stated = response.header("content-type").unwrap_or_default();
        if !is_json(stated) {
            return Err(AgentCardError::media_type(agent, stated));
        }
        let body = response.bytes(MAX_CARD_BYTES).await.map_err(|error| AgentCardError::http(agent, error))?;
        let own = Authority::of(agent.url());
        let foreign = |url: &Url| {
            let claimed = Authority::of(url);
            (claimed != own && !self.origins.contains(&claimed)).then(|| claimed.to_string())
        };
        parse::parse(&body, foreign).map_err(|flaw| AgentCardError::flaw(agent, flaw))
    }
}

/// Returns the error of a redirect. It shows the origin of the target, because the rest may contain a credential.
fn redirect(agent: &AgentAddress, response: &Response) -> AgentCardError {
    let target = response.header("location").and_then(|target| agent.card_url().join(target).ok());
    let target = target.map(|target| Authority::of(&target).to_string());
    AgentCardError::redirect(agent, target.as_deref().unwrap_or("a location that is not a URL"))
}

/// Returns true for `application/json`, and for media types with the suffix `+json` (RFC 6839, section 3.1).
fn is_json(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let Some(subtype) = essence.strip_prefix("application/") else { return false };
    subtype == "json" || subtype.ends_with("+json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_media_types_of_json_are_accepted() {
        for accepted in ["application/json", "Application/JSON; charset=utf-8", "application/a2a+json"] {
            assert!(is_json(accepted), "{accepted}");
        }
        for refused in ["", "text/html", "text/json", "application/jsonp", "application/x-ndjson", "json"] {
            assert!(!is_json(refused), "{refused}");
        }
    }
}
