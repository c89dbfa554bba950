//! Options that several commands for runs share: version, health check, upload folder, metadata and execution of a run.

use std::env;

use anyhow::anyhow;
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use platform_pipeline::{ObjectKeys, RunOptions, SelectedApplication, system_user};
use platform_resources::models::{ApplicationId, Me, VersionNumber};
use platform_resources::{Client, Health, Initiator, Interface, JsonObject, Provisioning, RunSdkMetadata, Timestamp};
use terminal::Output;

use super::parse_timestamp;
use crate::context::Context;
use crate::error::{CliError, UNHEALTHY};
use crate::unknown_application::explain;

/// The option for the version of an application.
#[derive(Args, Clone)]
pub(super) struct VersionArgs {
    /// Version of the application [default: the latest]
    #[arg(long, value_name = "VERSION")]
    pub(super) application_version: Option<VersionNumber>,
}

/// The option that skips the health check.
#[derive(Args, Clone, Copy)]
pub(super) struct HealthCheckArgs {
    /// Skip the health check of the platform
    #[arg(long, overrides_with = "no_force")]
    force: bool,
    /// Check the health of the platform first (default)
    #[arg(long, overrides_with = "force", hide = true)]
    no_force: bool,
}

impl HealthCheckArgs {
    /// Returns an error if the platform is down, unless `--force` is set.
    pub(super) async fn check(self, client: &Client, context: &Context) -> Result<(), CliError> {
        if self.force {
            return Ok(());
        }
        let suffix = |reason: Option<String>| reason.map(|reason| format!(": {reason}")).unwrap_or_default();
        match client.health_with_retries().await? {
            Health::Down(reason) => {
                let text = format!("the platform is down{}; --force skips this check", suffix(reason));
                return Err(CliError::new(UNHEALTHY, anyhow!(text)));
            }
            Health::Degraded(reason) => context.output.note(format!("the platform is degraded{}", suffix(reason))),
            Health::Unknown(state) => context.output.note(format!("the platform reports the unknown state {state}")),
            _ => {}
        }
        Ok(())
    }
}

impl VersionArgs {
    /// Returns the selected version of the application.
    pub(super) async fn resolve(&self, client: &Client, application: &str) -> Result<SelectedApplication, CliError> {
        let id = ApplicationId::from(application);
        match SelectedApplication::find(client, &id, self.application_version.as_ref()).await {
            Ok(selected) => Ok(selected),
            Err(error) => Err(explain(error.into(), &id, client).await),
        }
    }
}

/// The option for the location of uploaded slides.
#[derive(Args, Clone, Default)]
pub(super) struct UploadArgs {
    /// Folder in the bucket, below that of the user. Without it, each slide has its own folder, derived from its path
    /// and checksum. Object keys in the table do not change
    #[arg(long, value_name = "PREFIX")]
    pub(super) upload_prefix: Option<String>,
}

impl UploadArgs {
    pub(super) async fn object_keys(
        &self,
        client: &Client,
        application: &SelectedApplication,
        shows_in_portal: bool,
    ) -> Result<ObjectKeys, CliError> {
        let object_keys = ObjectKeys::new(client, application, &system_user()).await?.with_portal(shows_in_portal);
        Ok(match &self.upload_prefix {
            Some(prefix) => object_keys.with_prefix(prefix)?,
            None => object_keys,
        })
    }
}

#[derive(Args, Clone)]
pub(super) struct RunOptionArgs {
    /// Note of the run
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// Tags of the run, separated by commas. Can be repeated
    #[arg(long, value_name = "TAGS", value_delimiter = ',')]
    tags: Vec<String>,
    /// Date by which the run should end, with a time zone, such as 2027-12-01T18:00:00Z
    #[arg(long, value_name = "DATE", value_parser = parse_timestamp)]
    due_date: Option<Timestamp>,
    /// Date at which the platform cancels the run, with a time zone, such as 2027-12-01T18:00:00+01:00.
    #[arg(long, value_name = "DATE", value_parser = parse_timestamp)]
    deadline: Option<Timestamp>,
    /// JSON object of at most 1,024 bytes that the platform sends back with its callbacks
    #[arg(long, value_name = "JSON", value_parser = parse_context)]
    callback_context: Option<JsonObject>,
    /// Show the results in the Aignostics Portal
    #[arg(long, overrides_with = "no_onboard_to_aignostics_portal")]
    onboard_to_aignostics_portal: bool,
    /// Do not show the results in the Aignostics Portal (default)
    #[arg(long, overrides_with = "onboard_to_aignostics_portal", hide = true)]
    no_onboard_to_aignostics_portal: bool,
    /// GPU type: L4 or A100
    #[arg(long, value_name = "TYPE", default_value = "A100", value_parser = PossibleValuesParser::new(["L4", "A100"]), ignore_case = true, hide_possible_values = true)]
    gpu_type: String,
    /// Provisioning mode of the GPUs: `SPOT`, `ON_DEMAND` or `FLEX_START`
    #[arg(long, value_name = "MODE", default_value = "SPOT", ignore_case = true, hide_possible_values = true, value_parser = provisioning_parser(&["SPOT", "ON_DEMAND", "FLEX_START"]))]
    gpu_provisioning_mode: Provisioning,
    /// Maximum number of GPUs per slide, 1 to 8
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=8))]
    max_gpus_per_slide: u32,
    /// Maximum duration of the run with `FLEX_START`, in minutes, 1 to 3600
    #[arg(long, value_name = "MINUTES", default_value_t = 720, value_parser = clap::value_parser!(u32).range(1..=3600))]
    flex_start_max_run_duration_minutes: u32,
    /// Provisioning mode of the CPUs: `SPOT` or `ON_DEMAND`
    #[arg(long, value_name = "MODE", default_value = "SPOT", ignore_case = true, hide_possible_values = true, value_parser = provisioning_parser(&["SPOT", "ON_DEMAND"]))]
    cpu_provisioning_mode: Provisioning,
    /// Maximum time to wait for nodes, in minutes, 1 to 3600
    #[arg(long, value_name = "MINUTES", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3600))]
    node_acquisition_timeout_minutes: u32,
}

