use platform_resources::models::RunId;
use serde::{Serialize, Serializer};
use serde_json::json;

/// A slide of a study, or a file in its folder that is not a usable slide.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StudySlide {
    /// The external id; `None` for a file that has no row in the table.
    pub external_id: Option<String>,
    /// The path of the file: relative to the table for a slide in the table, otherwise absolute.
    pub file: String,
    /// The status before the submission.
    pub status: SlideStatus,
    /// The latest run of the slide, if it was submitted before.
    pub run: Option<RunId>,
    /// The reason why the slide failed or is not submitted.
    pub reason: Option<String>,
}

/// Serializes all fields. The status is serialized as its [name](SlideStatus::name).
impl Serialize for StudySlide {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { external_id, file, status, run, reason } = self;
        let record = json!({ "external_id": external_id, "file": file, "status": status.name(), "run_id": run, "reason": reason });
        record.serialize(serializer)
    }
}

/// The status of a slide before the submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SlideStatus {
    /// The slide will be submitted.
    New,
    /// The latest run of the slide is active, or produced all results of the slide.
    Processed,
    /// The slide failed in its latest run. It is submitted again only on request.
    Failed,
    /// The latest run ended before the slide was processed. It is submitted again only on request.
    Skipped,
    /// The file is unusable, or its upload failed.
    Unusable,
    /// The caller excluded the file.
    Excluded,
    /// The file is part of another slide.
    Part,
    /// The file was skipped for another reason.
    LeftOut,
}

impl SlideStatus {
    /// Returns the name of the status, for programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Processed => "processed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Unusable => "unusable",
            Self::Excluded => "excluded",
            Self::Part => "part",
            Self::LeftOut => "left_out",
        }
    }
}
