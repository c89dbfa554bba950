//! Zip archives of DICOM files.

use std::io::{Cursor, Write};

use slide_metadata::{Format, Role, Warning, is_dicom_archive};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::files::{ANNOTATION, Dicom, JPEG, PLAIN};
use super::*;

/// Returns an archive whose members are alternately stored and deflated.
pub(crate) fn zip_archive(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let methods = [CompressionMethod::Stored, CompressionMethod::Deflated];
    for ((name, content), method) in members.iter().zip(methods.into_iter().cycle()) {
        archive.start_file(*name, SimpleFileOptions::default().compression_method(method)).unwrap();
        archive.write_all(content).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

/// Returns a lower level of the slide that [`Dicom::default`] writes.
pub(crate) fn level(syntax: &'static str) -> Vec<u8> {
    Dicom { columns: 100, rows: 50, syntax, spacing: Some("0.001\\0.001"), ..Dicom::default() }.bytes()
}

#[test]
fn archive_of_one_slide_with_several_files_is_read() {
    let label = Dicom { flavor: "LABEL", columns: 40, rows: 40, ..Dicom::default() }.bytes();
    let drawn = Dicom { class: ANNOTATION, ..Dicom::default() }.bytes();
    let content = zip_archive(&[
        ("slide/1.dcm", &level(JPEG)),
        ("slide/0.dcm", &Dicom::default().bytes()),
        ("slide/2.dcm", &label),
        ("slide/3.dcm", &drawn),
        ("slide/4.dcm", &dicom::without_pixels(ANNOTATION)),
        ("DICOMDIR", &dicom::directory()),
        ("slide/README.txt", b"not DICOM"),
    ]);
    let slide = read_bytes("slide.zip", &content).unwrap();
    assert_eq!((slide.width, slide.height, slide.media_type), (200, 100, "application/zip"));
    assert_eq!((slide.resolution.to_bits(), slide.description.format), (0.5_f64.to_bits(), Format::DicomArchive));
    let images: Vec<_> =
        slide.description.images.iter().map(|image| (image.place.as_str(), image.role, image.level)).collect();
    let expected = [
        ("slide/1.dcm", Role::Level, Some(1)),
        ("slide/0.dcm", Role::Image, Some(0)),
        ("slide/2.dcm", Role::Label, None),
    ];
    assert_eq!(images, expected);
    assert_eq!(slide.description.warnings, [Warning::IgnoredMember("slide/README.txt".to_owned())]);
    assert!(slide.description.identifiers.iter().any(|found| found.place == "the image in 'slide/2.dcm'"));
}

#[test]
fn archives_without_exactly_one_slide_are_rejected() {
    let slide = Dicom::default().bytes();
    let other_slide = Dicom { pyramid: Some("2.25.9"), ..Dicom::default() }.bytes();
    let truncated = &slide[..slide.len() - 1];
    let nested = zip_archive(&[("a.dcm", &slide)]);
    for (content, reason) in [
        (zip_archive(&[]), "no DICOM whole-slide image"),
        (zip_archive(&[("a.txt", b"text")]), "no DICOM whole-slide image"),
        (zip_archive(&[("a.dcm", &slide), ("b.dcm", &other_slide)]), "it contains 2 slides"),
        (zip_archive(&[("a.zip", &nested)]), "member 'a.zip' is an archive itself"),
        (zip_archive(&[("a.dcm", truncated)]), "member 'a.dcm': cut off"),
        (
            zip_archive(&[("a.dcm", &Dicom { parts: Some(2), ..Dicom::default() }.bytes())]),
            "member 'a.dcm': a part of a DICOM concatenation",
        ),
    ] {
        let message = error_text("slide.zip", &content);
        assert!(message.contains(reason), "{message}");
    }
}

#[test]
fn truncated_or_corrupt_archive_is_rejected() {
    let whole = zip_archive(&[
        ("0.dcm", &level(PLAIN)),
        ("1.dcm", &Dicom { columns: 20, rows: 10, ..Dicom::default() }.bytes()),
    ]);
    for length in (4..whole.len()).step_by(101).chain([whole.len() - 1]) {
        assert!(read_bytes("slide.zip", &whole[..length]).is_err(), "{length} of {}", whole.len());
    }
    // The first member is stored uncompressed, so only its checksum reveals the changed pixel.
    let mut changed = whole.clone();
    changed[3000] ^= 1;
    assert!(error_text("slide.zip", &changed).contains("member '0.dcm'"));
}

#[test]
fn archive_with_too_many_members_is_rejected() {
    let names: Vec<_> = (0..10_001).map(|number| number.to_string()).collect();
    let members: Vec<_> = names.iter().map(|name| (name.as_str(), &b""[..])).collect();
    let message = error_text("slide.zip", &zip_archive(&members));
    assert!(message.contains("it has 10001 members; the limit is 10000"), "{message}");
}

#[test]
fn is_dicom_archive_is_true_only_for_archives_with_dicom() {
    let is_dicom = |content: &[u8]| {
        let (_folder, path) = write_file("slide.zip", content);
        is_dicom_archive(&path)
    };
    assert!(is_dicom(&zip_archive(&[("a.txt", b"text"), ("b", &Dicom::default().bytes())])).unwrap());
    assert!(!is_dicom(&zip_archive(&[("a.txt", b"text"), ("b.txt", &[0; 200])])).unwrap());
    assert!(!is_dicom(b"text").unwrap());
    assert!(is_dicom(b"PK\x03\x04 and nothing more").is_err());
}

#[test]
fn zip_bomb_is_rejected() {
    let message = error_text("slide.zip", &zip_archive(&[("0.dcm", &[]), ("1.dcm", &vec![0; 64 * 1024 * 1024])]));
    assert!(message.contains("its unpacked members total more than"), "{message}");
}

#[test]
fn archive_with_too_large_directory_is_rejected() {
    let name = "n".repeat(60_000);
    let names: Vec<_> = (0..300).map(|number| format!("{name}{number}")).collect();
    let members: Vec<_> = names.iter().map(|name| (name.as_str(), &b""[..])).collect();
    let message = error_text("slide.zip", &zip_archive(&members));
    assert!(message.contains("its central directory is larger than"), "{message}");
}
