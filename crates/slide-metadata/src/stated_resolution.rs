//! The resolution in a file.

use crate::description::Warning;
use crate::resolution::{Plausibility, Resolution};

/// The resolution in a file, or where to find it.
#[derive(Debug)]
pub(crate) enum StatedResolution {
    /// A value that can be used.
    Found(Resolution),
    /// The resolution tags of the chosen directory.
    Tags,
    /// The vendor's own field is empty; the tags are used.
    Fallback,
    /// No usable value.
    Missing { looked_for: String, found: String },
}

impl StatedResolution {
    /// Returns the resolution, if any, and adds warnings about it.
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
