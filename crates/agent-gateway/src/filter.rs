use std::collections::BTreeSet;

/// A filter by id in the directory and by name. An empty set selects all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    pub(crate) ids: BTreeSet<String>,
    pub(crate) names: BTreeSet<String>,
}

impl Filter {
    /// Returns the entries with a selected id. Fails with the first selected id that is not listed.
    pub(crate) fn select<T>(&self, mut listed: Vec<T>, id: impl Fn(&T) -> &str) -> Result<Vec<T>, &str> {
        if let Some(unlisted_id) =
            self.ids.iter().find(|selected_id| !listed.iter().any(|entry| id(entry) == **selected_id))
        {
            return Err(unlisted_id);
        }
        listed.retain(|entry| self.ids.is_empty() || self.ids.contains(id(entry)));
        Ok(listed)
    }

    /// Returns true if the name is selected.
    pub(crate) fn matches_name(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.contains(name)
    }
}