/// Returns a parser that accepts these names of provisioning modes.
fn provisioning_parser(names: &'static [&'static str]) -> impl TypedValueParser<Value = Provisioning> {
    PossibleValuesParser::new(names).map(|name| match name.to_ascii_uppercase().as_str() {
        "ON_DEMAND" => Provisioning::OnDemand,
        "FLEX_START" => Provisioning::FlexStart,
        _ => Provisioning::Spot,
    })
}

/// Parses the context of callbacks.
fn parse_context(text: &str) -> Result<JsonObject, String> {
    RunOptions::parse_callback_context(text).map_err(|error| error.to_string())
}

impl RunOptionArgs {
    pub(super) fn shows_in_portal(&self) -> bool {
        self.onboard_to_aignostics_portal
    }

    /// Prints and returns the options that have no effect because nothing is submitted. The options in `compared` are
    /// left out: they are compared with the earlier submission.
    pub(super) fn note_ignored(&self, output: &Output, compared: &[&str]) -> Vec<&'static str> {
        let ignored: Vec<_> = self.set_options().into_iter().filter(|name| !compared.contains(name)).collect();
        if !ignored.is_empty() {
            output.note(format!("ignored, because nothing was submitted: {}", ignored.join(", ")));
        }
        ignored
    }

    /// Returns the options that were set.
    fn set_options(&self) -> Vec<&'static str> {
        [
            (self.note.is_some(), "--note"),
            (!self.tags.is_empty(), "--tags"),
            (self.due_date.is_some(), "--due-date"),
            (self.deadline.is_some(), "--deadline"),
            (self.callback_context.is_some(), "--callback-context"),
            (self.onboard_to_aignostics_portal, "--onboard-to-aignostics-portal"),
            (!self.gpu_type.eq_ignore_ascii_case("A100"), "--gpu-type"),
            (self.gpu_provisioning_mode != Provisioning::Spot, "--gpu-provisioning-mode"),
            (self.max_gpus_per_slide != 1, "--max-gpus-per-slide"),
            (self.cpu_provisioning_mode != Provisioning::Spot, "--cpu-provisioning-mode"),
            (self.flex_start_max_run_duration_minutes != 720, "--flex-start-max-run-duration-minutes"),
            (self.node_acquisition_timeout_minutes != 30, "--node-acquisition-timeout-minutes"),
        ]
        .into_iter()
        .filter_map(|(is_set, name)| is_set.then_some(name))
        .collect()
    }

    /// Returns the options of a submission by `me`.
    pub(super) fn run_options(&self, me: &Me) -> RunOptions {
        let gpu_mode = self.gpu_provisioning_mode;
        let max_run_minutes = (gpu_mode == Provisioning::FlexStart).then_some(self.flex_start_max_run_duration_minutes);
        let sdk = sdk_metadata(me)
            .with_portal(self.onboard_to_aignostics_portal)
            .with_gpu(&self.gpu_type.to_ascii_uppercase(), gpu_mode, self.max_gpus_per_slide, max_run_minutes)
            .with_cpu(self.cpu_provisioning_mode)
            .with_node_timeout(self.node_acquisition_timeout_minutes);
        let sdk = self.note.iter().fold(sdk, RunSdkMetadata::with_note);
        let tags = self.tags.iter().map(|tag| tag.trim()).filter(|tag| !tag.is_empty()).map(str::to_owned);
        RunOptions::new(sdk)
            .with_tags(tags)
            .with_due_date(self.due_date)
            .with_deadline(self.deadline)
            .with_callback_context(self.callback_context.clone())
    }
}

/// Returns the SDK metadata for the user and this program.
pub(super) fn sdk_metadata(me: &Me) -> RunSdkMetadata {
    let initiator = match env::var_os("AIGNOSTICS_BRIDGE_VERSION") {
        Some(_) => Initiator::Bridge,
        None if env::var_os("PYTEST_CURRENT_TEST").is_some() => Initiator::Test,
        None => Initiator::User,
    };
    // Variables that are not UTF-8 are irrelevant.
    let variables = env::vars_os().filter_map(|(name, value)| name.into_string().ok().zip(value.into_string().ok()));
    let sdk = RunSdkMetadata::new(concat!("aignostics-cli/", env!("CARGO_PKG_VERSION")));
    sdk.with_interface(Interface::Cli).with_initiator(initiator).with_user(me).with_ci(variables)
}
