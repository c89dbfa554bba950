use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::Tool;

/// The longest name that language models accept.
const LONGEST: usize = 64;
/// So much of it tells tools apart: 64 bits, in hexadecimal.
const DIGEST: usize = 16;

/// Names for tools that language models accept – at most 64 letters, digits, `_` and `-` of ASCII – and the way back.
///
/// A name depends on the tool alone: its own name as far as it is accepted, and a digest of server, tenant and name. So
/// it stays the same whichever other tools there are, and two tools of one name stay two.
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
    /// Names for `tools`.
    pub fn new(tools: impl IntoIterator<Item = Tool>) -> Self {
        Self(tools.into_iter().map(|tool| (Self::name(&tool), tool)).collect())
    }

    /// The name of a tool.
    pub fn name(tool: &Tool) -> String {
        let (server, name) = (tool.server(), tool.name());
        let mut hash = Sha256::new();
        for part in [server.ord_id(), server.tenant(), name] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let accepted = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | '-');
        let accepted = name.chars().map(|character| if accepted(character) { character } else { '_' });
        let start: String = accepted.take(LONGEST - DIGEST - 1).collect();
        let digest = hash.finalize();
        digest[..DIGEST / 2].iter().fold(start + "_", |text, byte| text + &format!("{byte:02x}"))
    }

    /// The tool of a name.
    pub fn tool(&self, name: &str) -> Option<&Tool> {
        self.0.get(name)
    }

    /// All names and their tools, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tool)> {
        self.0.iter().map(|(name, tool)| (name.as_str(), tool))
    }
}
