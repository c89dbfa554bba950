use crc::{CRC_32_ISCSI, Crc};
use slide_metadata::{Role, Warning};

use super::files::{ANNOTATION, Dicom, IMPLICIT, JPEG, PLAIN};
use super::*;

#[test]
fn size_resolution_and_checksum_come_from_the_file() {
    for syntax in [PLAIN, IMPLICIT, JPEG] {
        // The pixels are slightly higher than wide. The resolution is the column spacing.
        let content = Dicom { syntax, spacing: Some("0.0002503\\0.00025 "), ..Dicom::default() }.bytes();
        let (_folder, path) = write_file("slide.dcm", &content);
        let slide = read(&path).unwrap();
        assert_eq!((slide.width, slide.height, slide.resolution.to_bits()), (200, 100, 0.25_f64.to_bits()), "{syntax}");
        assert_eq!((slide.media_type, slide.bytes), ("application/dicom", content.len() as u64));
        // Computed by another library.
        assert_eq!(slide.crc32c, Crc::<u32>::new(&CRC_32_ISCSI).checksum(&content));
    }
}

#[test]
fn file_that_is_dicom_and_tiff_is_read_as_dicom() {
    let mut content = Dicom::default().bytes();
    content[..4].copy_from_slice(b"II*\0");
    let (_folder, path) = write_file("slide.dcm", &content);
    assert_eq!(read(&path).unwrap().width, 200);
}

#[test]
fn file_that_is_not_a_slide_is_rejected_with_the_reason() {
    for (file, reason) in [
        (Dicom { flavor: "LABEL", ..Dicom::default() }, "the label of a slide"),
        (Dicom { class: ANNOTATION, ..Dicom::default() }, "its SOP class is 1.2.840.10008.5.1.4.1.1.91.1"),
        (Dicom { parts: Some(2), ..Dicom::default() }, "a part of a DICOM concatenation"),
        (
            Dicom { spacing: None, ..Dicom::default() },
            "looked for Pixel Spacing in the functional groups, found nothing",
        ),
        (Dicom { spacing: Some("0.0005"), ..Dicom::default() }, "found '0.0005'"),
        (Dicom { spacing: Some("0.0005\\0.0010"), ..Dicom::default() }, "not square"),
        (Dicom { spacing: Some("0\\0"), ..Dicom::default() }, "found '0\\\\0'"),
        (Dicom { spacing: Some("wide\\high"), ..Dicom::default() }, "found 'wide\\\\high'"),
        (Dicom { columns: 0, ..Dicom::default() }, "cannot be read"),
        (Dicom { syntax: "1.2.840.10008.1.2.1.99", ..Dicom::default() }, "transfer syntax is 1.2.840.10008.1.2.1.99"),
        (Dicom { frames: "2", ..Dicom::default() }, "its 2 frames need 120000 bytes, and its pixels have 60000"),
        (Dicom { frames: "2", syntax: JPEG, ..Dicom::default() }, "it has 1 fragments of 2 frames"),
        (Dicom { tiled_full: Some(3), ..Dicom::default() }, "it has 1 frames for 3 tiles"),
        (Dicom { tiled_full: Some(3), organized: false, ..Dicom::default() }, "it has 1 frames for 3 tiles"),
        (Dicom { tiled_full: Some(1), paths: Some(2), ..Dicom::default() }, "it has 1 frames for 2 tiles"),
        (Dicom { syntax: JPEG, offsets: &[0, 60_100], ..Dicom::default() }, "a frame begins at byte 60100 of"),
        (Dicom { frames: "many", ..Dicom::default() }, "its number of frames is not a number"),
    ] {
        let message = error_text("slide.dcm", &file.bytes());
        assert!(message.contains(reason), "{message}");
    }
}

#[test]
fn dicom_file_truncated_anywhere_is_rejected() {
    for syntax in [PLAIN, JPEG] {
        let whole = Dicom { syntax, columns: 20, rows: 10, ..Dicom::default() }.bytes();
        for length in 132..whole.len() {
            let message = error_text("slide.dcm", &whole[..length]);
            assert!(message.contains("cut off"), "{length} of {} bytes: {message}", whole.len());
        }
        let message = error_text("slide.dcm", &whole[..whole.len() - if syntax == PLAIN { 1 } else { 9 }]);
        assert!(message.contains("its pixels should end at byte") || syntax == JPEG, "{message}");
    }
}

#[test]
fn delimiter_outside_of_a_sequence_is_rejected() {
    let whole = Dicom::default().bytes();
    let shared = [0x00, 0x52, 0x29, 0x92];
    let offset = whole.windows(4).position(|window| window == shared).unwrap();
    // A sequence of undefined length, in which an item ends before it starts.
    let delimiters = [&[0xff; 4][..], &[0xfe, 0xff, 0x0d, 0xe0, 0, 0, 0, 0], &[0xfe, 0xff, 0x00, 0xe0, 0, 0, 0, 0]];
    let message =
        error_text("slide.dcm", &[&whole[..offset + 8], &delimiters.concat(), &whole[offset + 12..]].concat());
    assert!(message.contains("damaged"), "{message}");
}

