use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::tool::Tool;

/// The maximum length of a name that language models accept.
const MAX_LENGTH: usize = 64;
/// The length of the digest in a name, in hexadecimal digits: 64 bits.
const DIGEST_LENGTH: usize = 16;

/// A mapping between tools and names that language models accept: at most 64 ASCII letters, digits, `_` and `-`.
///
/// A name consists of the beginning of the tool's name, with `_` for each other character, and of a digest of the
/// server, the tenant and the tool name. It does not depend on other tools. Tools with the same name on different
/// servers have different names.
///
/// ```
/// # fn example(tools: Vec<agent_gateway::Tool>, chosen_by_the_model: &str) {
/// use agent_gateway::ModelNames;
///
/// let names = ModelNames::new(tools);
/// for (name, tool) in names.iter() {
///     println!("{name}: {}", tool.description().unwrap_or_default());
/// }
/// let tool = names.tool(chosen_by_the_model);
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct ModelNames(BTreeMap<String, Tool>);

impl ModelNames {
    /// Creates the names of `tools`.
    pub fn new(tools: impl IntoIterator<Item = Tool>) -> Self {
        Self(tools.into_iter().map(|tool| (Self::name(&tool), tool)).collect())
    }

    /// Returns the name of a tool.
    pub fn name(tool: &Tool) -> String {
        let (server, name) = (tool.server(), tool.name());
        let mut hash = Sha256::new();
        for part in [server.id(), server.tenant(), name] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let is_accepted = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | '-');
        let characters = name.chars().map(|character| if is_accepted(character) { character } else { '_' });
        let prefix: String = characters.take(MAX_LENGTH - DIGEST_LENGTH - 1).collect();
        let digest = hash.finalize();
        digest[..DIGEST_LENGTH / 2].iter().fold(prefix + "_", |text, byte| text + &format!("{byte:02x}"))
    }

    /// Returns the tool with this name, or `None` if there is no such tool.
    pub fn tool(&self, name: &str) -> Option<&Tool> {
        self.0.get(name)
    }

    /// Returns all names and their tools, ordered by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tool)> {
        self.0.iter().map(|(name, tool)| (name.as_str(), tool))
    }
}
