//! Comparison with openslide, tifffile and pydicom, which read the same slides.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::corpus::vendors::{self, Case};
use super::files::{Dicom, JPEG, PLAIN};
use super::*;

/// Returns the Python interpreter of an environment with the libraries.
fn python(peer: &str) -> Option<PathBuf> {
    let tools = env::var_os("AIGNOSTICS_TEST_TOOLS").map(PathBuf::from);
    let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache/aignostics-test-tools"));
    let python = tools.or_else(home)?.join("slides/bin/python");
    if python.is_file() {
        return Some(python);
    }
    let remedy = "create a virtual environment in ~/.cache/aignostics-test-tools/slides or \
                  $AIGNOSTICS_TEST_TOOLS/slides, and install tests/peers/slides/requirements.txt in it";
    needs::missing(&format!("{peer} (PyPI)"), remedy);
    None
}

/// Returns the metadata that a library reads from each file.
fn read_with(python: &Path, peer: &str, paths: &[PathBuf]) -> Vec<Value> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/peers/slides/judge.py");
    let output = Command::new(python).arg(script).arg(peer).args(paths).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn save_cases(cases: &[Case]) -> (TempDir, Vec<PathBuf>) {
    let folder = TempDir::new().unwrap();
    let save = |case: &Case| {
        let path = folder.path().join(case.name);
        case.tiff.save(&path);
        path
    };
    let paths = cases.iter().map(save).collect();
    (folder, paths)
}

fn assert_size(metadata: &Value, width: u32, height: u32, name: &str) {
    assert_eq!(metadata["size"], serde_json::json!([width, height]), "{name}: {metadata}");
}

fn assert_close(metadata: &Value, resolution: f64, name: &str) {
    let metadata = metadata.as_f64().unwrap_or_else(|| panic!("{name}: {metadata}"));
    assert!((metadata - resolution).abs() < 1e-6 * resolution, "{name}: {metadata}, not {resolution}");
}

#[test]
fn openslide_agrees_for_all_vendors() {
    let Some(python) = python("openslide") else { return };
    let unsupported = ["strips.tif", "preview-first.tif", "ome.ome.tif"];
    let mut cases = vendors::all();
    cases.retain(|case| !unsupported.contains(&case.name));
    let (_folder, paths) = save_cases(&cases);
    for ((case, path), metadata) in cases.iter().zip(&paths).zip(read_with(&python, "openslide", &paths)) {
        let slide = read(path).unwrap();
        let vendor = case.vendor.unwrap_or("generic-tiff");
        assert_eq!(metadata["vendor"], vendor, "{}: {metadata}", case.name);
        assert_size(&metadata, slide.width, slide.height, case.name);
        assert_close(&metadata["resolution"][0], slide.resolution, case.name);
        let levels = slide.description.images.iter().filter(|image| image.level.is_some()).count();
        // For NDPI, openslide computes additional levels.
        assert!(metadata["levels"] == levels || vendor == "hamamatsu", "{}: {metadata}", case.name);
    }
}

#[test]
fn openslide_agrees_for_ndpi_larger_than_4_gib() {
    let Some(python) = python("openslide") else { return };
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("slide.ndpi");
    vendors::hamamatsu(0x1_8000_1000).save(&path);
    let slide = inspect(&path).unwrap();
    for peer in ["openslide", "tifffile"] {
        let metadata = &read_with(&python, peer, std::slice::from_ref(&path))[0];
        assert_size(metadata, slide.width, slide.height, peer);
    }
    assert_eq!((slide.width, slide.height, slide.bytes > 1 << 32), (256, 128, true));
}

#[test]
fn tifffile_agrees_for_strips_and_ome() {
    let Some(python) = python("tifffile") else { return };
    let mut cases = vendors::all();
    cases.retain(|case| ["strips.tif", "preview-first.tif", "ome.ome.tif", "tiled-big.tif"].contains(&case.name));
    let (_folder, paths) = save_cases(&cases);
    for ((case, path), metadata) in cases.iter().zip(&paths).zip(read_with(&python, "tifffile", &paths)) {
        let slide = read(path).unwrap();
        assert_size(&metadata, slide.width, slide.height, case.name);
        if case.name == "ome.ome.tif" {
            assert_eq!(metadata["resolution"], serde_json::json!([["252.2", "nm"], ["252.2", "nm"]]), "{metadata}");
            assert_eq!(metadata["levels"], 3, "{metadata}");
        }
        let main = slide.description.images.iter().filter(|image| image.place.starts_with("directory"));
        let main: Vec<_> = main.map(|image| serde_json::json!([image.width, image.height])).collect();
        assert_eq!(metadata["pages"], Value::from(main), "{metadata}");
    }
}

#[test]
fn pydicom_agrees_for_dicom() {
    let Some(python) = python("pydicom") else { return };
    let folder = TempDir::new().unwrap();
    let files = [
        ("plain.dcm", Dicom::default().bytes()),
        ("jpeg.dcm", Dicom { syntax: JPEG, ..Dicom::default() }.bytes()),
        ("private.dcm", Dicom { private: true, ..Dicom::default() }.bytes()),
        ("implicit.dcm", Dicom { syntax: files::IMPLICIT, ..Dicom::default() }.bytes()),
        ("unknown.dcm", Dicom { unknown_groups: true, ..Dicom::default() }.bytes()),
        ("no-group-length.dcm", Dicom { group_length: |_| None, ..Dicom::default() }.bytes()),
        ("zero-group-length.dcm", Dicom { group_length: |_| Some(0), ..Dicom::default() }.bytes()),
        ("short-group-length.dcm", Dicom { group_length: |length| Some(length - 8), ..Dicom::default() }.bytes()),
        (
            "slide.zip",
            archive::zip_archive(&[("a/0.dcm", &Dicom::default().bytes()), ("a/1.dcm", &archive::level(PLAIN))]),
        ),
    ];
    let paths = files.map(|(name, content)| {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        path
    });
    for (path, metadata) in paths.iter().zip(read_with(&python, "pydicom", &paths)) {
        let (slide, name) = (read(path).unwrap(), path.display().to_string());
        assert_size(&metadata, slide.width, slide.height, &name);
        assert_close(&metadata["resolution"][0], slide.resolution, &name);
    }
}
