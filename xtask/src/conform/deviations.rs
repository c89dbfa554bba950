//! Intended differences, each with its reason.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::facts::Difference;

/// All deviations. A deviation that explains no difference is an error.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Deviations {
    #[serde(default, rename = "deviation")]
    deviations: Vec<Deviation>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Deviation {
    /// The address of the fact, in which `*` matches any text.
    address: String,
    /// The value in the reference, or `None` if it is absent.
    reference: Option<String>,
    /// The value in the document of the project, or `None` if it is absent.
    ours: Option<String>,
    reason: String,
}

impl Deviations {
    pub(super) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        Self::parse(&text).with_context(|| path.display().to_string())
    }

    pub(super) fn parse(text: &str) -> Result<Self> {
        Ok(toml::from_str(text)?)
    }

    /// Returns the number of explained `differences`, the unexplained ones, and the deviations without a difference.
    pub(super) fn explain(&self, differences: Vec<Difference>) -> (usize, Vec<String>) {
        let mut is_used = vec![false; self.deviations.len()];
        let mut unexplained = Vec::new();
        let total_count = differences.len();
        for difference in differences {
            match self.deviations.iter().position(|deviation| deviation.explains(&difference)) {
                Some(index) => is_used[index] = true,
                None => unexplained.push(format!("unexplained: {difference}")),
            }
        }
        let explained = total_count - unexplained.len();
        let unused = self.deviations.iter().zip(is_used).filter(|(_, is_used)| !is_used);
        unexplained.extend(unused.map(|(deviation, _)| format!("explains no difference: {}", deviation.address)));
        (explained, unexplained)
    }
}

impl Deviation {
    fn explains(&self, difference: &Difference) -> bool {
        !self.reason.is_empty()
            && matches_pattern(&self.address, &difference.address)
            && self.reference == difference.before
            && self.ours == difference.after
    }
}

/// Returns true if the whole text matches a pattern, in which `*` matches any text.
fn matches_pattern(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|text| {
            (0..=text.len()).filter(|&at| text.is_char_boundary(at)).any(|at| matches_pattern(rest, &text[at..]))
        }),
    }
}
