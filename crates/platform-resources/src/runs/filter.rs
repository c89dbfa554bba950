use serde_json::json;

/// Tags and notes that runs are found by: all of what is said must fit. The path is for
/// [`ListRuns::with_custom_metadata`](crate::operations::ListRuns::with_custom_metadata).
///
/// ```
/// use platform_resources::RunFilter;
///
/// let filter = RunFilter::new().with_tag("cohort-7").with_note("^second", true);
/// let path = r#"$ ? ((@.sdk.tags[*] == "cohort-7") && (@.sdk.note like_regex "^second" flag "i"))"#;
/// assert_eq!(filter.path().as_deref(), Some(path));
/// ```
#[derive(Clone, Debug, Default)]
pub struct RunFilter {
    conditions: Vec<String>,
}

impl RunFilter {
    /// All runs.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only runs with this tag.
    pub fn with_tag(self, tag: &str) -> Self {
        self.with(&format!("@.sdk.tags[*] == {}", json!(tag)))
    }

    /// Only runs with a note that this regular expression of PostgreSQL fits; `relaxed`: whatever the case of its
    /// letters.
    pub fn with_note(self, regex: &str, relaxed: bool) -> Self {
        self.with(&format!("@.sdk.note {}", like(regex, relaxed)))
    }

    /// Only runs in whose note, or in one of whose tags, this text is, whatever the case of its letters.
    pub fn with_text(self, text: &str) -> Self {
        let like = like(&literal(text), true);
        self.with(&format!("@.sdk.note {like} || @.sdk.tags[*] {like}"))
    }

    fn with(mut self, condition: &str) -> Self {
        self.conditions.push(format!("({condition})"));
        self
    }

    /// It as a PostgreSQL JSONPath expression. `None` for all runs.
    pub fn path(&self) -> Option<String> {
        (!self.conditions.is_empty()).then(|| format!("$ ? ({})", self.conditions.join(" && ")))
    }
}

fn like(regex: &str, relaxed: bool) -> String {
    format!("like_regex {}{}", json!(regex), if relaxed { r#" flag "i""# } else { "" })
}

/// A regular expression that fits this text alone.
fn literal(text: &str) -> String {
    let mut regex = String::new();
    for character in text.chars() {
        if r"\^$.|?*+()[]{}".contains(character) {
            regex.push('\\');
        }
        regex.push(character);
    }
    regex
}
