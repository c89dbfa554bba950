use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::path::Path;

use platform_resources::{BucketError, FolderError, SignError};

use crate::study_slide::StudySlide;

/// The underlying cause: an error from another library.
pub(crate) type Cause = Box<dyn StdError + Send + Sync>;

/// An error that occurred while slides were prepared, uploaded or submitted.
#[derive(Debug)]
pub struct Error(Box<Kind>);

#[derive(Debug)]
enum Kind {
    Input { message: String, details: Vec<String>, source: Option<Cause> },
    Incomplete { message: String, details: Vec<String> },
    Platform(platform_resources::Error),
    Bucket(BucketError),
    Folder(FolderError),
    Conflict { message: String, details: Vec<String> },
    Stopped { message: String, details: Vec<String>, slides: Vec<StudySlide> },
    Busy,
    SubmittedElsewhere,
    DiskFull,
    Unwritten,
    Io { message: String, source: io::Error },
}

impl Error {
    pub(crate) fn input(message: impl Into<String>) -> Self {
        Self::inputs(message, Vec::new())
    }

    /// Creates an input error with one line for each problem.
    pub(crate) fn inputs(message: impl Into<String>, details: Vec<String>) -> Self {
        Self(Box::new(Kind::Input { message: message.into(), details, source: None }))
    }

    pub(crate) fn input_because(message: impl Into<String>, source: impl Into<Cause>) -> Self {
        Self(Box::new(Kind::Input { message: message.into(), details: Vec::new(), source: Some(source.into()) }))
    }

    pub(crate) fn unreadable(path: &Path, source: io::Error) -> Self {
        Self::input_because(format!("cannot read '{}'", path.display()), source)
    }

    pub(crate) fn incomplete(message: impl Into<String>, details: Vec<String>) -> Self {
        Self(Box::new(Kind::Incomplete { message: message.into(), details }))
    }

    pub(crate) fn conflict(message: impl Into<String>, details: Vec<String>) -> Self {
        Self(Box::new(Kind::Conflict { message: message.into(), details }))
    }

    pub(crate) fn stopped(message: impl Into<String>, details: Vec<String>, slides: Vec<StudySlide>) -> Self {
        Self(Box::new(Kind::Stopped { message: message.into(), details, slides }))
    }

    pub(crate) fn io(message: impl Into<String>, source: io::Error) -> Self {
        Self(Box::new(Kind::Io { message: message.into(), source }))
    }

    pub(crate) fn disk_full() -> Self {
        Self(Box::new(Kind::DiskFull))
    }

    pub(crate) fn unwritten() -> Self {
        Self(Box::new(Kind::Unwritten))
    }

    pub(crate) fn busy() -> Self {
        Self(Box::new(Kind::Busy))
    }

    pub(crate) fn submitted_elsewhere() -> Self {
        Self(Box::new(Kind::SubmittedElsewhere))
    }

    /// Returns true if the input is invalid: a table, a submission, an option or a slide.
    pub fn is_input(&self) -> bool {
        matches!(*self.0, Kind::Input { .. })
    }

    /// Returns true if part of the work failed. [`details`](Self::details) lists the failures.
    pub fn is_incomplete(&self) -> bool {
        matches!(*self.0, Kind::Incomplete { .. })
    }

    /// Returns true if the key of the submission was already used for another submission. [`details`](Self::details)
    /// lists the differences.
    pub fn is_conflict(&self) -> bool {
        matches!(*self.0, Kind::Conflict { .. })
    }

    /// Returns true if unusable slides stopped a study before anything was submitted. [`slides`](Self::slides) lists
    /// all slides of the study.
    pub fn is_stopped(&self) -> bool {
        matches!(*self.0, Kind::Stopped { .. })
    }

    /// Returns all slides of a study that [was stopped](Self::is_stopped). For other errors, the list is empty.
    pub fn slides(&self) -> &[StudySlide] {
        match &*self.0 {
            Kind::Stopped { slides, .. } => slides,
            _ => &[],
        }
    }

    /// Returns true if another process holds the lock of the same submission.
    pub fn is_busy(&self) -> bool {
        matches!(*self.0, Kind::Busy)
    }

    /// Returns true if another process or machine submitted slides of the study during their upload. This process did
    /// not submit them. The study must be planned again.
    pub fn is_submitted_elsewhere(&self) -> bool {
        matches!(*self.0, Kind::SubmittedElsewhere)
    }

    /// Returns true if the disk is full, so that results could not be written.
    pub fn is_disk_full(&self) -> bool {
        matches!(*self.0, Kind::DiskFull)
    }

    /// Returns the platform error, if that is the cause.
    pub fn platform(&self) -> Option<&platform_resources::Error> {
        match &*self.0 {
            Kind::Platform(error) => Some(error),
            _ => None,
        }
    }

    /// Returns the bucket error, if that is the cause.
    pub fn bucket(&self) -> Option<&BucketError> {
        match &*self.0 {
            Kind::Bucket(error) => Some(error),
            _ => None,
        }
    }

    /// Returns the error of the results folder, if that is the cause.
    pub fn folder(&self) -> Option<&FolderError> {
        match &*self.0 {
            Kind::Folder(error) => Some(error),
            _ => None,
        }
    }

    /// Returns one line for each problem. The list is empty if the error message describes the only problem.
    pub fn details(&self) -> &[String] {
        match &*self.0 {
            Kind::Input { details, .. }
            | Kind::Incomplete { details, .. }
            | Kind::Conflict { details, .. }
            | Kind::Stopped { details, .. } => details,
            _ => &[],
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Kind::Input { message, .. }
            | Kind::Incomplete { message, .. }
            | Kind::Conflict { message, .. }
            | Kind::Stopped { message, .. }
            | Kind::Io { message, .. } => formatter.write_str(message),
            Kind::Platform(error) => error.fmt(formatter),
            Kind::Bucket(error) => error.fmt(formatter),
            Kind::Folder(error) => error.fmt(formatter),
            Kind::DiskFull => formatter.write_str("the disk is full"),
            Kind::Unwritten => formatter.write_str("cannot write some results"),
            Kind::Busy => formatter.write_str("another process is submitting the same slides"),
            Kind::SubmittedElsewhere => {
                formatter.write_str("some of the slides were submitted elsewhere during the upload")
            }
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &*self.0 {
            Kind::Input { source, .. } => source.as_deref().map(|source| source as &(dyn StdError + 'static)),
            Kind::Io { source, .. } => Some(source),
            Kind::Platform(error) => error.source(),
            Kind::Bucket(error) => error.source(),
            Kind::Folder(error) => error.source(),
            Kind::Incomplete { .. }
            | Kind::Conflict { .. }
            | Kind::Stopped { .. }
            | Kind::Busy
            | Kind::SubmittedElsewhere
            | Kind::DiskFull
            | Kind::Unwritten => None,
        }
    }
}

impl From<platform_resources::Error> for Error {
    fn from(error: platform_resources::Error) -> Self {
        Self(Box::new(Kind::Platform(error)))
    }
}

impl From<BucketError> for Error {
    fn from(error: BucketError) -> Self {
        Self(Box::new(Kind::Bucket(error)))
    }
}

impl From<FolderError> for Error {
    fn from(error: FolderError) -> Self {
        Self(Box::new(Kind::Folder(error)))
    }
}

impl From<SignError> for Error {
    fn from(error: SignError) -> Self {
        Self::input_because("cannot create a signed URL for an object in the bucket", error)
    }
}
