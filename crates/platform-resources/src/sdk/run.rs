use std::time::SystemTime;

use platform_api::models::{Me, Scheduling};
use platform_api::{JsonObject, JsonValue, Timestamp};
use serde_json::{Map, json};

use super::{RUN_SCHEMA, SDK_KEY, SdkMetadataError, merge_sdk, replace_sdk, timestamp_json};

/// The prefix of tags for validation cases.
const VALIDATION_CASE_PREFIX: &str = "__aignx_validation_case:";
/// The values that may follow the prefix.
const VALIDATION_CASES: [&str; 5] =
    ["send_succeeded", "send_recoverable_error", "send_system_error", "send_user_error", "do_nothing"];
/// The default maximum duration of a `FLEX_START` run, in minutes.
const DEFAULT_FLEX_START_MINUTES: u32 = 720;
/// The default maximum time to wait for nodes, in minutes.
const DEFAULT_NODE_TIMEOUT_MINUTES: u32 = 30;

/// The variables of GitHub Actions that are recorded. Other variables with the same prefixes may be secrets.
const GITHUB_VARIABLES: [&str; 25] = [
    "GITHUB_ACTION",
    "GITHUB_ACTOR",
    "GITHUB_ACTOR_ID",
    "GITHUB_API_URL",
    "GITHUB_BASE_REF",
    "GITHUB_EVENT_NAME",
    "GITHUB_HEAD_REF",
    "GITHUB_JOB",
    "GITHUB_REF",
    "GITHUB_REF_NAME",
    "GITHUB_REF_TYPE",
    "GITHUB_REPOSITORY",
    "GITHUB_REPOSITORY_ID",
    "GITHUB_REPOSITORY_OWNER",
    "GITHUB_RUN_ATTEMPT",
    "GITHUB_RUN_ID",
    "GITHUB_RUN_NUMBER",
    "GITHUB_SERVER_URL",
    "GITHUB_SHA",
    "GITHUB_TRIGGERING_ACTOR",
    "GITHUB_WORKFLOW",
    "GITHUB_WORKFLOW_REF",
    "RUNNER_ARCH",
    "RUNNER_ENVIRONMENT",
    "RUNNER_OS",
];

/// The kind of program that submitted a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Interface {
    /// A script or another program that uses the library.
    #[default]
    Script,
    /// The command-line tool.
    Cli,
    /// The desktop application.
    Launchpad,
}

/// The initiator of a submission.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Initiator {
    /// A user.
    #[default]
    User,
    /// A test.
    Test,
    /// Another system.
    Bridge,
}

/// The provisioning mode of processors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Provisioning {
    /// Preemptible capacity at a lower price.
    Spot,
    /// Immediately available capacity.
    OnDemand,
    /// Capacity that is available later, for a fixed time.
    FlexStart,
}

/// The SDK metadata of a run: the member `sdk` of its custom metadata.
///
/// ```
/// use platform_resources::{Provisioning, RunSdkMetadata};
///
/// let sdk = RunSdkMetadata::new("pipeline/1.0").with_tag("cohort-7").with_note("second reading");
/// let sdk = sdk.with_cpu(Provisioning::Spot);
/// let mut metadata = serde_json::Map::new();
/// sdk.write(&mut metadata, std::time::SystemTime::now())?;
/// assert_eq!(metadata["sdk"]["tags"][0], "cohort-7");
/// # Ok::<(), platform_resources::SdkMetadataError>(())
/// ```
#[derive(Clone, Debug)]
pub struct RunSdkMetadata {
    fields: JsonObject,
    interface: Interface,
    initiator: Initiator,
}

impl RunSdkMetadata {
    /// Creates the metadata of a run submitted by the program `user_agent`, such as `pipeline/1.0`.
    pub fn new(user_agent: impl Into<String>) -> Self {
        let mut fields = Map::new();
        fields.insert("user_agent".to_owned(), user_agent.into().into());
        Self { fields, interface: Interface::default(), initiator: Initiator::default() }
    }

    /// Sets the interface. The default is [`Interface::Script`].
    pub fn with_interface(mut self, interface: Interface) -> Self {
        self.interface = interface;
        self
    }

    /// Sets the initiator. The default is [`Initiator::User`].
    pub fn with_initiator(mut self, initiator: Initiator) -> Self {
        self.initiator = initiator;
        self
    }

    /// Adds a tag.
    pub fn with_tag(mut self, tag: impl Into<String>) -> Self {
        let tags = self.fields.entry("tags").or_insert_with(|| json!([]));
        let tag = JsonValue::from(tag.into());
        if let JsonValue::Array(tags) = tags
            && !tags.contains(&tag)
        {
            tags.push(tag);
        }
        self
    }

