//! The settings of one level. All settings of a credential are read from the level that selects it, because a mixture
//! of levels could be the credential of another principal.

use std::path::PathBuf;

use url::Url;

use super::reader::{INVALID_URL, Reader, split};
use super::sources::SettingSource;

/// A reader of the settings of one level.
pub(super) struct Level<'a> {
    reader: &'a mut Reader,
    source: SettingSource,
}

impl<'a> Level<'a> {
    pub(super) fn new(reader: &'a mut Reader, source: SettingSource) -> Self {
        Self { reader, source }
    }

    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.reader.text_at_level(&self.source, name)
    }

    pub(super) fn path(&self, name: &str) -> Option<PathBuf> {
        self.text(name).map(PathBuf::from)
    }

    /// Returns a list of values that are separated by commas or spaces.
    pub(super) fn list(&self, name: &str) -> Vec<String> {
        self.text(name).map(|text| split(&text)).unwrap_or_default()
    }

    /// Returns a URL to which secrets may be sent: https, or http on a loopback address.
    pub(super) fn url(&mut self, name: &str) -> Option<Url> {
        let url = Reader::checked_url(&self.text(name)?);
        if url.is_none() {
            self.invalid(name, INVALID_URL);
        }
        url
    }

    /// Returns an environment variable by its full name.
    pub(super) fn variable(&self, name: &str) -> Option<String> {
        self.reader.variable(name)
    }

    /// Records a problem with the value of a setting.
    pub(super) fn invalid(&mut self, name: &str, message: &str) {
        self.reader.record_problem(name, self.source.clone(), message);
    }

    /// Records that a setting is missing. `reason` is the end of the message after "must be set in LEVEL".
    pub(super) fn missing(&mut self, name: &str, reason: &str) {
        let message = format!("must be set in {}{reason}", self.source);
        self.reader.record_problem(name, SettingSource::Default, message);
    }
}
