use serde_json::{Value, json};

/// A program that starts MCP servers, and the form of its configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Editor {
    /// Claude Code and Claude Desktop.
    Claude,
    /// Cursor.
    Cursor,
    /// Visual Studio Code.
    VsCode,
}

impl Editor {
    /// All programs.
    pub const ALL: [Self; 3] = [Self::Claude, Self::Cursor, Self::VsCode];

    /// Returns the name of the program, for a command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Claude => "claude",
            Self::Cursor => "cursor",
            Self::VsCode => "vscode",
        }
    }

    /// Returns the file that contains the entry, as its documentation states it.
    pub fn file(self) -> &'static str {
        match self {
            Self::Claude => ".mcp.json in the project (Claude Code), or claude_desktop_config.json (Claude Desktop)",
            Self::Cursor => ".cursor/mcp.json in the project, or ~/.cursor/mcp.json",
            Self::VsCode => ".vscode/mcp.json in the project",
        }
    }

    /// Returns the entry that starts `program` with `arguments`. It contains no credential.
    pub fn entry(self, program: &str, arguments: &[String]) -> Value {
        match self {
            Self::Claude | Self::Cursor => {
                json!({ "mcpServers": { "aignostics": { "command": program, "args": arguments } } })
            }
            Self::VsCode => {
                json!({ "servers": { "aignostics": { "type": "stdio", "command": program, "args": arguments } } })
            }
        }
    }
}