#[test]
fn too_deeply_nested_sequences_are_rejected() {
    let whole = Dicom::default().bytes();
    let offset = whole.windows(4).position(|window| window == [0x00, 0x52, 0x29, 0x92]).unwrap();
    let start = [&whole[offset..offset + 8], &[0xff; 4], &[0xfe, 0xff, 0x00, 0xe0], &[0xff; 4]].concat();
    let message = error_text("slide.dcm", &[&whole[..offset], &start.repeat(1000)].concat());
    assert!(message.contains("nested too deeply"), "{message}");
}

#[test]
fn data_after_the_pixels_is_ignored() {
    for syntax in [PLAIN, JPEG] {
        for padding in [1, 5, 512] {
            let content = [Dicom { syntax, ..Dicom::default() }.bytes(), vec![0; padding]].concat();
            let (_folder, path) = write_file("slide.dcm", &content);
            assert_eq!(read(&path).unwrap().bytes, content.len() as u64, "{padding} bytes behind {syntax}");
        }
    }
}

#[test]
fn private_sequence_of_undefined_length_is_skipped() {
    for syntax in [PLAIN, IMPLICIT, JPEG] {
        let slide = read_bytes("slide.dcm", &Dicom { syntax, private: true, ..Dicom::default() }.bytes()).unwrap();
        assert_eq!((slide.width, slide.height, slide.resolution.to_bits()), (200, 100, 0.5_f64.to_bits()), "{syntax}");
    }
}

#[test]
fn wrong_group_length_of_the_meta_information_is_ignored() {
    for group_length in
        [|_| None, |_| Some(0), |length| Some(length - 8), |length| Some(length + 8), |_| Some(u32::MAX)]
    {
        let group_length: fn(u32) -> Option<u32> = group_length;
        let slide = read_bytes("slide.dcm", &Dicom { group_length, ..Dicom::default() }.bytes()).unwrap();
        assert_eq!((slide.width, slide.height), (200, 100));
    }
}

#[test]
fn offsets_of_frames_within_the_pixels_are_accepted() {
    let slide = Dicom { syntax: JPEG, offsets: &[0, 60_000], tiled_full: Some(1), ..Dicom::default() };
    assert_eq!(read_bytes("slide.dcm", &slide.bytes()).unwrap().width, 200);
}

#[test]
fn label_is_described_with_a_warning() {
    let label = inspect_bytes("label.dcm", &Dicom { flavor: "LABEL", ..Dicom::default() }.bytes()).unwrap();
    assert_eq!(label.warnings, [Warning::NotTheImage(Role::Label)]);
    assert_eq!((label.images[0].role, label.images[0].tile), (Role::Label, Some((200, 100))));
}

#[test]
fn dicom_files_are_divided_into_slides_and_others() {
    let folder = TempDir::new().unwrap();
    let level = |columns, rows| Dicom { columns, rows, ..Dicom::default() };
    let by_series = |series, columns| Dicom { pyramid: None, series, columns, ..Dicom::default() };
    let write = |(name, content): (&str, Vec<u8>)| {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        path
    };
    let paths = [
        ("a-low.dcm", level(50, 25).bytes()),
        ("a-lower.dcm", level(100, 50).bytes()),
        ("b-high.dcm", level(200, 100).bytes()),
        ("c-middle.dcm", level(100, 50).bytes()),
        ("d-series.dcm", by_series("2.25.20", 100).bytes()),
        ("e-series.dcm", by_series("2.25.20", 200).bytes()),
        ("f-alone.dcm", by_series("2.25.21", 10).bytes()),
        ("f-nobody.dcm", by_series("", 10).bytes()),
        ("f-nothing.dcm", by_series("", 20).bytes()),
        ("g-label.dcm", Dicom { flavor: "LABEL", ..Dicom::default() }.bytes()),
        ("h-drawn.dcm", Dicom { class: ANNOTATION, ..Dicom::default() }.bytes()),
        ("i-bad.dcm", b"nothing".to_vec()),
        ("j-drawn.dcm", without_pixels(ANNOTATION)),
    ]
    .map(write);
    let files = DicomFiles::group(paths);
    let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    let slides: Vec<_> = files.slides.iter().map(name).collect();
    assert_eq!(slides, ["b-high.dcm", "e-series.dcm", "f-alone.dcm", "f-nobody.dcm", "f-nothing.dcm", "i-bad.dcm"]);
    let lower =
        |high: &str| format!("of the same slide as {}, at no higher resolution", folder.path().join(high).display());
    let others: Vec<_> = files.others.iter().map(|(path, reason)| (name(path), reason.clone())).collect();
    let expected = [
        ("g-label.dcm", "the label of a slide".to_owned()),
        ("h-drawn.dcm", format!("not a whole-slide image: its SOP class is {ANNOTATION}")),
        ("j-drawn.dcm", format!("not a whole-slide image: its SOP class is {ANNOTATION}")),
        ("a-low.dcm", lower("b-high.dcm")),
        ("a-lower.dcm", lower("b-high.dcm")),
        ("c-middle.dcm", lower("b-high.dcm")),
        ("d-series.dcm", lower("e-series.dcm")),
    ];
    assert_eq!(others, expected.map(|(name, reason)| (name.to_owned(), reason)));
}

