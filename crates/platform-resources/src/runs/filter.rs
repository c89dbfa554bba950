use serde_json::json;

/// A filter for runs by the tags and the note in their SDK metadata. A run must match all conditions. Pass the filter's
/// [`path`](Self::path) to [`ListRuns::with_custom_metadata`](crate::operations::ListRuns::with_custom_metadata).
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
    /// Creates a filter that matches all runs.
    pub fn new() -> Self {
        Self::default()
    }

    /// Matches runs with this tag.
    pub fn with_tag(self, tag: &str) -> Self {
        self.with_condition(&format!("@.sdk.tags[*] == {}", json!(tag)))
    }

    /// Matches runs whose note matches this PostgreSQL regular expression. `ignore_case` disables case sensitivity.
    pub fn with_note(self, regex: &str, ignore_case: bool) -> Self {
        self.with_condition(&format!("@.sdk.note {}", like_regex(regex, ignore_case)))
    }

    /// Matches runs whose note or any tag contains this text, ignoring case.
    pub fn with_text(self, text: &str) -> Self {
        let match_clause = like_regex(&escape_regex(text), true);
        self.with_condition(&format!("@.sdk.note {match_clause} || @.sdk.tags[*] {match_clause}"))
    }

    fn with_condition(mut self, condition: &str) -> Self {
        self.conditions.push(format!("({condition})"));
        self
    }

    /// Returns the filter as a PostgreSQL JSONPath expression, or `None` if the filter matches all runs.
    pub fn path(&self) -> Option<String> {
        (!self.conditions.is_empty()).then(|| format!("$ ? ({})", self.conditions.join(" && ")))
    }
}

fn like_regex(regex: &str, ignore_case: bool) -> String {
    format!("like_regex {}{}", json!(regex), if ignore_case { r#" flag "i""# } else { "" })
}

/// Returns a regular expression that matches only this text.
fn escape_regex(text: &str) -> String {
    let mut regex = String::new();
    for character in text.chars() {
        if r"\^$.|?*+()[]{}".contains(character) {
            regex.push('\\');
        }
        regex.push(character);
    }
    regex
}
