//! Requests for cards.

use std::sync::Arc;

use auth_core::Authority;
use auth_http::{Method, Request, Response};
use url::Url;

use super::cache::{CachedCard, card_key};
use super::hints::Hints;
use super::{AgentCard, AgentCardError, CardCache, parse};
use crate::principal::Principal;
use crate::server::{AgentAddress, Server};
use crate::transport::{CORRELATION_HEADER, CorrelationId, Identities, Transport};

/// The maximum size of a card, in bytes.
const MAX_CARD_BYTES: usize = 1024 * 1024;
/// The media types of a card: JSON for all versions, and the type of A2A 1.0 (section 14.1).
const ACCEPT: &str = "application/json, application/a2a+json";

/// The cached cards of a gateway, and its configuration for agents.
pub(crate) struct AgentCards {
    pub(crate) cache: CardCache,
    /// The agents that the caller has configured in addition to those of the directory.
    pub(crate) added_agents: Vec<AgentAddress>,
    /// The origins at which all agents may have interfaces, in addition to their own.
    pub(crate) permitted_origins: Vec<Authority>,
    pub(crate) plain_loopback: bool,
}

/// The context of a request: the connections, the principal and the correlation id.
#[derive(Clone, Copy)]
pub(crate) struct RequestContext<'a> {
    pub(crate) identities: &'a Arc<Identities>,
    pub(crate) principal: &'a Principal,
    pub(crate) correlation: &'a CorrelationId,
}

impl AgentCards {
    /// Returns the card of an agent for a principal, from the cache or from the agent.
    pub(crate) async fn card(
        &self,
        agent: &AgentAddress,
        context: RequestContext<'_>,
    ) -> Result<AgentCard, AgentCardError> {
        if !agent.is_available_to(context.principal) {
            return Err(AgentCardError::tenant(agent));
        }
        let key = card_key(agent, context.principal);
        let cached = self.cache.get(&key);
        if let Some(cached) = cached.as_ref().filter(|cached| self.cache.is_fresh(cached)) {
            return Ok(cached.card.clone());
        }
        let epoch = self.cache.epoch();
        let entity_tag = cached.as_ref().and_then(|cached| cached.hints.entity_tag.as_deref());
        let response = self.send(agent, context, entity_tag).await?;
        let hints = Hints::from_response(&response);
        let (card, hints) = match (response.status(), cached) {
            (304, Some(CachedCard { card, hints: stored, .. })) if stored.entity_tag.is_some() => {
                (card, hints.with_missing_from(stored))
            }
            (200, _) => (self.read(agent, response).await?, hints),
            (300..=399, _) if response.header("location").is_some() => return Err(redirect(agent, &response)),
            (status, _) => return Err(AgentCardError::unexpected_status(agent, status)),
        };
        self.cache.insert(&key, card.clone(), hints, epoch);
        Ok(card)
    }

    /// Requests a card. With an entity tag, the agent responds with 304 if the card is unchanged.
    async fn send(
        &self,
        agent: &AgentAddress,
        context: RequestContext<'_>,
        entity_tag: Option<&str>,
    ) -> Result<Response, AgentCardError> {
        let token_request = context.principal.token_request();
        let server = Server::at(agent.card_url().clone(), agent.id(), agent.tenant());
        let transport = Transport::new(context.identities.clone(), &server, self.plain_loopback, token_request);
        let request = || {
            let request = Request::new(Method::Get, agent.card_url().clone()).with_header("accept", ACCEPT);
            let request = request.with_header(CORRELATION_HEADER, &context.correlation.0);
            entity_tag.iter().fold(request, |request, entity_tag| request.with_header("if-none-match", *entity_tag))
        };
        transport.send(request).await.map_err(|error| AgentCardError::transport(agent, error))
    }

    async fn read(&self, agent: &AgentAddress, response: Response) -> Result<AgentCard, AgentCardError> {
        let content_type = response.header("content-type").unwrap_or_default();
        if !is_json(content_type) {
            return Err(AgentCardError::media_type(agent, content_type));
        }
        let body = response.bytes(MAX_CARD_BYTES).await.map_err(|error| AgentCardError::http(agent, error))?;
        let agent_origin = Authority::of(agent.url());
        let foreign_origin = |url: &Url| {
            let origin = Authority::of(url);
            (origin != agent_origin && !self.permitted_origins.contains(&origin)).then(|| origin.to_string())
        };
        parse::parse(&body, foreign_origin).map_err(|flaw| AgentCardError::flaw(agent, flaw))
    }
}

/// Returns the error of a redirect. It shows only the origin of the target, because the rest may contain a credential.
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
