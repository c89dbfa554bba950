//! Options for the execution and the metadata of a run.

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use platform_pipeline::RunOptions;
use platform_resources::models::Me;
use platform_resources::{JsonObject, JsonValue, LARGEST_CONTEXT, Provisioning, RunSdkMetadata, Timestamp};

use super::sdk_metadata::sdk_metadata;
use crate::time::parse_timestamp;

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
    #[arg(long, value_name = "MODE", default_value = "SPOT", ignore_case = true, hide_possible_values = true, value_parser = modes(&["SPOT", "ON_DEMAND", "FLEX_START"]))]
    gpu_provisioning_mode: Provisioning,
    /// Maximum number of GPUs per slide, 1 to 8
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=8))]
    max_gpus_per_slide: u32,
    /// Maximum duration of the run with `FLEX_START`, in minutes, 1 to 3600
    #[arg(long, value_name = "MINUTES", default_value_t = 720, value_parser = clap::value_parser!(u32).range(1..=3600))]
    flex_start_max_run_duration_minutes: u32,
    /// Provisioning mode of the CPUs: `SPOT` or `ON_DEMAND`
    #[arg(long, value_name = "MODE", default_value = "SPOT", ignore_case = true, hide_possible_values = true, value_parser = modes(&["SPOT", "ON_DEMAND"]))]
    cpu_provisioning_mode: Provisioning,
    /// Maximum time to wait for nodes, in minutes, 1 to 3600
    #[arg(long, value_name = "MINUTES", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3600))]
    node_acquisition_timeout_minutes: u32,
}

/// Returns a parser for these provisioning modes.
fn modes(names: &'static [&'static str]) -> impl TypedValueParser<Value = Provisioning> {
    PossibleValuesParser::new(names).map(|name| match name.to_ascii_uppercase().as_str() {
        "ON_DEMAND" => Provisioning::OnDemand,
        "FLEX_START" => Provisioning::FlexStart,
        _ => Provisioning::Spot,
    })
}

/// Parses the context of callbacks.
fn parse_context(text: &str) -> Result<JsonObject, String> {
    let context: JsonObject = serde_json::from_str(text).map_err(|error| format!("expected a JSON object: {error}"))?;
    let size = JsonValue::Object(context.clone()).to_string().len();
    if size > LARGEST_CONTEXT {
        return Err(format!("{size} bytes of JSON are more than {LARGEST_CONTEXT}"));
    }
    Ok(context)
}

impl RunOptionArgs {
    pub(super) fn portal(&self) -> bool {
        self.onboard_to_aignostics_portal
    }

    /// Returns the options that were set and have no effect if nothing is submitted.
    pub(super) fn set(&self) -> Vec<&'static str> {
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
        let gpu = self.gpu_provisioning_mode;
        let minutes = (gpu == Provisioning::FlexStart).then_some(self.flex_start_max_run_duration_minutes);
        let sdk = sdk_metadata(me)
            .with_portal(self.onboard_to_aignostics_portal)
            .with_gpu(&self.gpu_type.to_ascii_uppercase(), gpu, self.max_gpus_per_slide, minutes)
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
