use platform_resources::models::RunId;

/// A slide of a study, or a file in its folder that is not submitted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StudySlide {
    /// The external id, if any.
    pub external_id: Option<String>,
    /// The file: relative to the table, or its path.
    pub file: String,
    /// Its status.
    pub status: SlideStatus,
    /// The latest run of the slide.
    pub run: Option<RunId>,
    /// The reason why it failed or is not submitted.
    pub reason: Option<String>,
}

/// The status of a slide before the submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SlideStatus {
    /// It will be submitted.
    New,
    /// Its latest run is active or produced all of its results.
    Processed,
    /// Its latest run failed. It is submitted again only on request.
    Failed,
    /// Its latest run ended before it was processed. It is submitted again only on request.
    Skipped,
    /// It is unusable, or its upload failed.
    Unusable,
    /// The caller excluded it.
    Excluded,
    /// It is part of another slide.
    Part,
    /// It is skipped for another reason.
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
