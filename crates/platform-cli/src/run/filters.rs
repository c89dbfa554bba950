//! The filters of runs that the platform applies.

use clap::Args;
use platform_resources::RunFilter;
use platform_resources::operations::ListRuns;

/// The filters; a run must match all of them.
#[derive(Args)]
pub(super) struct FilterArgs {
    /// Only runs of this application.
    #[arg(long, value_name = "ID")]
    application_id: Option<String>,
    /// Only runs of this version of an application.
    #[arg(long, value_name = "VERSION")]
    application_version: Option<String>,
    /// Only runs with an item of this external id
    #[arg(long, value_name = "EXTERNAL_ID")]
    external_id: Option<String>,
    /// Only runs with all of these tags, separated by commas
    #[arg(long, value_name = "TAGS", value_delimiter = ',')]
    tags: Vec<String>,
    /// Only runs whose note matches this regular expression
    #[arg(long, value_name = "REGEX")]
    note_regex: Option<String>,
    /// Ignore case in --note-regex (default)
    #[arg(long, overrides_with = "no_note_case_insensitive")]
    note_case_insensitive: bool,
    /// Match case in --note-regex
    #[arg(long)]
    no_note_case_insensitive: bool,
    /// Only runs with this text in the note or in a tag
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["tags", "note_regex"])]
    query: Option<String>,
    /// Only runs whose metadata match this PostgreSQL JSONPath, such as `$.study ? (@ == "a")`
    #[arg(long, value_name = "JSONPATH", conflicts_with_all = ["tags", "note_regex", "query"])]
    custom_metadata: Option<String>,
    /// Only runs that this user submitted; `me` is the logged-in user
    #[arg(long, value_name = "USER_ID")]
    submitted_by: Option<String>,
    /// Only runs whose submitter belongs to this organization; `my_org` is that of the logged-in user
    #[arg(long, value_name = "ID")]
    organization_id: Option<String>,
    /// All runs of this organization, of any submitter (administrators only)
    #[arg(long, value_name = "ID")]
    for_organization: Option<String>,
}

impl FilterArgs {
    pub(super) fn query(&self) -> ListRuns {
        let filter = self.tags.iter().map(|tag| tag.trim()).filter(|tag| !tag.is_empty());
        let filter = filter.fold(RunFilter::new(), RunFilter::with_tag);
        let ignore_case = !self.no_note_case_insensitive;
        let filter = self.note_regex.iter().fold(filter, |filter, regex| filter.with_note(regex, ignore_case));
        let filter = self.query.iter().fold(filter, |filter, text| filter.with_text(text));
        let mut query = ListRuns::new();
        query.custom_metadata = self.custom_metadata.clone().or_else(|| filter.path());
        query.application_id.clone_from(&self.application_id);
        query.application_version.clone_from(&self.application_version);
        query.external_id.clone_from(&self.external_id);
        query.submitted_by.clone_from(&self.submitted_by);
        query.organization_id.clone_from(&self.organization_id);
        query.for_organization.clone_from(&self.for_organization);
        query
    }

    /// Returns the query for the runs of the user, unless the filters select those of others.
    pub(super) fn own_query(&self) -> ListRuns {
        let mut query = self.query();
        if query.submitted_by.is_none() && query.organization_id.is_none() && query.for_organization.is_none() {
            query.submitted_by = Some("me".to_owned());
        }
        query
    }
}
