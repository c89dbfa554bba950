mod dicom;
mod tiff;

use std::fs;
use std::path::PathBuf;

use crc::{CRC_32_ISCSI, Crc};
use tempfile::TempDir;

use super::*;

/// Computed by another library.
fn reference_checksum(content: &[u8]) -> u32 {
    Crc::<u32>::new(&CRC_32_ISCSI).checksum(content)
}

#[test]
fn other_files_are_refused_with_what_is_accepted() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("slide.tiff");
    for content in [&b""[..], b"II", b"\x89PNG\r\n\x1a\n", b"Aperio|MPP = 0.5", b"II*", &[0; 200]] {
        fs::write(&path, content).unwrap();
        let shown = read(&path).unwrap_err().to_string();
        assert!(shown.contains("slide.tiff") && shown.contains("BigTIFF") && shown.contains("DICOM"), "{shown}");
    }
    let missing = read(&folder.path().join("absent")).unwrap_err();
    assert!(!missing.is_invalid() && missing.path().ends_with("absent"));
}
