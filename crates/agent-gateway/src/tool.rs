use std::fmt;
use std::sync::{Arc, OnceLock};

use jsonschema::Validator;
use serde_json::{Map, Value};

use crate::error::GatewayError;
use crate::schema;
use crate::server::Server;

/// A tool of a server. Clones are cheap.
#[derive(Clone)]
pub struct Tool(Arc<Inner>);

struct Inner {
    server: Server,
    name: Box<str>,
    /// The definition in JSON. It needs a tenth of the memory of the decoded definition, and most tools of a long list
    /// are never used.
    json: Box<str>,
    definition: OnceLock<rmcp::model::Tool>,
    /// Compiled from the schema on first use; `None` if the schema is not valid.
    validator: OnceLock<Option<Validator>>,
}

impl Tool {
    pub(crate) fn new(server: Server, tool: &rmcp::model::Tool) -> Self {
        let json = serde_json::to_string(tool).unwrap_or_default().into();
        let (definition, validator) = (OnceLock::new(), OnceLock::new());
        Self(Arc::new(Inner { server, name: (*tool.name).into(), json, definition, validator }))
    }

    fn definition(&self) -> &rmcp::model::Tool {
        self.0.definition.get_or_init(|| serde_json::from_str(&self.0.json).unwrap_or_default())
    }

    /// Returns the server of the tool.
    pub fn server(&self) -> &Server {
        &self.0.server
    }

    /// Returns the name on its server. Another server may have a tool with the same name.
    /// [`ModelNames`](crate::ModelNames) creates names that are unique and that language models accept.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Returns the title for display, if the server specifies one.
    pub fn title(&self) -> Option<&str> {
        let tool = self.definition();
        tool.title.as_deref().or_else(|| tool.annotations.as_ref()?.title.as_deref())
    }

    /// Returns the description of the tool, if the server specifies one.
    pub fn description(&self) -> Option<&str> {
        self.definition().description.as_deref()
    }

    /// Returns the JSON Schema of its arguments.
    pub fn input_schema(&self) -> &Map<String, Value> {
        &self.definition().input_schema
    }

    /// Returns the JSON Schema of its structured result, if declared.
    pub fn output_schema(&self) -> Option<&Map<String, Value>> {
        self.definition().output_schema.as_deref()
    }

    /// Returns true if the server declares that the tool changes nothing, and `None` if the server declares nothing
    /// (`readOnlyHint`). The declaration may be wrong.
    pub fn is_read_only(&self) -> Option<bool> {
        self.definition().annotations.as_ref()?.read_only_hint
    }

    /// Validates arguments before they are sent. If the schema is invalid, refers to another document, or has too many
    /// references, only the server validates them.
    pub(crate) fn validate_arguments(&self, arguments: &Map<String, Value>) -> Result<(), GatewayError> {
        let Some(validator) = self.0.validator.get_or_init(|| self.compile_validator()) else { return Ok(()) };
        let arguments = Value::Object(arguments.clone());
        match validator.iter_errors(&arguments).next() {
            None => Ok(()),
            Some(error) => {
                let location = error.instance_path().to_string();
                let location = if location.is_empty() { "at the top".to_owned() } else { format!("at `{location}`") };
                // The value is masked, because an argument may be confidential.
                let problem = format!("{location}, {}", error.masked_with("the value"));
                Err(GatewayError::arguments(self.server(), self.name(), &problem))
            }
        }
    }

    fn compile_validator(&self) -> Option<Validator> {
        let (validator, name) = (schema::validator(self.input_schema()), self.name());
        validator.inspect_err(|reason| tracing::warn!(tool = name, reason, "arguments are not validated")).ok()
    }
}

impl PartialEq for Tool {
    fn eq(&self, other: &Self) -> bool {
        self.server() == other.server() && self.0.json == other.0.json
    }
}

impl fmt::Debug for Tool {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Tool")
            .field("server", self.server())
            .field("name", &self.name())
            .finish_non_exhaustive()
    }
}
