//! Validation of cards: the required fields of A2A 1.0 (section 8.5) and A2A 0.3 (section 5.5), and the origins of
//! URLs.

use std::sync::Arc;

use serde_json::Value;
use url::Url;

use super::part::{CardObject, Flaw};
use super::{AgentCapabilities, AgentCard, AgentExtension, AgentInterface, AgentSkill, Inner};
use crate::transport::is_bounded;

/// The maximum number of skills of an agent.
const MAX_SKILLS: usize = 1000;
/// The maximum number of interfaces, and of extensions, of an agent.
const MAX_INTERFACES: usize = 100;
/// The binding of `url` in a card of A2A 0.3 without a `preferredTransport`.
const DEFAULT_BINDING: &str = "JSONRPC";
/// The version of a card without a `protocolVersion`.
const DEFAULT_PROTOCOL_VERSION: &str = "0.3.0";

/// Validates a card. `foreign_origin` returns the origin of a URL if the agent must not have an interface there.
pub(super) fn parse(body: &[u8], foreign_origin: impl Fn(&Url) -> Option<String>) -> Result<AgentCard, Flaw> {
    if !is_bounded(body) {
        return Err(Flaw::Document("it has too many values or is nested too deeply"));
    }
    // The decoder's error message may show the card.
    let json: Value = serde_json::from_slice(body).map_err(|_| Flaw::Document("it is not valid JSON"))?;
    let card = CardObject::card(&json)?;
    let inner = Inner {
        name: card.name("name")?,
        description: card.text("description")?,
        version: card.name("version")?,
        interfaces: interfaces(&card, foreign_origin)?,
        capabilities: capabilities(&card)?,
        input_modes: card.names("defaultInputModes")?,
        output_modes: card.names("defaultOutputModes")?,
        skills: card.objects("skills", MAX_SKILLS)?.iter().map(skill).collect::<Result<_, _>>()?,
        size: body.len(),
        json: Value::Null,
    };
    Ok(AgentCard(Arc::new(Inner { json, ..inner })))
}

/// Returns the interfaces of A2A 1.0, or else those of A2A 0.3. A card can have both, for clients of both versions.
fn interfaces(
    card: &CardObject<'_>,
    foreign_origin: impl Fn(&Url) -> Option<String>,
) -> Result<Vec<AgentInterface>, Flaw> {
    let url = |object: &CardObject<'_>| url(object, &foreign_origin);
    let legacy_url = card.get("url").map(|_| url(card)).transpose()?;
    if card.get("supportedInterfaces").is_some() {
        let interfaces = card.objects("supportedInterfaces", MAX_INTERFACES)?;
        let interface = |object: &CardObject<'_>| -> Result<_, Flaw> {
            Ok(AgentInterface {
                url: url(object)?,
                binding: object.name("protocolBinding")?,
                protocol_version: object.name("protocolVersion")?,
                tenant: object.optional_name("tenant")?,
            })
        };
        let interfaces: Vec<_> = interfaces.iter().map(interface).collect::<Result<_, _>>()?;
        if interfaces.is_empty() {
            return Err(card.flaw("supportedInterfaces", "a list with at least one interface"));
        }
        return Ok(interfaces);
    }
    let legacy_url =
        legacy_url.ok_or_else(|| card.flaw("supportedInterfaces", "a list of interfaces, or `url` must be a URL"))?;
    let or_default = |text: Option<String>, default: &str| text.unwrap_or_else(|| default.to_owned());
    let protocol_version = or_default(card.optional_name("protocolVersion")?, DEFAULT_PROTOCOL_VERSION);
    let legacy_interface =
        |url, binding| AgentInterface { url, binding, protocol_version: protocol_version.clone(), tenant: None };
    let mut interfaces =
        vec![legacy_interface(legacy_url, or_default(card.optional_name("preferredTransport")?, DEFAULT_BINDING))];
    if card.get("additionalInterfaces").is_some() {
        for object in card.objects("additionalInterfaces", MAX_INTERFACES)? {
            let interface = legacy_interface(url(&object)?, object.name("transport")?);
            // A card should repeat its preferred interface in this list.
            if !interfaces.contains(&interface) {
                interfaces.push(interface);
            }
        }
    }
    Ok(interfaces)
}

/// Returns the URL of an interface. Refuses a foreign origin.
fn url(object: &CardObject<'_>, foreign_origin: impl Fn(&Url) -> Option<String>) -> Result<Url, Flaw> {
    let url_flaw = || object.flaw("url", "an absolute https URL without a user name");
    let url: Url = object.name("url").map_err(|_| url_flaw())?.parse().map_err(|_| url_flaw())?;
    let has_no_user = url.username().is_empty() && url.password().is_none();
    if !matches!(url.scheme(), "https" | "http") || !url.has_host() || !has_no_user {
        return Err(url_flaw());
    }
    match foreign_origin(&url) {
        Some(origin) => Err(Flaw::Origin(object.path("url"), origin)),
        None => Ok(url),
    }
}

fn capabilities(card: &CardObject<'_>) -> Result<AgentCapabilities, Flaw> {
    let object = card.object("capabilities")?;
    let extensions = object.get("extensions").map(|_| object.objects("extensions", MAX_INTERFACES)).transpose()?;
    let extension = |object: &CardObject<'_>| -> Result<_, Flaw> {
        Ok(AgentExtension { uri: object.name("uri")?, required: object.flag("required")? })
    };
    Ok(AgentCapabilities {
        streaming: object.flag("streaming")?,
        push_notifications: object.flag("pushNotifications")?,
        extended_card: object.flag("extendedAgentCard")? || card.flag("supportsAuthenticatedExtendedCard")?,
        extensions: extensions.unwrap_or_default().iter().map(extension).collect::<Result<_, _>>()?,
    })
}

fn skill(object: &CardObject<'_>) -> Result<AgentSkill, Flaw> {
    Ok(AgentSkill {
        id: object.name("id")?,
        name: object.name("name")?,
        description: object.text("description")?,
        tags: object.names("tags")?,
        examples: object.optional_texts("examples")?,
        input_modes: object.optional_names("inputModes")?,
        output_modes: object.optional_names("outputModes")?,
    })
}

#[cfg(test)]
mod tests;
