use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use platform_resources::Client;
use rmcp::model::{
    CacheScope, CallToolRequestParams, CallToolResponse, GetPromptRequestParams, GetPromptResponse, Implementation,
    ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult, ListToolsResult, PaginatedRequestParams,
    ReadResourceRequestParams, ReadResourceResponse, ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::{RequestContext, ServiceExt};
use rmcp::{ErrorData, RoleServer, ServerHandler};
use uuid::Uuid;

use crate::budget::{self, Budget, Limits};
use crate::folders::Folders;
use crate::shared::Shared;
use crate::tools::{self, Call};
use crate::{prompts, resources};

/// The time for which a client may keep a list, in milliseconds. Lists change only with the server.
const LIST_LIFETIME_MS: u64 = 300_000;

/// The default time limit for the confirmation of a submission by the user.
const CONFIRMATION_TIMEOUT: Duration = Duration::from_secs(600);

/// Sets the cache hints of a list, which is private to the user.
macro_rules! with_cache_hints {
    ($list:expr) => {{
        let mut list = $list;
        (list.ttl_ms, list.cache_scope) = (Some(LIST_LIFETIME_MS), Some(CacheScope::Private));
        list
    }};
}

/// The description of the server for the model.
const INSTRUCTIONS: &str = "Tools for the Aignostics Platform, which runs applications on whole-slide images. \
    Begin with list_applications or list_runs. A run processes slides (items); wait_for_run waits for its end, \
    explain_failure explains failed slides, and read_result reads downloaded results. Nothing here deletes or shares \
    anything. Results are downloaded with the command `aignostics run download RUN DIR`.";

/// An MCP server for a platform. Clones share their state.
#[derive(Clone)]
pub struct PlatformServer(Arc<Shared>);

/// A builder for [`PlatformServer`].
#[derive(Clone, Debug)]
pub struct PlatformServerBuilder {
    client: Client,
    folders: Vec<PathBuf>,
    limits: Option<Limits>,
    ledger: Option<PathBuf>,
    bucket_user: String,
    confirmation_timeout: Duration,
}

/// An error of serving.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// A folder does not exist, or the address cannot be used.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The client did not follow the protocol.
    #[error("the client does not speak MCP")]
    Protocol(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl PlatformServer {
    /// Returns a builder for a server with read-only tools.
    pub fn builder(client: Client) -> PlatformServerBuilder {
        PlatformServerBuilder {
            client,
            folders: Vec::new(),
            limits: None,
            ledger: None,
            bucket_user: "mcp".to_owned(),
            confirmation_timeout: CONFIRMATION_TIMEOUT,
        }
    }

    /// Serves one client over stdin and stdout, until it closes them.
    ///
    /// # Errors
    ///
    /// The client does not speak MCP.
    pub async fn serve_stdio(self) -> Result<(), ServeError> {
        let protocol_error = |error: Box<dyn std::error::Error + Send + Sync>| ServeError::Protocol(error);
        let service = self.serve(rmcp::transport::stdio()).await.map_err(|error| protocol_error(error.into()))?;
        service.waiting().await.map_err(|error| protocol_error(error.into()))?;
        Ok(())
    }
}

impl PlatformServerBuilder {
    /// Allows the tools to read files in a folder. The default is the working folder only.
    pub fn with_folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folders.push(folder.into());
        self
    }

    /// Offers submission within these limits.
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = Some(limits);
        self
    }

    /// Sets the ledger: the file that records the submissions. By default, it is in the state folder of the user.
    pub fn with_ledger(mut self, file: impl Into<PathBuf>) -> Self {
        self.ledger = Some(file.into());
        self
    }

    /// Sets the user's folder in the bucket, which contains the slides of tables.
    pub fn with_bucket_user(mut self, user: impl Into<String>) -> Self {
        self.bucket_user = user.into();
        self
    }

    /// Sets the time limit for the confirmation of a submission by the user. It applies to clients with sessions and
    /// elicitation. `None`, the default, is ten minutes.
    pub fn with_confirmation_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.confirmation_timeout = timeout.unwrap_or(CONFIRMATION_TIMEOUT);
        self
    }

    /// Builds the server.
    ///
    /// # Errors
    ///
    /// A folder does not exist.
    pub fn build(self) -> io::Result<PlatformServer> {
        let Self { client, mut folders, limits, ledger, bucket_user, confirmation_timeout } = self;
        if folders.is_empty() {
            folders.push(std::env::current_dir()?);
        }
        let ledger = ledger.unwrap_or_else(|| budget::default_file(&client.settings().state_folder));
        let budget = limits.map(|limits| Budget::new(limits, ledger));
        let folders = Folders::new(folders)?;
        // Two random UUIDs: 244 random bits.
        let confirmation_key = [Uuid::new_v4(), Uuid::new_v4()].map(Uuid::into_bytes);
        Ok(PlatformServer(Arc::new(Shared {
            client,
            folders,
            budget,
            bucket_user,
            confirmation_timeout,
            confirmation_key,
        })))
    }
}

impl ServerHandler for PlatformServer {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder().enable_tools().enable_resources().enable_prompts().build();
        let implementation = Implementation::new("aignostics", env!("CARGO_PKG_VERSION"));
        ServerConfig::new(capabilities).with_server_info(implementation).with_instructions(INSTRUCTIONS)
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(with_cache_hints!(ListToolsResult::with_all_items(tools::list(&self.0))))
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        tools::find(&self.0, name).map(tools::ToolSpec::tool)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let Some(tool) = tools::find(&self.0, &request.name) else {
            return Err(ErrorData::invalid_params(format!("unknown tool `{}`", request.name), None));
        };
        let responses = request.input_responses.and_then(|responses| serde_json::to_value(responses).ok());
        let arguments = request.arguments.unwrap_or_default();
        let call = Call { arguments, context, responses, state: request.request_state };
        Ok(Box::pin(tool.call(&self.0, call)).await)
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        Ok(with_cache_hints!(ListResourcesResult::with_all_items(resources::list(&self.0))))
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        Ok(with_cache_hints!(ListResourceTemplatesResult::with_all_items(resources::templates())))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        resources::read(&self.0, &request.uri).await.map(Into::into)
    }

    async fn list_prompts(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        Ok(with_cache_hints!(ListPromptsResult::with_all_items(prompts::list())))
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        prompts::get(&request.name, &request.arguments.unwrap_or_default()).map(Into::into)
    }
}

impl fmt::Debug for PlatformServer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared { folders, budget, .. } = &*self.0;
        let mut output = formatter.debug_struct("PlatformServer");
        output.field("folders", folders).field("budget", budget).finish_non_exhaustive()
    }
}
