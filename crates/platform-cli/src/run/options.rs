//! How a run is to be done, and what is said of it.

use auth_core::{Clock, SystemClock};
use clap::builder::PossibleValuesParser;
use clap::{Args, ValueEnum};
use platform_resources::Timestamp;
use platform_resources::models::{Me, RunSubmission, Scheduling};
use platform_resources::{Interface, Provisioning, RunSdkMetadata};

use crate::exit::Failure;

#[derive(Args, Clone)]
pub(super) struct Options {
    /// A text for people.
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// Tags to find the run by, with commas between them. May be said several times.
    #[arg(long, value_name = "TAGS", value_delimiter = ',')]
    tags: Vec<String>,
    /// When the run should be done, such as 2026-12-01T18:00:00Z.
    #[arg(long, value_name = "TIME")]
    due_date: Option<Timestamp>,
    /// When it is of no more use, and is cancelled.
    #[arg(long, value_name = "TIME")]
    deadline: Option<Timestamp>,
    /// Shows the results in the portal of the platform.
    #[arg(long, overrides_with = "no_onboard_to_aignostics_portal")]
    onboard_to_aignostics_portal: bool,
    /// Does not: so it is unless something is said.
    #[arg(long, overrides_with = "onboard_to_aignostics_portal", hide = true)]
    no_onboard_to_aignostics_portal: bool,
    /// The graphics processors: L4 or A100.
    #[arg(long, value_name = "TYPE", default_value = "A100", value_parser = PossibleValuesParser::new(["L4", "A100"]), ignore_case = true, hide_possible_values = true)]
    gpu_type: String,
    /// How they are paid for: `SPOT`, `ON_DEMAND` or `FLEX_START`.
    #[arg(
        long,
        value_enum,
        value_name = "MODE",
        default_value = "SPOT",
        ignore_case = true,
        hide_possible_values = true
    )]
    gpu_provisioning_mode: GpuMode,
    /// So many of them for a slide at most, 1 to 8.
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=8))]
    max_gpus_per_slide: u32,
    /// How long the run may last with `FLEX_START`, in minutes, 1 to 3600.
    #[arg(long, value_name = "MINUTES", default_value_t = 720, value_parser = clap::value_parser!(u32).range(1..=3600))]
    flex_start_max_run_duration_minutes: u32,
    /// How the other processors are paid for: `SPOT` or `ON_DEMAND`.
    #[arg(
        long,
        value_enum,
        value_name = "MODE",
        default_value = "SPOT",
        ignore_case = true,
        hide_possible_values = true
    )]
    cpu_provisioning_mode: CpuMode,
    /// How long nodes are waited for, in minutes, 1 to 3600.
    #[arg(long, value_name = "MINUTES", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3600))]
    node_acquisition_timeout_minutes: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "SCREAMING_SNAKE_CASE")]
enum GpuMode {
    Spot,
    OnDemand,
    FlexStart,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "SCREAMING_SNAKE_CASE")]
enum CpuMode {
    Spot,
    OnDemand,
}

impl Options {
    pub(super) fn portal(&self) -> bool {
        self.onboard_to_aignostics_portal
    }

    /// Writes it into a submission, with who submits and by what. What a submission in JSON says of times stays unless an
    /// option says another.
    pub(super) fn write(&self, submission: &mut RunSubmission, me: &Me) -> Result<(), Failure> {
        if self.due_date.is_some() || self.deadline.is_some() {
            let scheduling: &mut Scheduling = submission.scheduling.get_or_insert_default();
            scheduling.due_date = self.due_date.or(scheduling.due_date);
            scheduling.deadline = self.deadline.or(scheduling.deadline);
        }
        let gpu = match self.gpu_provisioning_mode {
            GpuMode::Spot => Provisioning::Spot,
            GpuMode::OnDemand => Provisioning::OnDemand,
            GpuMode::FlexStart => Provisioning::FlexStart,
        };
        let cpu = match self.cpu_provisioning_mode {
            CpuMode::Spot => Provisioning::Spot,
            CpuMode::OnDemand => Provisioning::OnDemand,
        };
        let minutes = (gpu == Provisioning::FlexStart).then_some(self.flex_start_max_run_duration_minutes);
        // A variable that is no UTF-8 is none of those that are looked for.
        let variables =
            std::env::vars_os().filter_map(|(name, value)| name.into_string().ok().zip(value.into_string().ok()));
        let sdk = RunSdkMetadata::new(concat!("aignostics/", env!("CARGO_PKG_VERSION")))
            .with_interface(Interface::Cli)
            .with_user(me)
            .with_ci(variables)
            .with_portal(self.onboard_to_aignostics_portal)
            .with_gpu(&self.gpu_type.to_ascii_uppercase(), gpu, self.max_gpus_per_slide, minutes)
            .with_cpu(cpu)
            .with_node_timeout(self.node_acquisition_timeout_minutes);
        let sdk = submission.scheduling.iter().fold(sdk, RunSdkMetadata::with_scheduling);
        let sdk = self.note.iter().fold(sdk, RunSdkMetadata::with_note);
        let tags = self.tags.iter().map(|tag| tag.trim()).filter(|tag| !tag.is_empty());
        let sdk = tags.fold(sdk, RunSdkMetadata::with_tag);
        let metadata = submission.custom_metadata.get_or_insert_default();
        let written = sdk.write(metadata, SystemClock.now());
        written.map_err(|error| Failure::problems("the run cannot be described so", error.problems().to_vec()))
    }
}
