//! The resolution according to the metadata of a file.

use crate::description::Warning;
use crate::resolution::{Plausibility, Resolution};

/// The resolution according to the metadata of a file, before it is resolved.
#[derive(Debug)]
pub(crate) enum StatedResolution {
    /// A value that can be used.
    Found(Resolution),
    /// The resolution is in the resolution tags of the image directory.
    Tags,
    /// The vendor metadata contain no resolution. The resolution tags are used instead, with a warning.
    Fallback,
    /// The file contains no usable value.
    Missing { looked_for: String, found: String },
}

impl StatedResolution {
    /// Returns the resolution, or `None` without a value, and adds warnings about it.
    pub(crate) fn resolve_with_warnings(self, warnings: &mut Vec<Warning>) -> Option<Resolution> {
        match self {
            Self::Found(resolution) => {
                match resolution.plausibility() {
                    Plausibility::Plausible => {}
                    Plausibility::OutOfRange => warnings.push(Warning::ResolutionImplausible(resolution)),
                    Plausibility::NotSquare => warnings.push(Warning::NotSquare(resolution)),
                }
                Some(resolution)
            }
            Self::Missing { looked_for, found } => {
                warnings.push(Warning::ResolutionMissing { looked_for, found });
                None
            }
            Self::Tags | Self::Fallback => None,
        }
    }
}
