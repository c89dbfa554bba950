mod dicom;
mod tiff;

use std::fs;
use std::path::PathBuf;

use crc::{CRC_32_ISCSI, Crc};
use tempfile::TempDir;

use super::*;

/// What there is to say of a file with this content. Its checksum is computed by another library.
fn expected(width: u32, height: u32, resolution: f64, media_type: &'static str, content: &[u8]) -> SlideMetadata {
    let crc32c = Crc::<u32>::new(&CRC_32_ISCSI).checksum(content);
    SlideMetadata { width, height, resolution, media_type, bytes: content.len() as u64, crc32c }
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
