//! The files of an emulator: its configuration and its fixture.

use std::error::Error;
use std::fs;
use std::io;
use std::path::Path;

use crate::config::Config;
use crate::control::fixture::Fixture;

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
struct UnusableFile {
    message: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl Config {
    /// Reads a configuration (TOML).
    ///
    /// # Errors
    ///
    /// `InvalidInput`: the file cannot be read, or is not a configuration.
    pub fn read(path: &Path) -> io::Result<Self> {
        let config = read(path).and_then(|text| Ok(toml::from_str(&String::from_utf8(text)?)?));
        config.map_err(|error| {
            unusable_file(format!("'{}' is not a configuration of the emulator", path.display()), Some(error))
        })
    }
}

impl Fixture {
    /// Reads a fixture (JSON).
    ///
    /// # Errors
    ///
    /// `InvalidInput`: the file cannot be read, or is not a fixture.
    pub fn read(path: &Path) -> io::Result<Self> {
        let text = read(path).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        // The message of the parser can contain a signed URL.
        serde_json::from_slice(&text).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            unusable_file(
                format!("'{}' is not a fixture: invalid at line {line}, column {column}", path.display()),
                None,
            )
        })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Box<dyn Error + Send + Sync>> {
    fs::read(path).map_err(|error| {
        UnusableFile { message: format!("cannot read '{}'", path.display()), source: Some(error.into()) }.into()
    })
}

fn unusable_file(message: String, source: Option<Box<dyn Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, UnusableFile { message, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unusable_files_are_invalid_input() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        assert_eq!(Config::read(&path).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        fs::write(&path, "speed = 2.0").unwrap();
        assert!(Config::read(&path).is_ok_and(|config| (config.speed - 2.0).abs() < f64::EPSILON));
        fs::write(&path, "unknown = 1").unwrap();
        let error = Config::read(&path).unwrap_err();
        assert!(error.to_string().ends_with("is not a configuration of the emulator"), "{error}");
    }

    #[test]
    fn content_of_a_fixture_is_not_in_its_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fixture.json");
        fs::write(&path, "{ \"secret\": 1 }").unwrap();
        let error = Fixture::read(&path).err().unwrap();
        assert!(error.to_string().ends_with("invalid at line 1, column 10"), "{error}");
    }
}
