use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use url::Url;

/// The address of a location for objects: `gs://BUCKET/PREFIX`, `s3://BUCKET/PREFIX`, `az://CONTAINER/PREFIX` or
/// `file:///FOLDER`.
///
/// ```
/// use platform_download::StoreAddress;
///
/// let address: StoreAddress = "s3://results/study-1".parse()?;
/// assert_eq!((address.bucket(), address.prefix()), (Some("results"), "study-1"));
/// assert_eq!(address.key("run/a.csv"), "study-1/run/a.csv");
/// # Ok::<(), platform_download::StoreAddressError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreAddress {
    scheme: Scheme,
    /// The bucket or the container, or the folder.
    location: String,
    /// The prefix of keys, without a slash at its ends.
    prefix: String,
}

/// The kinds of stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    Google,
    S3,
    Azure,
    File,
}

/// The error of a text that is not the address of a store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected gs://BUCKET/PREFIX, s3://BUCKET/PREFIX, az://CONTAINER/PREFIX or file:///FOLDER")]
pub struct StoreAddressError;

impl StoreAddress {
    /// Returns true if a text looks like the address of a store rather than a path.
    pub fn is_like(text: &str) -> bool {
        text.contains("://")
    }

    pub(super) fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Returns the name of the bucket or the container; `None` for a folder.
    pub fn bucket(&self) -> Option<&str> {
        (self.scheme != Scheme::File).then_some(&self.location)
    }

    /// Returns true for a bucket of Google Cloud Storage.
    pub fn is_google(&self) -> bool {
        self.scheme == Scheme::Google
    }

    /// Returns the address of the object with this key, which includes the prefix.
    pub fn object(&self, key: &str) -> String {
        Self { prefix: key.to_owned(), ..self.clone() }.to_string()
    }

    /// Returns the address without the prefix.
    pub(super) fn root(&self) -> String {
        self.object("")
    }

    pub(super) fn folder(&self) -> &Path {
        Path::new(&self.location)
    }

    /// Returns the path of a folder; `None` for a bucket or a container.
    pub fn local_folder(&self) -> Option<&Path> {
        (self.scheme == Scheme::File).then(|| self.folder())
    }

    /// Returns the prefix of keys, without a slash at its ends. It can be empty.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Returns the key of an object below the prefix.
    pub fn key(&self, name: &str) -> String {
        if self.prefix.is_empty() { name.to_owned() } else { format!("{}/{name}", self.prefix) }
    }
}

impl FromStr for StoreAddress {
    type Err = StoreAddressError;

    fn from_str(text: &str) -> Result<Self, StoreAddressError> {
        let (scheme, rest) = text.split_once("://").ok_or(StoreAddressError)?;
        if scheme == "file" {
            let url: Url = text.parse().map_err(|_| StoreAddressError)?;
            let path: PathBuf = url.to_file_path().map_err(|()| StoreAddressError)?;
            let location = path.to_str().ok_or(StoreAddressError)?.to_owned();
            return Ok(Self { scheme: Scheme::File, location, prefix: String::new() });
        }
        let scheme = match scheme {
            "gs" => Scheme::Google,
            "s3" => Scheme::S3,
            "az" => Scheme::Azure,
            _ => return Err(StoreAddressError),
        };
        let (location, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix.trim_end_matches('/');
        // A store could normalize a key with one of these segments to another key.
        let is_ambiguous = |segment: &str| matches!(segment, "" | "." | "..");
        let is_valid = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
        if location.is_empty()
            || !location.chars().all(is_valid)
            || (!prefix.is_empty() && prefix.split('/').any(is_ambiguous))
        {
            return Err(StoreAddressError);
        }
        Ok(Self { scheme, location: location.to_owned(), prefix: prefix.to_owned() })
    }
}

impl fmt::Display for StoreAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Google => "gs",
            Scheme::S3 => "s3",
            Scheme::Azure => "az",
            Scheme::File => "file",
        };
        write!(formatter, "{scheme}://{}", self.location)?;
        if self.prefix.is_empty() { Ok(()) } else { write!(formatter, "/{}", self.prefix) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_has_a_bucket_and_a_prefix() {
        for (text, bucket, prefix) in [
            ("gs://b", "b", ""),
            ("gs://b/", "b", ""),
            ("s3://b.c-d/x y/z/", "b.c-d", "x y/z"),
            ("az://c/größe", "c", "größe"),
        ] {
            let address: StoreAddress = text.parse().unwrap();
            assert_eq!((address.bucket(), address.prefix()), (Some(bucket), prefix), "{text}");
            assert_eq!(address.to_string(), text.trim_end_matches('/'));
        }
        for text in
            ["b", "gs:/b", "gs://", "gs:///x", "ftp://b/x", "s3://b/../x", "s3://b//x", "s3://b/./x", "s3://u@b/x"]
        {
            assert_eq!(text.parse::<StoreAddress>(), Err(StoreAddressError), "{text}");
        }
        let folder: StoreAddress = "file:///data/results%201".parse().unwrap();
        assert_eq!((folder.bucket(), folder.folder()), (None, Path::new("/data/results 1")));
        assert_eq!(folder.key("a"), "a");
    }
}
