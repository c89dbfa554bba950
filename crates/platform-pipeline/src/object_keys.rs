//! The locations of slides: objects in the organization's bucket, or other URLs.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use platform_resources::{Bucket, Client};

use crate::application::SelectedApplication;
use crate::digest;
use crate::error::Error;
use crate::table::{CHECKSUM, FILE, SlideRow, SlideTable, URL};

/// The keys of slides in the organization's bucket.
#[derive(Clone)]
pub struct ObjectKeys {
    pub(crate) bucket: Bucket,
    prefix: Option<String>,
    user: String,
    application: String,
    portal: bool,
}

/// The location of a slide.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SlideLocation {
    /// The key of an object in the organization's bucket.
    Object(String),
    /// A URL from the table that is not in the organization's bucket.
    Url(String),
}

impl ObjectKeys {
    /// Creates the keys of slides for an application, in a folder named after `user`.
    ///
    /// # Errors
    ///
    /// [`Error::platform`]: the organization's bucket cannot be determined.
    pub async fn new(client: &Client, application: &SelectedApplication, user: &str) -> Result<Self, Error> {
        Ok(Self {
            bucket: client.bucket().await?,
            prefix: None,
            user: escape_key(user),
            application: format!("{}/{}", application.id, application.number()),
            portal: false,
        })
    }

    /// Sets one folder for all slides, within the folder of the user. By default, each slide has its own folder, whose
    /// name is derived from the external id and the checksum of the slide.
    ///
    /// # Errors
    ///
    /// [`Error::is_input`]: the prefix is empty, or cannot be part of an object key.
    pub fn with_prefix(mut self, prefix: &str) -> Result<Self, Error> {
        if prefix.is_empty() {
            return Err(Error::input("--upload-prefix is empty: name a folder, or omit the option"));
        }
        if prefix.split('/').any(str::is_empty) {
            return Err(Error::input("--upload-prefix must not begin or end with `/` or contain `//`"));
        }
        self.bucket.address(prefix).map_err(|error| Error::input_because("--upload-prefix cannot be used", error))?;
        self.prefix = Some(prefix.to_owned());
        Ok(self)
    }

    /// Sets whether slides are uploaded to `onboard/`, so that the portal shows their results. The default is false.
    pub fn with_portal(mut self, portal: bool) -> Self {
        self.portal = portal;
        self
    }

    /// Returns the key of an object from its `https` or `gs` URL. Returns `None` if the URL is not in the
    /// organization's bucket.
    pub fn key<'a>(&self, url: &'a str) -> Option<&'a str> {
        url.strip_prefix(&self.bucket.root()).or_else(|| url.strip_prefix(&format!("gs://{}/", self.bucket.name())))
    }

    /// Returns the unsigned URL of an object, as written to a slide table.
    ///
    /// # Errors
    ///
    /// [`Error::is_input`]: the key is invalid.
    pub fn url(&self, key: &str) -> Result<String, Error> {
        Ok(self.bucket.address(key)?.to_string())
    }

    /// Returns the location of each slide, in the order of the table: the URL in the table or, without a URL, the key
    /// under which the slide will be uploaded.
    ///
    /// # Errors
    ///
    /// [`Error::is_input`]: the key of a slide is invalid.
    pub fn locate(&self, table: &SlideTable) -> Result<Vec<SlideLocation>, Error> {
        let mut name_counts: HashMap<String, usize> = HashMap::new();
        for row in table.rows() {
            *name_counts.entry(key_name(table, row)).or_default() += 1;
        }
        let locate = |row: &SlideRow| match row.get(URL) {
            "" => {
                let name = key_name(table, row);
                let key = self.new_key(row, &name, name_counts.get(&name).is_some_and(|count| *count > 1));
                self.bucket.address(&key).map_err(|error| Error::input_because(row.label(), error))?;
                Ok(SlideLocation::Object(key))
            }
            url => Ok(match self.key(url) {
                Some(key) => SlideLocation::Object(key.to_owned()),
                None => SlideLocation::Url(url.to_owned()),
            }),
        };
        table.rows().iter().map(locate).collect()
    }

    /// Returns the key of a new object. Like the keys of the Python tool, it consists of the user, the prefix, the
    /// application and the file name. Without a prefix, it also depends on the content and the external id, so that a
    /// changed slide never overwrites the input of an earlier run.
    fn new_key(&self, row: &SlideRow, name: &str, is_ambiguous: bool) -> String {
        let slide_digest = &digest::of_texts([row.external_id(), row.get(CHECKSUM)])[..16];
        let (user, application) = (&self.user, &self.application);
        let portal_folder = if self.portal { "onboard/" } else { "" };
        match &self.prefix {
            None => format!("{portal_folder}{user}/{slide_digest}/{application}/{name}"),
            Some(prefix) if is_ambiguous => {
                format!("{portal_folder}{user}/{prefix}/{application}/{slide_digest}-{name}")
            }
            Some(prefix) => format!("{portal_folder}{user}/{prefix}/{application}/{name}"),
        }
    }
}

impl fmt::Debug for ObjectKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ObjectKeys").field("bucket", &self.bucket.name()).finish_non_exhaustive()
    }
}

/// Returns the file name of a slide as the last segment of a key.
fn key_name(table: &SlideTable, row: &SlideRow) -> String {
    table.path_of(row).file_name().map_or_else(|| "slide".to_owned(), |name| escape_key(&name.to_string_lossy()))
}

/// Escapes characters that are invalid in a key.
fn escape_key(text: &str) -> String {
    const ESCAPED: &AsciiSet = &CONTROLS.add(b'%');
    utf8_percent_encode(text, ESCAPED).to_string()
}

/// Returns the reason why the file of a slide cannot be uploaded, or `None` if it can. The text includes the file name
/// if the row has one.
pub(crate) fn upload_obstacle(table: &SlideTable, row: &SlideRow) -> Option<String> {
    let file = row.get(FILE);
    let prefix = if file.is_empty() { String::new() } else { format!("cannot read '{file}': ") };
    Some(prefix + &read_problem(&table.path_of(row))?)
}

fn read_problem(path: &Path) -> Option<String> {
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => None,
        Ok(_) => Some("this is not a file".to_owned()),
        Err(error) => Some(error.to_string()),
    }
}