    /// Sets a note.
    pub fn with_note(self, note: impl Into<String>) -> Self {
        self.with("note", note.into().into())
    }

    /// Sets the user who submits the run, and the organization.
    pub fn with_user(self, me: &Me) -> Self {
        let (user, organization) = (&me.user, &me.organization);
        let or_empty = |text: &Option<String>| text.clone().unwrap_or_default();
        let user = json!({
            "organization_id": organization.id, "organization_name": or_empty(&organization.name),
            "user_email": or_empty(&user.email), "user_id": user.id,
        });
        self.with("user", user)
    }

    /// Adds properties of the CI job, if `variables` contains environment variables of GitHub Actions.
    pub fn with_ci<N: AsRef<str>, V: Into<String>>(self, variables: impl IntoIterator<Item = (N, V)>) -> Self {
        let recorded_variables = variables.into_iter().filter(|(name, _)| GITHUB_VARIABLES.contains(&name.as_ref()));
        let mut github: JsonObject = recorded_variables
            .map(|(name, value)| (name.as_ref().to_ascii_lowercase(), JsonValue::from(value.into())))
            .collect();
        if github.is_empty() {
            return self;
        }
        let variable = |name: &str| github.get(name).and_then(JsonValue::as_str).map(str::to_owned);
        let url = variable("github_server_url").zip(variable("github_repository")).zip(variable("github_run_id"));
        if let Some(((server, repository), run)) = url {
            github.insert("run_url".to_owned(), format!("{server}/{repository}/actions/runs/{run}").into());
        }
        self.with("ci", json!({ "github": github }))
    }

    /// Sets the due date and the deadline.
    pub fn with_scheduling(self, scheduling: &Scheduling) -> Self {
        let dates = [("due_date", scheduling.due_date), ("deadline", scheduling.deadline)];
        let dates: JsonObject =
            dates.into_iter().filter_map(|(name, date)| Some((name.to_owned(), date?.to_string().into()))).collect();
        self.with("scheduling", dates.into())
    }

    /// Sets whether the results are added to the Aignostics portal.
    pub fn with_portal(self, onboard: bool) -> Self {
        self.with("workflow", json!({ "onboard_to_aignostics_portal": onboard }))
    }

    /// Sets the graphics processors. `kind` is `L4` or `A100`, and `max_per_slide` is 1 to 8. `minutes` is the maximum
    /// duration of the run, 1 to 3,600. It is permitted only with [`Provisioning::FlexStart`]. The default is 720.
    pub fn with_gpu(self, kind: &str, provisioning: Provisioning, max_per_slide: u32, minutes: Option<u32>) -> Self {
        let mut gpu = json!({ "gpu_type": kind, "provisioning_mode": provisioning.as_str(), "max_gpus_per_slide": max_per_slide });
        let default_minutes = (provisioning == Provisioning::FlexStart).then_some(DEFAULT_FLEX_START_MINUTES);
        if let Some(minutes) = minutes.or(default_minutes) {
            gpu["flex_start_max_run_duration_minutes"] = minutes.into();
        }
        self.with_pipeline("gpu", gpu)
    }

    /// Sets the provisioning mode of nodes without graphics processors.
    pub fn with_cpu(self, provisioning: Provisioning) -> Self {
        self.with_pipeline("cpu", json!({ "provisioning_mode": provisioning.as_str() }))
    }

    /// Sets the maximum time to wait for nodes: 1 to 3,600 minutes. The default is 30 minutes.
    pub fn with_node_timeout(self, minutes: u32) -> Self {
        self.with_pipeline("node_acquisition_timeout_minutes", minutes.into())
    }

    fn with(mut self, name: &str, value: JsonValue) -> Self {
        self.fields.insert(name.to_owned(), value);
        self
    }

    fn with_pipeline(mut self, name: &str, value: JsonValue) -> Self {
        let default_pipeline = || json!({ "node_acquisition_timeout_minutes": DEFAULT_NODE_TIMEOUT_MINUTES });
        self.fields.entry("pipeline").or_insert_with(default_pipeline)[name] = value;
        self
    }

    /// Adds these fields to the SDK metadata in `metadata`, and sets the update time to `now`. Other SDK fields and the
    /// times of creation and submission are preserved.
    ///
    /// # Errors
    ///
    /// [`SdkMetadataError`] with all problems of the metadata, or `now` is out of range. `metadata` is then unchanged.
    pub fn update(&self, metadata: &mut JsonObject, now: SystemTime) -> Result<(), SdkMetadataError> {
        let sdk = self.with_version_and_times(metadata, &timestamp_json(now)?);
        merge_sdk(metadata, sdk, check_run)
    }

