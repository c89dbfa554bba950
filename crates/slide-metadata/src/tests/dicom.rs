use super::*;

#[path = "../../../../tests/support/dicom.rs"]
mod files;

use files::{ANNOTATION, Dicom, JPEG, PLAIN};

fn written(content: &[u8]) -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("slide.dcm");
    fs::write(&path, content).unwrap();
    (folder, path)
}

fn refusal(content: &[u8]) -> String {
    let (_folder, path) = written(content);
    let error = read(&path).unwrap_err();
    assert!(error.is_invalid() && error.to_string().contains("slide.dcm"), "{error}");
    error.to_string()
}

#[test]
fn size_resolution_and_checksum_come_from_the_file() {
    for syntax in [PLAIN, JPEG] {
        // The pixels are a little higher than wide: the resolution is that between columns.
        let content = Dicom { syntax, spacing: Some("0.0002503\\0.00025 "), ..Dicom::default() }.bytes();
        let (_folder, path) = written(&content);
        assert_eq!(read(&path).unwrap(), expected(200, 100, 0.25, "application/dicom", &content), "{syntax}");
    }
}

#[test]
fn what_is_dicom_and_tiff_at_once_is_read_as_dicom() {
    let mut content = Dicom::default().bytes();
    content[..4].copy_from_slice(b"II*\0");
    let (_folder, path) = written(&content);
    assert_eq!(read(&path).unwrap().width, 200);
}

#[test]
fn a_file_that_is_no_slide_says_what_it_is() {
    for (file, reason) in [
        (Dicom { flavor: "LABEL", ..Dicom::default() }, "the label of a slide"),
        (Dicom { class: ANNOTATION, ..Dicom::default() }, "of SOP class 1.2.840.10008.5.1.4.1.1.91.1"),
        (Dicom { concatenated: true, ..Dicom::default() }, "one of several parts"),
        (Dicom { spacing: None, ..Dicom::default() }, "no pixel spacing"),
        (Dicom { spacing: Some("0.0005"), ..Dicom::default() }, "another number of values"),
        (Dicom { spacing: Some("0.0005\\0.0010"), ..Dicom::default() }, "not square"),
        (Dicom { spacing: Some("0\\0"), ..Dicom::default() }, "no length"),
        (Dicom { spacing: Some("wide\\high"), ..Dicom::default() }, "cannot be read"),
        (Dicom { columns: 0, ..Dicom::default() }, "cannot be read"),
        (Dicom { syntax: "1.2.840.10008.1.2.1.99", ..Dicom::default() }, "transfer syntax is 1.2.840.10008.1.2.1.99"),
    ] {
        let shown = refusal(&file.bytes());
        assert!(shown.contains(reason), "{shown}");
    }
}

#[test]
fn a_slide_that_is_cut_off_anywhere_is_refused() {
    for syntax in [PLAIN, JPEG] {
        let whole = Dicom { syntax, columns: 20, rows: 10, ..Dicom::default() }.bytes();
        for length in 132..whole.len() {
            let shown = refusal(&whole[..length]);
            assert!(shown.contains("cut off"), "{length} of {} bytes: {shown}", whole.len());
        }
        let shown = refusal(&whole[..whole.len() - if syntax == PLAIN { 1 } else { 9 }]);
        assert!(shown.contains("reach to byte") || syntax == JPEG, "{shown}");
    }
}

#[test]
fn delimiters_that_delimit_nothing_are_refused() {
    let whole = Dicom::default().bytes();
    let shared = [0x00, 0x52, 0x29, 0x92];
    let place = whole.windows(4).position(|window| window == shared).unwrap();
    // A sequence of no stated length, in which an item ends that never began, and then one begins.
    let delimiters = [&[0xff; 4][..], &[0xfe, 0xff, 0x0d, 0xe0, 0, 0, 0, 0], &[0xfe, 0xff, 0x00, 0xe0, 0, 0, 0, 0]];
    let shown = refusal(&[&whole[..place + 8], &delimiters.concat(), &whole[place + 12..]].concat());
    assert!(shown.contains("damaged"), "{shown}");
}

#[test]
fn sequences_that_lie_too_deep_in_each_other_are_refused() {
    let whole = Dicom::default().bytes();
    let place = whole.windows(4).position(|window| window == [0x00, 0x52, 0x29, 0x92]).unwrap();
    let start = [&whole[place..place + 8], &[0xff; 4], &[0xfe, 0xff, 0x00, 0xe0], &[0xff; 4]].concat();
    let (_folder, path) = written(&[&whole[..place], &start.repeat(1000)].concat());
    let error = read(&path).unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("too deep"), "{cause}");
}

#[test]
fn what_comes_behind_the_pixels_is_of_no_interest() {
    for syntax in [PLAIN, JPEG] {
        for padding in [1, 5, 512] {
            let content = [Dicom { syntax, ..Dicom::default() }.bytes(), vec![0; padding]].concat();
            let (_folder, path) = written(&content);
            assert_eq!(read(&path).unwrap().bytes, content.len() as u64, "{padding} bytes behind {syntax}");
        }
    }
}

#[test]
fn no_damage_is_more_than_an_error() {
    let mut random = 1_u64;
    let mut next = |end: usize| {
        // Steps of a linear congruential generator: the same ones in every run.
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(random >> 33).unwrap() % end
    };
    let (_folder, path) = written(&[]);
    let files = [PLAIN, JPEG].map(|syntax| Dicom { syntax, columns: 4, rows: 4, ..Dicom::default() }.bytes());
    let mut refused = 0;
    for round in 0..5_000 {
        let mut content = files[round % 2].clone();
        for _ in 0..=next(3) {
            // Delimiters in strange places are what parsers trip over.
            let place = 132 + next(content.len() - 140);
            match next(4) {
                0 => content[place] = u8::try_from(next(256)).unwrap(),
                1 => content[place..place + 4].copy_from_slice(&[0xfe, 0xff, 0x0d, 0xe0]),
                2 => content[place..place + 8].copy_from_slice(&[0xfe, 0xff, 0xdd, 0xe0, 0, 0, 0, 0]),
                _ => content[place..place + 4].copy_from_slice(&[0xff; 4]),
            }
        }
        fs::write(&path, &content).unwrap();
        refused += usize::from(read(&path).is_err());
        let _ = DicomFiles::among([path.clone()]);
    }
    assert!(refused > 2_500, "{refused}");
}

#[test]
fn one_file_of_each_slide_is_read_and_the_others_are_named() {
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
    ]
    .map(write);
    let files = DicomFiles::among(paths);
    let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    let slides: Vec<_> = files.slides.iter().map(name).collect();
    assert_eq!(slides, ["b-high.dcm", "e-series.dcm", "f-alone.dcm", "f-nobody.dcm", "f-nothing.dcm", "i-bad.dcm"]);
    let lower =
        |high: &str| format!("of the same slide as {}, at no higher resolution", folder.path().join(high).display());
    let others: Vec<_> = files.others.iter().map(|(path, reason)| (name(path), reason.clone())).collect();
    let expected = [
        ("g-label.dcm", "the label of a slide".to_owned()),
        ("h-drawn.dcm", format!("no whole-slide image, but of SOP class {ANNOTATION}")),
        ("a-low.dcm", lower("b-high.dcm")),
        ("a-lower.dcm", lower("b-high.dcm")),
        ("c-middle.dcm", lower("b-high.dcm")),
        ("d-series.dcm", lower("e-series.dcm")),
    ];
    assert_eq!(others, expected.map(|(name, reason)| (name.to_owned(), reason)));
}
