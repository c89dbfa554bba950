use std::fmt;
use std::str::FromStr;

use globset::{GlobBuilder, GlobMatcher};

/// A glob pattern for names. `*` matches any text without `/`, `**` matches any text, `?` matches one character, `[ab]`
/// matches one of these characters, and `{one,other}` matches one of these texts. Matching is case-sensitive.
///
/// ```
/// let tables: platform_download::Pattern = "tissue_*_{areas,cells}".parse()?;
/// assert!(tables.matches("tissue_qc_areas") && !tables.matches("tissue_qc_map"));
/// # Ok::<(), platform_download::PatternError>(())
/// ```
#[derive(Clone)]
pub struct Pattern(GlobMatcher);

/// The error of an invalid pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid pattern `{text}`: {problem}")]
pub struct PatternError {
    text: String,
    problem: String,
}

impl Pattern {
    /// Returns true if the pattern matches the whole name.
    pub fn matches(&self, name: &str) -> bool {
        self.0.is_match(name)
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        // Patterns match names of objects, not of files. Without `backslash_escape`, a backslash would be a path
        // separator on Windows.
        let glob = GlobBuilder::new(text).literal_separator(true).backslash_escape(true).build();
        let pattern_error =
            |error: globset::Error| PatternError { text: text.to_owned(), problem: error.kind().to_string() };
        glob.map(|glob| Self(glob.compile_matcher())).map_err(pattern_error)
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