    /// Updates new metadata of a run like [`update`](Self::update). If their creation time or their submission is
    /// missing, it is copied from `previous`, the metadata that they replace.
    ///
    /// # Errors
    ///
    /// [`SdkMetadataError`] with all problems of the metadata, or `now` is out of range. `metadata` is then unchanged.
    pub fn update_from(
        &self,
        metadata: &mut JsonObject,
        previous: Option<&JsonObject>,
        now: SystemTime,
    ) -> Result<(), SdkMetadataError> {
        super::copy_missing_fields(metadata, previous, &["created_at", "submission"]);
        self.update(metadata, now)
    }

    /// Replaces the SDK metadata of a run at the time `now`. The times of creation and submission are preserved.
    ///
    /// # Errors
    ///
    /// [`SdkMetadataError`] with all problems of the metadata, or `now` is out of range. `metadata` is then unchanged.
    pub fn write(&self, metadata: &mut JsonObject, now: SystemTime) -> Result<(), SdkMetadataError> {
        let sdk = JsonValue::Object(self.with_version_and_times(metadata, &timestamp_json(now)?));
        let mut problems = check_run(&sdk);
        problems.extend(scheduling_problems(&sdk, now));
        replace_sdk(metadata, sdk, problems)
    }

    /// Returns the fields with the schema version, the times and the submission.
    fn with_version_and_times(&self, metadata: &JsonObject, timestamp: &JsonValue) -> JsonObject {
        let existing = metadata.get(SDK_KEY);
        let existing_value = |pointer: &str| existing.and_then(|existing| existing.pointer(pointer)).cloned();
        let mut sdk = self.fields.clone();
        sdk.insert("schema_version".to_owned(), RUN_SCHEMA.version());
        sdk.insert("created_at".to_owned(), existing_value("/created_at").unwrap_or_else(|| timestamp.clone()));
        sdk.insert("updated_at".to_owned(), timestamp.clone());
        let submission = json!({
            "date": existing_value("/submission/date").unwrap_or_else(|| timestamp.clone()),
            "interface": self.interface.as_str(), "initiator": self.initiator.as_str(),
        });
        sdk.insert("submission".to_owned(), submission);
        sdk
    }

    /// Returns the JSON Schema of the metadata.
    pub fn schema() -> &'static JsonValue {
        &RUN_SCHEMA.document
    }
}

/// Returns the problems of the SDK metadata of a run.
pub(super) fn check_run(sdk: &JsonValue) -> Vec<String> {
    let mut problems = RUN_SCHEMA.check(sdk);
    let tags = sdk["tags"].as_array().into_iter().flatten().filter_map(JsonValue::as_str);
    for tag in tags {
        if let Some(case) = tag.strip_prefix(VALIDATION_CASE_PREFIX)
            && !VALIDATION_CASES.contains(&case)
        {
            problems.push(format!("{SDK_KEY}/tags: `{tag}` must end in one of {}", VALIDATION_CASES.join(", ")));
        }
    }
    problems
}

/// Returns the problems of the scheduling dates.
fn scheduling_problems(sdk: &JsonValue, now: SystemTime) -> Vec<String> {
    let date = |name: &str| sdk["scheduling"][name].as_str().and_then(|text| text.parse::<Timestamp>().ok());
    let (due, deadline) = (date("due_date"), date("deadline"));
    let mut problems = Vec::new();
    for (name, date) in [("due_date", due), ("deadline", deadline)] {
        if let Some(date) = date.filter(|date| SystemTime::from(*date) <= now) {
            problems.push(format!("{SDK_KEY}/scheduling/{name}: {date} is not in the future"));
        }
    }
    if let (Some(due), Some(deadline)) = (due, deadline)
        && due > deadline
    {
        problems.push(format!("{SDK_KEY}/scheduling/due_date: {due} is after the deadline, {deadline}"));
    }
    problems
}

impl Interface {
    fn as_str(self) -> &'static str {
        match self {
            Self::Script => "script",
            Self::Cli => "cli",
            Self::Launchpad => "launchpad",
        }
    }
}

impl Initiator {
    fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Test => "test",
            Self::Bridge => "bridge",
        }
    }
}

impl Provisioning {
    fn as_str(self) -> &'static str {
        match self {
            Self::Spot => "SPOT",
            Self::OnDemand => "ON_DEMAND",
            Self::FlexStart => "FLEX_START",
        }
    }
}
