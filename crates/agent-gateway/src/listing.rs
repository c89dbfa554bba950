//! The pages of a tool list.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use rmcp::model::{JsonObject, ListToolsResult};
use serde_json::Value;

use crate::error::GatewayError;
use crate::server::Server;
use crate::tool::Tool;
use crate::transport::RemovedTools;

/// The maximum number of pages of a list.
const MAX_PAGES: usize = 1000;
/// The maximum number of tools of a server.
const MAX_TOOLS: usize = 20_000;
/// The maximum estimated memory of the tools of a server, in bytes.
const MAX_COST: usize = 20 * 1024 * 1024;
/// The maximum number of consecutive pages without a new tool.
const MAX_EMPTY_PAGES: usize = 20;
/// The maximum length of a cursor, in bytes. It is sent back to the server.
const MAX_CURSOR_BYTES: usize = 16 * 1024;
/// The maximum number of problems of single tools that are reported.
const MAX_TOOL_PROBLEMS: usize = 100;
/// The estimated memory of a member of an object, in bytes.
const MEMBER_COST: usize = 120;

/// The tools of one server, and the problems of its list.
#[derive(Debug, Default)]
pub(crate) struct ToolList {
    pub(crate) tools: Vec<Tool>,
    problems: Vec<Problem>,
    /// The lifetime that the server specifies (`ttlMs`): the shortest of all pages.
    pub(crate) lifetime: Option<Duration>,
}

#[derive(Debug)]
enum Problem {
    /// An invalid tool: its name, and the reason.
    Tool(String, String),
    /// The list ended early: the reason.
    List(String),
}

/// A builder of a tool list from its pages.
pub(crate) struct ToolListBuilder<'a> {
    server: &'a Server,
    list: ToolList,
    names: HashSet<String>,
    cursors: HashSet<String>,
    pages: usize,
    empty_pages: usize,
    cost: usize,
}

impl ToolList {
    /// Returns an error for each problem, which names the server.
    pub(crate) fn errors<'a>(&'a self, server: &'a Server) -> impl Iterator<Item = GatewayError> + 'a {
        self.problems.iter().map(move |problem| match problem {
            Problem::Tool(name, reason) => GatewayError::malformed(server, name, reason),
            Problem::List(reason) => GatewayError::protocol(server, reason.as_str()),
        })
    }
}

impl<'a> ToolListBuilder<'a> {
    pub(crate) fn new(server: &'a Server) -> Self {
        let (names, cursors) = (HashSet::new(), HashSet::new());
        Self { server, list: ToolList::default(), names, cursors, pages: 0, empty_pages: 0, cost: 0 }
    }

    pub(crate) fn build(self) -> ToolList {
        self.list
    }

    /// Adds a page. Returns the cursor of the next page, or `None` at the end of the list.
    pub(crate) fn add_page(&mut self, page: ListToolsResult) -> Option<String> {
        self.pages += 1;
        if let Some(lifetime) = page.ttl_ms.map(Duration::from_millis) {
            self.list.lifetime = Some(self.list.lifetime.map_or(lifetime, |current| current.min(lifetime)));
        }
        let listed_names: HashSet<&str> = page.tools.iter().map(|tool| &*tool.name).collect();
        let removed_tools = RemovedTools::from_meta(page.meta.as_deref(), |name| listed_names.contains(name));
        removed_tools.0.into_iter().for_each(|(name, reason)| self.add_tool_problem(name, reason));
        let previous_count = self.list.tools.len();
        for tool in page.tools {
            if let Some(reason) = self.add_tool(tool) {
                self.list.problems.push(Problem::List(reason));
                return None;
            }
        }
        self.empty_pages = if self.list.tools.len() > previous_count { 0 } else { self.empty_pages + 1 };
        let cursor = page.next_cursor?;
        match self.stop_reason(&cursor) {
            None => {
                self.cursors.insert(cursor.clone());
                Some(cursor)
            }
            Some(reason) => {
                self.list.problems.push(Problem::List(format!("its tool list does not end: {reason}")));
                None
            }
        }
    }

    /// Adds a tool. Returns a reason if a limit is exceeded, so that the list ends here.
    fn add_tool(&mut self, tool: rmcp::model::Tool) -> Option<String> {
        if self.names.contains(&*tool.name) {
            self.add_tool_problem(tool.name.into_owned(), "an earlier tool has the same name".to_owned());
            return None;
        }
        self.cost += tool_cost(&tool);
        if self.list.tools.len() == MAX_TOOLS {
            return Some(format!("it has more than {MAX_TOOLS} tools"));
        }
        if self.cost > MAX_COST {
            return Some(format!("its tools need more than {} MiB", MAX_COST / (1024 * 1024)));
        }
        self.names.insert(tool.name.to_string());
        self.list.tools.push(Tool::new(self.server.clone(), &tool));
        None
    }

    fn add_tool_problem(&mut self, name: String, reason: String) {
        if self.list.problems.len() < MAX_TOOL_PROBLEMS {
            self.list.problems.push(Problem::Tool(name, reason));
        }
    }

    /// Returns the reason to stop before the page of this cursor, if there is one.
    fn stop_reason(&self, cursor: &str) -> Option<String> {
        if self.cursors.contains(cursor) {
            Some("a cursor was sent twice".to_owned())
        } else if cursor.len() > MAX_CURSOR_BYTES {
            Some(format!("a cursor is longer than {MAX_CURSOR_BYTES} bytes"))
        } else if self.empty_pages >= MAX_EMPTY_PAGES {
            Some(format!("{MAX_EMPTY_PAGES} pages had no new tool"))
        } else if self.pages >= MAX_PAGES {
            Some(format!("it has more than {MAX_PAGES} pages"))
        } else {
            None
        }
    }
}

/// Returns the estimated memory of a tool.
fn tool_cost(tool: &rmcp::model::Tool) -> usize {
    let schema = |schema: &Arc<JsonObject>| schema.iter().map(|(name, value)| member_cost(name, value)).sum::<usize>();
    let text_bytes = tool.name.len() + tool.description.as_deref().map_or(0, str::len);
    let meta = tool.meta.iter().flat_map(|meta| meta.iter()).map(|(name, value)| member_cost(name, value));
    let output = tool.output_schema.as_ref().map_or(0, schema);
    500 + text_bytes + schema(&tool.input_schema) + output + meta.sum::<usize>()
}

fn member_cost(name: &str, value: &Value) -> usize {
    MEMBER_COST + name.len() + value_cost(value)
}

fn value_cost(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(values) => values.iter().map(|value| 32 + value_cost(value)).sum(),
        Value::Object(members) => members.iter().map(|(name, value)| member_cost(name, value)).sum(),
        _ => 0,
    }
}
