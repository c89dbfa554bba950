use std::fs;
use std::path::PathBuf;

use async_trait::async_trait;
use serde_json::{Map, Value};
use url::Url;

use crate::credentials::CredentialError;
use crate::server::{DirectoryError, Server, ServerDirectory};

/// The members that list servers: `mcpServers` for Claude, Cursor and most other programs, `servers` for VS Code.
const LIST_NAMES: [&str; 2] = ["mcpServers", "servers"];

/// The servers in an `mcp.json` file of an editor or agent. The file is read again for every discovery.
///
/// ```json
/// { "mcpServers": { "orders": { "url": "https://mcp.example/orders" } } }
/// ```
///
/// The file can have comments and trailing commas, and can call the list `servers`, as in VS Code. The id of a server
/// is its name. Servers that are started as a command are skipped. `headers` are not sent: the tokens come from the
/// [`CredentialSource`](crate::CredentialSource).
#[derive(Clone, Debug)]
pub struct McpJson {
    file: PathBuf,
}

impl McpJson {
    /// Returns the directory in this file. The file is not read yet.
    pub fn at(file: impl Into<PathBuf>) -> Self {
        Self { file: file.into() }
    }

    fn read(&self) -> Result<Vec<Server>, CredentialError> {
        let location = format!("the file {}", self.file.display());
        let text = fs::read_to_string(&self.file).map_err(|error| CredentialError::unreadable(&self.file, error))?;
        let text = without_comments(text.strip_prefix('\u{feff}').unwrap_or(&text));
        let document: Value = serde_json::from_str(&text).map_err(|error| CredentialError::json(&location, &error))?;
        let list = LIST_NAMES.into_iter().find_map(|list| Some((list, document.get(list)?)));
        let (name, list) =
            list.ok_or_else(|| CredentialError::field(&location, LIST_NAMES[0], "an object with servers"))?;
        let list = list.as_object().ok_or_else(|| CredentialError::field(&location, name, "an object with servers"))?;
        list.iter().filter_map(|(id, entry)| server(&location, name, id, entry).transpose()).collect()
    }
}

#[async_trait]
impl ServerDirectory for McpJson {
    async fn servers(&self) -> Result<Vec<Server>, DirectoryError> {
        let directory = self.clone();
        let result = tokio::task::spawn_blocking(move || directory.read()).await;
        result.unwrap_or_else(|error| Err(CredentialError::other("the list of servers could not be read", error)))
    }
}

/// Returns the server of an entry, or `None` if it is disabled or not reached over HTTP.
fn server(location: &str, list: &str, id: &str, entry: &Value) -> Result<Option<Server>, CredentialError> {
    let field_error = |field: &str, expected| CredentialError::field(location, format!("{list}.{id}{field}"), expected);
    let entry: &Map<String, Value> = entry.as_object().ok_or_else(|| field_error("", "an object"))?;
    let is_disabled = entry.get("disabled") == Some(&Value::Bool(true));
    let Some(url) = entry.get("url").filter(|_| !is_disabled) else {
        tracing::debug!(server = id, "skipped: it is disabled or started as a command");
        return Ok(None);
    };
    let url = url.as_str().and_then(|url| url.trim().parse::<Url>().ok());
    let url = url.filter(|url| matches!(url.scheme(), "https" | "http") && url.has_host());
    let url = url.ok_or_else(|| field_error(".url", "an https URL"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(field_error(".url", "a URL without a user name and a password"));
    }
    Ok(Some(Server::new(url, id)))
}

/// Replaces comments, and commas before a closing bracket, with spaces. Positions in errors therefore stay correct.
fn without_comments(text: &str) -> String {
    let mut output = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    let mut comma_position = None;
    let (mut in_string, mut escaped) = (false, false);
    while let Some(character) = characters.next() {
        match character {
            _ if in_string => {
                in_string = escaped || character != '"';
                escaped = character == '\\' && !escaped;
                output.push(character);
                continue;
            }
            '/' if characters.peek() == Some(&'/') => {
                output.push(' ');
                while characters.peek().is_some_and(|next| *next != '\n') {
                    characters.next();
                    output.push(' ');
                }
                continue;
            }
            '/' if characters.peek() == Some(&'*') => {
                let mut last = ' ';
                output.push(' ');
                for next in characters.by_ref() {
                    output.push(if next == '\n' { next } else { ' ' });
                    if (last, next) == ('*', '/') {
                        break;
                    }
                    last = next;
                }
                continue;
            }
            '}' | ']' => {
                if let Some(position) = comma_position.take() {
                    output.replace_range(position..=position, " ");
                }
            }
            _ => {}
        }
        if !character.is_whitespace() {
            comma_position = (character == ',').then_some(output.len());
        }
        in_string = character == '"';
        output.push(character);
    }
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<(String, String)>, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("mcp.json");
        fs::write(&file, text).unwrap();
        let servers = McpJson::at(file).read().map_err(|error| error.to_string())?;
        Ok(servers.iter().map(|server| (server.to_string(), server.url().to_string())).collect())
    }

    #[test]
    fn files_of_editors_are_read() {
        let claude = r#"{ "mcpServers": {
            "orders": { "type": "http", "url": "https://a.test/mcp", "headers": { "Authorization": "Bearer canary" } },
            "local": { "command": "npx", "args": ["-y", "server"] },
            "old": { "url": "https://b.test/", "disabled": true }
        } }"#;
        let expected = [("`orders`".to_owned(), "https://a.test/mcp".to_owned())];
        assert_eq!(read(claude).unwrap(), expected);
        let vs_code = "\u{feff}{\n // of \"VS Code\"\n \"servers\": { \"orders\": { /* , \n } */ \"type\": \"http\", \
                    \"url\": \"https://a.test/mcp\", }, },\n \"inputs\": [1, ], }";
        assert_eq!(read(vs_code).unwrap(), expected);
        assert_eq!(read(r#"{ "mcpServers": {} }"#).unwrap(), []);
    }

    #[test]
    fn errors_name_the_field_but_no_value() {
        for (text, expected) in [
            ("{", "line 1"),
            ("{}", "`mcpServers`"),
            (r#"{ "servers": [] }"#, "`servers`"),
            (r#"{ "servers": { "a": "canary" } }"#, "`servers.a`"),
            (r#"{ "servers": { "a": { "url": "canary" } } }"#, "`servers.a.url`"),
            (r#"{ "servers": { "a": { "url": "https://u:canary@a.test" } } }"#, "without a user name"),
            ("{ \"servers\": {\n\n \"a\" }, }", "line 3"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(expected) && error.contains("mcp.json") && !error.contains("canary"), "{error}");
        }
    }
}
