//! The target of results.

use std::ffi::OsString;
use std::path::PathBuf;

use platform_download::{StoreAddress, StoreAddressError};

/// A location for results: a folder or an object store.
///
/// ```
/// use platform_resources::ResultsTarget;
///
/// assert!(matches!(ResultsTarget::parse("results")?, ResultsTarget::Folder(_)));
/// assert!(matches!(ResultsTarget::parse("s3://bucket/results")?, ResultsTarget::Store(_)));
/// ResultsTarget::parse("ftp://bucket/results").unwrap_err();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResultsTarget {
    /// A folder.
    Folder(PathBuf),
    /// An address in an object store.
    Store(StoreAddress),
}

impl ResultsTarget {
    /// Parses the path of a folder, or the address of a store, which contains `://`.
    ///
    /// # Errors
    ///
    /// The address is not valid.
    pub fn parse(text: impl Into<OsString>) -> Result<Self, StoreAddressError> {
        let text = text.into();
        match text.to_str().filter(|text| StoreAddress::is_like(text)) {
            Some(address) => Ok(Self::Store(address.parse()?)),
            None => Ok(Self::Folder(text.into())),
        }
    }
}
