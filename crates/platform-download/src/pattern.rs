use std::fmt;
use std::str::FromStr;

use globset::{GlobBuilder, GlobMatcher};

/// A pattern for names: `*` stands for anything but `/`, `**` for anything, `?` for one character, `[ab]` for one of
/// several, `{one,other}` for one of several texts. Case matters.
///
/// ```
/// let tables: platform_download::Pattern = "tissue_*_{areas,cells}".parse()?;
/// assert!(tables.fits("tissue_qc_areas") && !tables.fits("tissue_qc_map"));
/// # Ok::<(), platform_download::PatternError>(())
/// ```
#[derive(Clone)]
pub struct Pattern(GlobMatcher);

/// A text that is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no pattern: {problem}")]
pub struct PatternError {
    text: String,
    problem: String,
}

impl Pattern {
    /// Whether all of a name is as the pattern says.
    pub fn fits(&self, name: &str) -> bool {
        self.0.is_match(name)
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        // The names are of objects, not of files of this system: a backslash escapes on all of them.
        let glob = GlobBuilder::new(text).literal_separator(true).backslash_escape(true).build();
        let failed = |error: globset::Error| PatternError { text: text.to_owned(), problem: error.kind().to_string() };
        glob.map(|glob| Self(glob.compile_matcher())).map_err(failed)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0.glob().glob())
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Pattern({self})")
    }
}
