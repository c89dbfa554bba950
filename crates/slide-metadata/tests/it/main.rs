//! Slides in the structures of all vendors: metadata and errors.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod archive;
mod associated;
mod completeness;
mod dicom;
mod fuzz;
mod identifiers;
mod image_selection;
mod reference_readers;
#[cfg(feature = "thumbnail")]
mod thumbnail;
mod tiff;
mod vendors;
mod ventana;

#[path = "../../../../tests/support/slides/corpus.rs"]
mod corpus;
#[path = "../../../../tests/support/dicom.rs"]
mod files;
#[path = "../../../../tests/support/needs.rs"]
#[expect(dead_code, reason = "no test needs another program")]
mod needs;

use std::error::Error;
use std::fs;
use std::path::PathBuf;

use slide_metadata::{DicomFiles, SlideDescription, SlideError, SlideMetadata, inspect, read};
use tempfile::TempDir;

fn write_file(name: &str, content: &[u8]) -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, content).unwrap();
    (folder, path)
}

fn read_bytes(name: &str, content: &[u8]) -> Result<SlideMetadata, SlideError> {
    let (_folder, path) = write_file(name, content);
    read(&path)
}

fn inspect_bytes(name: &str, content: &[u8]) -> Result<SlideDescription, SlideError> {
    let (_folder, path) = write_file(name, content);
    inspect(&path)
}

/// Returns the error with its causes. Asserts that it names the file.
fn error_text(name: &str, content: &[u8]) -> String {
    let error = read_bytes(name, content).unwrap_err();
    assert!(error.is_invalid() && error.to_string().contains(name), "{error}");
    let causes = std::iter::successors(error.source(), |cause| (*cause).source()).map(ToString::to_string);
    std::iter::once(error.to_string()).chain(causes).collect::<Vec<_>>().join(": ")
}

#[test]
fn error_of_another_file_lists_the_accepted_formats() {
    for content in [&b""[..], b"II", b"\x89PNG\r\n\x1a\n", b"Aperio|MPP = 0.5", b"II*", &[0; 200]] {
        let message = error_text("slide.tiff", content);
        assert!(message.contains("BigTIFF") && message.contains("DICOM"), "{message}");
    }
    let missing = read(&TempDir::new().unwrap().path().join("absent")).unwrap_err();
    assert!(!missing.is_invalid() && missing.path().ends_with("absent"));
}

#[test]
fn error_names_an_unsupported_format_of_several_files() {
    for (name, content, expected) in [
        ("slide.mrxs", &b"\xff\xd8\xff\xe0"[..], "MRXS (3DHISTECH), a slide of several files, is not supported"),
        ("slide.vms", b"[Virtual Microscope Specimen]\nNoLayers=1\n", "VMS (Hamamatsu)"),
        ("slide.vmu", b"[Uncompressed Virtual Microscope Specimen]\n", "VMU (Hamamatsu)"),
        ("slide.vsi", b"II*\0\x08\0\0\0", "VSI (Olympus)"),
        ("slide.ets", b"SIS\0", "ETS (Olympus)"),
        ("slide.czi", b"ZISRAWFILE\0\0", "CZI (Zeiss)"),
        ("slide.isyntax", b"<DataObject ObjectType=\"DPUfsImport\">", "iSyntax (Philips)"),
    ] {
        let message = error_text(name, content);
        assert!(message.contains(expected) && message.contains("export"), "{message}");
    }
}
