//! The model of A2A agent cards, and the code that fetches, validates and caches them.

mod cache;
mod error;
mod fetch;
mod hints;
mod parse;
mod part;

use std::fmt;
use std::sync::Arc;

use serde_json::Value;
use url::Url;

pub(crate) use cache::CardCache;
pub use error::AgentCardError;
pub(crate) use fetch::{AgentCards, RequestContext};

/// The card of an A2A agent (A2A 0.3 and 1.0): its identity, interfaces, capabilities and skills. It is validated: all
/// required fields are present, and all interfaces are at a permitted origin. Clones are cheap.
///
/// All texts come from the agent, and are not sanitized for a terminal or for a language model. Only names, ids, tags
/// and media types have no control characters.
#[derive(Clone, PartialEq)]
pub struct AgentCard(Arc<Inner>);

#[derive(PartialEq)]
struct Inner {
    name: String,
    description: String,
    version: String,
    interfaces: Vec<AgentInterface>,
    capabilities: AgentCapabilities,
    input_modes: Vec<String>,
    output_modes: Vec<String>,
    skills: Vec<AgentSkill>,
    json: Value,
    /// The size of the JSON, in bytes.
    size: usize,
}

/// An interface of an agent: a URL and the binding of the protocol at this URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentInterface {
    url: Url,
    binding: String,
    protocol_version: String,
    tenant: Option<String>,
}

/// The optional capabilities of an agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentCapabilities {
    streaming: bool,
    push_notifications: bool,
    extended_card: bool,
    extensions: Vec<AgentExtension>,
}

/// An extension of the protocol that an agent supports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentExtension {
    uri: String,
    required: bool,
}

/// A skill of an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentSkill {
    id: String,
    name: String,
    description: String,
    tags: Vec<String>,
    examples: Vec<String>,
    input_modes: Option<Vec<String>>,
    output_modes: Option<Vec<String>>,
}

impl AgentCard {
    /// Returns the name of the agent.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Returns the description of the agent, for users and language models.
    pub fn description(&self) -> &str {
        &self.0.description
    }

    /// Returns the version of the agent. Its provider chooses the format.
    pub fn version(&self) -> &str {
        &self.0.version
    }

    /// Returns the interfaces, the preferred one first. There is at least one.
    ///
    /// They come from `supportedInterfaces` (A2A 1.0), or else from `url` and `additionalInterfaces` (A2A 0.3).
    pub fn interfaces(&self) -> &[AgentInterface] {
        &self.0.interfaces
    }

    /// Returns the capabilities.
    pub fn capabilities(&self) -> &AgentCapabilities {
        &self.0.capabilities
    }

    /// Returns the media types of input that a skill accepts if it has none of its own.
    pub fn default_input_modes(&self) -> &[String] {
        &self.0.input_modes
    }

    /// Returns the media types of output that a skill produces if it has none of its own.
    pub fn default_output_modes(&self) -> &[String] {
        &self.0.output_modes
    }

    /// Returns the skills.
    pub fn skills(&self) -> &[AgentSkill] {
        &self.0.skills
    }

    /// Returns the card as JSON. Fields for which this type has no method, such as the security schemes, are not
    /// validated.
    pub fn json(&self) -> &Value {
        &self.0.json
    }

    /// Returns the size of the card, in bytes.
    fn size(&self) -> usize {
        self.0.size
    }
}

impl fmt::Debug for AgentCard {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { name, version, .. } = &*self.0;
        formatter.debug_struct("AgentCard").field("name", name).field("version", version).finish_non_exhaustive()
    }
}

impl AgentInterface {
    /// Returns the URL of the interface.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Returns the binding of the protocol, such as `JSONRPC`, `GRPC` or `HTTP+JSON`.
    pub fn binding(&self) -> &str {
        &self.binding
    }

    /// Returns the version of the protocol, such as `1.0`.
    pub fn protocol_version(&self) -> &str {
        &self.protocol_version
    }

    /// Returns the tenant that requests to this interface must name, if there is one.
    pub fn tenant(&self) -> Option<&str> {
        self.tenant.as_deref()
    }
}

impl AgentCapabilities {
    /// Returns true if the agent can stream its responses.
    pub fn streaming(&self) -> bool {
        self.streaming
    }

    /// Returns true if the agent can send push notifications.
    pub fn push_notifications(&self) -> bool {
        self.push_notifications
    }

    /// Returns true if the agent has an extended card for authenticated clients.
    pub fn extended_card(&self) -> bool {
        self.extended_card
    }

    /// Returns the extensions that the agent supports.
    pub fn extensions(&self) -> &[AgentExtension] {
        &self.extensions
    }
}

impl AgentExtension {
    /// Returns the URI that identifies the extension.
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// Returns true if a client must support the extension.
    pub fn required(&self) -> bool {
        self.required
    }
}

impl AgentSkill {
    /// Returns the id of the skill, which is unique for its agent.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the name of the skill.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the description of the skill.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// Returns the keywords of the skill.
    pub fn tags(&self) -> &[String] {
        &self.tags
    }

    /// Returns examples of prompts.
    pub fn examples(&self) -> &[String] {
        &self.examples
    }

    /// Returns the media types of input, or `None` if the skill uses the defaults of the agent.
    pub fn input_modes(&self) -> Option<&[String]> {
        self.input_modes.as_deref()
    }

    /// Returns the media types of output, or `None` if the skill uses the defaults of the agent.
    pub fn output_modes(&self) -> Option<&[String]> {
        self.output_modes.as_deref()
    }
}
