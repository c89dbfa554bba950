//! Where slides lie in the bucket of the organisation.

use std::collections::HashMap;

use anyhow::{Context, anyhow};
use clap::Args;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use platform_resources::{Bucket, Client};

use super::input::Application;
use super::intent::digest;
use super::table::{CHECKSUM, Row, URL};
use crate::access::system_user;
use crate::exit::Failure;

/// Where slides go.
#[derive(Args, Clone, Default)]
pub(super) struct Where {
    /// The folder in the bucket, below that of the user. Without it, each slide has one of its own, which follows from its path
    /// and its checksum, so that it is found again. Slides that have a place in the table keep it.
    #[arg(long, value_name = "PREFIX")]
    upload_prefix: Option<String>,
}

/// Where the slides of an application lie.
pub(super) struct Places {
    pub(super) bucket: Bucket,
    prefix: Option<String>,
    user: String,
    application: String,
    portal: bool,
}

/// The place of one slide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// An object of the organisation's bucket, by its key.
    Own(String),
    /// A URL that the table names.
    Elsewhere(String),
}

impl Where {
    pub(super) async fn places(&self, client: &Client, to: &Application, portal: bool) -> Result<Places, Failure> {
        let bucket = client.bucket().await?;
        if let Some(prefix) = &self.upload_prefix {
            bucket.address(prefix).context("--upload-prefix cannot be used").map_err(Failure::bad_input)?;
        }
        let user = system_user().unwrap_or_else(|| "user".to_owned());
        Ok(Places {
            bucket,
            prefix: self.upload_prefix.clone(),
            user: escaped(&user),
            application: format!("{}/{}", to.id, to.number()),
            portal,
        })
    }
}

impl Places {
    /// The key of an object, if the URL leads into the organisation's bucket.
    pub(super) fn key<'a>(&self, url: &'a str) -> Option<&'a str> {
        url.strip_prefix(&self.bucket.root()).or_else(|| url.strip_prefix(&format!("gs://{}/", self.bucket.name())))
    }

    /// The address of an object, as it stands in the table.
    pub(super) fn url(&self, key: &str) -> Result<String, Failure> {
        Ok(self.bucket.address(key)?.to_string())
    }

    /// Where each slide lies, or is to lie.
    pub(super) fn of(&self, rows: &[Row]) -> Result<Vec<Place>, Failure> {
        let mut names: HashMap<String, usize> = HashMap::new();
        for row in rows {
            *names.entry(name(row)).or_default() += 1;
        }
        let place = |row: &Row| match row.get(URL) {
            "" => {
                let key = self.new_key(row, names.get(&name(row)).is_some_and(|count| *count > 1));
                let checked = self.bucket.address(&key).with_context(|| row.named());
                checked.map_err(Failure::bad_input)?;
                Ok(Place::Own(key))
            }
            url => Ok(self.key(url).map_or_else(|| Place::Elsewhere(url.to_owned()), |key| Place::Own(key.to_owned()))),
        };
        rows.iter().map(place).collect()
    }

    /// The user, the prefix, the application and the name of the file, as the Python tool has it. What is of another content or
    /// of another folder has another key: a run that was submitted before still reads what it was told of.
    fn new_key(&self, row: &Row, is_ambiguous: bool) -> String {
        let own = &digest([row.external_id(), row.get(CHECKSUM)])[..16];
        let (user, application, name) = (&self.user, &self.application, name(row));
        let portal = if self.portal { "onboard/" } else { "" };
        match &self.prefix {
            None => format!("{portal}{user}/{own}/{application}/{name}"),
            Some(prefix) if is_ambiguous => format!("{portal}{user}/{prefix}/{application}/{own}-{name}"),
            Some(prefix) => format!("{portal}{user}/{prefix}/{application}/{name}"),
        }
    }
}

/// The name of the file.
fn name(row: &Row) -> String {
    row.path().file_name().map_or_else(|| "slide".to_owned(), |name| escaped(&name.to_string_lossy()))
}

/// Without what the bucket does not take in a key.
fn escaped(text: &str) -> String {
    const REFUSED: &AsciiSet = &CONTROLS.add(b'%');
    utf8_percent_encode(text, REFUSED).to_string()
}

/// What is wrong with the files of slides that are to be uploaded.
pub(super) fn missing(row: &Row) -> Option<anyhow::Error> {
    match std::fs::metadata(row.path()) {
        Ok(found) if found.is_file() => None,
        Ok(_) => Some(anyhow!("this is no file")),
        Err(error) => Some(error.into()),
    }
}