#[test]
fn dicom_file_is_read_once_with_its_checksum() {
    // Data after the pixels are part of the checksum.
    let content = [Dicom::default().bytes(), vec![0xFC, 0xFF, 0xFC, 0xFF, b'O', b'B', 0, 0, 2, 0, 0, 0, 0, 0]].concat();
    let (_folder, path) = write_file("slide.dcm", &content);
    let slide = read(&path).unwrap();
    assert_eq!((slide.crc32c, slide.bytes), (slide_metadata::checksum(&path).unwrap(), content.len() as u64));
    assert_eq!(slide.description, inspect(&path).unwrap());
}

/// Returns a document of this SOP class without pixels.
pub(crate) fn without_pixels(class: &'static str) -> Vec<u8> {
    let mut content = Dicom { class, ..Dicom::default() }.bytes();
    content.truncate(content.windows(4).rposition(|window| window == [0xe0, 0x7f, 0x10, 0x00]).unwrap());
    content
}

/// Returns a DICOMDIR file, whose data set has no SOP class.
pub(crate) fn directory() -> Vec<u8> {
    let class = "1.2.840.10008.1.3.10";
    let content = without_pixels(class);
    let offset = content.windows(4).position(|window| window == [0x08, 0x00, 0x16, 0x00]).unwrap();
    [&content[..offset], &content[offset + 8 + class.len()..]].concat()
}

#[test]
fn error_names_the_class_of_a_document_without_pixels() {
    for (content, reason) in [
        (without_pixels(ANNOTATION), "not a whole-slide image: its SOP class is 1.2.840.10008.5.1.4.1.1.91.1"),
        (directory(), "not a whole-slide image: its SOP class is 1.2.840.10008.1.3.10"),
        (without_pixels(files::SLIDE), "cut off or damaged"),
    ] {
        let message = error_text("slide.dcm", &content);
        assert!(message.contains(reason), "{message}");
    }
}

#[test]
fn spacing_of_all_frames_is_used_if_it_is_the_same() {
    let file = |spacing, frame_spacings, frames| {
        let file = Dicom { spacing, frame_spacings, frames, rows: 20, columns: 20, ..Dicom::default() };
        let mut content = file.bytes();
        // The pixels of the second frame.
        let offset = content.windows(4).rposition(|window| window == [0xe0, 0x7f, 0x10, 0x00]).unwrap();
        content[offset + 8..offset + 12].copy_from_slice(&2400_u32.to_le_bytes());
        content.extend([200; 1200]);
        read_bytes("slide.dcm", &content)
    };
    let slide = file(None, &["0.00025\\0.00025", "0.00025\\0.00025"], "2").unwrap();
    assert_eq!(slide.resolution.to_bits(), 0.25_f64.to_bits());
    let slide = file(Some("0.00025\\0.00025"), &["0.000250\\0.000250"], "1").unwrap();
    assert_eq!(slide.resolution.to_bits(), 0.25_f64.to_bits());
    for (spacing, frame_spacings, found) in [
        (None, &["0.00025\\0.00025", "0.0005\\0.0005"][..], "different values in its frames"),
        (None, &["0.00025\\0.00025"], "values in 1 of 2 frames"),
        (Some("0.00025\\0.00025"), &["0.0005\\0.0005", "0.0005\\0.0005"], "another value in its frames"),
    ] {
        let error = file(spacing, frame_spacings, "2").unwrap_err();
        assert!(error.is_resolution() && error.to_string().contains(found), "{error}");
    }
}

#[test]
fn functional_groups_with_unknown_vr_are_read() {
    let file = Dicom { unknown_groups: true, ..Dicom::default() };
    assert_eq!(read_bytes("slide.dcm", &file.bytes()).unwrap().resolution.to_bits(), 0.5_f64.to_bits());
}

#[test]
fn concatenation_of_one_part_is_complete() {
    assert_eq!(read_bytes("slide.dcm", &Dicom { parts: Some(1), ..Dicom::default() }.bytes()).unwrap().width, 200);
}
