//! Validation of cards: the required fields of A2A 1.0 (section 8.5) and A2A 0.3 (section 5.5), and the origins of URLs.

use std::sync::Arc;

use serde_json::Value;
use url::Url;

use super::part::{Flaw, Part};
use super::{AgentCapabilities, AgentCard, AgentExtension, AgentInterface, AgentSkill, Inner};
use crate::transport::is_bounded;

/// The maximum number of skills of an agent.
const MAX_SKILLS: usize = 1000;
/// The maximum number of interfaces, and of extensions, of an agent.
const MAX_INTERFACES: usize = 100;
/// The binding of `url` in a card of A2A 0.3 without a `preferredTransport`.
const DEFAULT_BINDING: &str = "JSONRPC";
/// The version of a card without a `protocolVersion`.
const DEFAULT_VERSION: &str = "0.3.0";

/// Reads a card. `origin` returns the origin of a URL at which the agent must not have an interface.
pub(super) fn parse(body: &[u8], origin: impl Fn(&Url) -> Option<String>) -> Result<AgentCard, Flaw> {
    if !is_bounded(body) {
        return Err(Flaw::Document("it has too many values or is nested too deeply"));
    }
    // The decoder's error message may show the card.
    let json: Value = serde_json::from_slice(body).map_err(|_| Flaw::Document("it is not valid JSON"))?;
    let card = Part::card(&json)?;
    let inner = Inner {
        name: card.name("name")?,
        description: card.text("description")?,
        version: card.name("version")?,
        interfaces: interfaces(&card, origin)?,
        capabilities: capabilities(&card)?,
        input_modes: card.names("defaultInputModes")?,
        output_modes: card.names("defaultOutputModes")?,
        skills: card.objects("skills", MAX_SKILLS)?.iter().map(skill).collect::<Result<_, _>>()?,
        size: body.len(),
        json: Value::Null,
    };
    Ok(AgentCard(Arc::new(Inner { json, ..inner })))
}

/// Returns the interfaces of A2A 1.0, or else those of A2A 0.3. A card may have both, for clients of either version.
fn interfaces(card: &Part<'_>, origin: impl Fn(&Url) -> Option<String>) -> Result<Vec<AgentInterface>, Flaw> {
    let url = |part: &Part<'_>| url(part, &origin);
    let legacy = card.get("url").map(|_| url(card)).transpose()?;
    if card.get("supportedInterfaces").is_some() {
        let interfaces = card.objects("supportedInterfaces", MAX_INTERFACES)?;
        let interface = |part: &Part<'_>| -> Result<_, Flaw> {
            Ok(AgentInterface {
                url: url(part)?,
                binding: part.name("protocolBinding")?,
                protocol_version: part.name("protocolVersion")?,
                tenant: part.optional_name("tenant")?,
            })
        };
        let interfaces: Vec<_> = interfaces.iter().map(interface).collect::<Result<_, _>>()?;
        if interfaces.is_empty() {
            return Err(card.flaw("supportedInterfaces", "a list with at least one interface"));
        }
        return Ok(interfaces);
    }
    let legacy =
        legacy.ok_or_else(|| card.flaw("supportedInterfaces", "a list of interfaces, or `url` must be a URL"))?;
    let or_default = |text: Option<String>, default: &str| text.unwrap_or_else(|| default.to_owned());
    let protocol_version = or_default(card.optional_name("protocolVersion")?, DEFAULT_VERSION);
    let at = |url, binding| AgentInterface { url, binding, protocol_version: protocol_version.clone(), tenant: None };
    let mut interfaces = vec![at(legacy, or_default(card.optional_name("preferredTransport")?, DEFAULT_BINDING))];
    if card.get("additionalInterfaces").is_some() {
        for part in card.objects("additionalInterfaces", MAX_INTERFACES)? {
            let interface = at(url(&part)?, part.name("transport")?);
            // A card should list its preferred interface again.
            if !interfaces.contains(&interface) {
                interfaces.push(interface);
            }
        }
    }
    Ok(interfaces)
}

/// Returns the URL of an interface.
fn url(part: &Part<'_>, origin: impl Fn(&Url) -> Option<String>) -> Result<Url, Flaw> {
    let wrong = || part.flaw("url", "an absolute https URL without a user name");
    let url: Url = part.name("url").map_err(|_| wrong())?.parse().map_err(|_| wrong())?;
    let is_plain = url.username().is_empty() && url.password().is_none();
    if !matches!(url.scheme(), "https" | "http") || !url.has_host() || !is_plain {
        return Err(wrong());
    }
    match origin(&url) {
        Some(origin) => Err(Flaw::Origin(part.place("url"), origin)),
        None => Ok(url),
    }
}

fn capabilities(card: &Part<'_>) -> Result<AgentCapabilities, Flaw> {
    let part = card.object("capabilities")?;
    let extensions = part.get("extensions").map(|_| part.objects("extensions", MAX_INTERFACES)).transpose()?;
    let extension = |part: &Part<'_>| -> Result<_, Flaw> {
        Ok(AgentExtension { uri: part.name("uri")?, required: part.flag("required")? })
    };
    Ok(AgentCapabilities {
        streaming: part.flag("streaming")?,
        push_notifications: part.flag("pushNotifications")?,
        extended_card: part.flag("extendedAgentCard")? || card.flag("supportsAuthenticatedExtendedCard")?,
        extensions: extensions.unwrap_or_default().iter().map(extension).collect::<Result<_, _>>()?,
    })
}

fn skill(part: &Part<'_>) -> Result<AgentSkill, Flaw> {
    Ok(AgentSkill {
        id: part.name("id")?,
        name: part.name("name")?,
        description: part.text("description")?,
        tags: part.names("tags")?,
        examples: part.optional_texts("examples")?,
        input_modes: part.optional_names("inputModes")?,
        output_modes: part.optional_names("outputModes")?,
    })
}

#[cfg(test)]
mod tests;
