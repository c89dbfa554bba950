use std::collections::BTreeSet;

/// Selected ids in the directory, and selected names. An empty set selects all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    pub(crate) ids: BTreeSet<String>,
    pub(crate) names: BTreeSet<String>,
}

impl Filter {
    /// Returns the selected entries, or the first id that is not listed.
    pub(crate) fn selected<T>(&self, mut listed: Vec<T>, id: impl Fn(&T) -> &str) -> Result<Vec<T>, &str> {
        if let Some(unlisted) = self.ids.iter().find(|wanted| !listed.iter().any(|entry| id(entry) == **wanted)) {
            return Err(unlisted);
        }
        listed.retain(|entry| self.ids.is_empty() || self.ids.contains(id(entry)));
        Ok(listed)
    }

    pub(crate) fn admits(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.contains(name)
    }
}
