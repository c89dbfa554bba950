//! The size of the scanned areas of Ventana slides.

use super::corpus::vendors::{Area, ventana_areas};
use super::*;

fn area(origin: (u32, u32), position: (&'static str, &'static str)) -> Area {
    Area { origin, position, overlap: ("8", "4") }
}

/// Replaces a text by another text of the same length.
fn replaced(content: &[u8], from: &str, to: &str) -> Vec<u8> {
    let start = content.windows(from.len()).position(|window| window == from.as_bytes()).unwrap();
    [&content[..start], to.as_bytes(), &content[start + from.len()..]].concat()
}

#[test]
fn size_is_computed_from_the_positions_of_the_areas() {
    // The expected sizes were computed by openslide 4.0.1.
    for (areas, size) in [
        (vec![area((0, 0), ("0", "0"))], (120, 124)),
        (vec![area((128, 0), ("128", "0"))], (248, 124)),
        (vec![area((0, 128), ("0", "128"))], (120, 124)),
        (vec![area((0, 0), ("0", "0")), area((0, 128), ("0", "128"))], (120, 252)),
        (vec![area((0, 0), ("0", "0")), area((128, 0), ("30.7", "7.9"))], (150, 131)),
    ] {
        let directory = areas.iter().map(|area| area.origin).fold((0, 0), |a, b| (a.0.max(b.0), a.1.max(b.1)));
        let tiff = ventana_areas("0.25", (directory.0 + 128, directory.1 + 128), &areas);
        let slide = read_bytes("slide.bif", &tiff.bytes()).unwrap();
        assert_eq!((slide.width, slide.height), size);
    }
}

#[test]
fn overlaps_may_have_decimals() {
    for (horizontal_overlap, size) in [("8.0", (120, 124)), ("8.5", (120, 124)), ("9.0", (119, 124))] {
        let area = Area { origin: (0, 0), position: ("0", "0"), overlap: (horizontal_overlap, "4.0") };
        let slide = read_bytes("slide.bif", &ventana_areas("0.25", (128, 128), &[area]).bytes()).unwrap();
        assert_eq!((slide.width, slide.height), size, "{horizontal_overlap}");
    }
}

#[test]
fn areas_with_invalid_positions_are_rejected() {
    let bytes = |area| ventana_areas("0.25", (256, 256), &[area]).bytes();
    let valid = bytes(area((64, 0), ("0", "0")));
    for (content, looked_for, found) in [
        (bytes(area((32, 0), ("0", "0"))), "OriginX of AOI0", "32, which is not a multiple of 64"),
        (bytes(area((0, 32), ("0", "0"))), "OriginY of AOI0", "32, which is not a multiple of 64"),
        (
            bytes(area((192, 0), ("0", "0"))),
            "NumCols of ImageInfo",
            "2 tiles from pixel 192 on, but the directory has 4",
        ),
        (
            bytes(area((0, 256), ("0", "0"))),
            "NumRows of ImageInfo",
            "2 tiles from pixel 256 on, but the directory has 4",
        ),
        (bytes(area((0, 0), ("left", "0"))), "Pos-X of ImageInfo", "'left'"),
        (bytes(area((0, 0), ("0", "-1"))), "Pos-Y of ImageInfo", "'-1'"),
        (replaced(&valid, "\"RIGHT\"", "\"WRONG\""), "Direction of TileJointInfo", "'WRONG'"),
        (replaced(&valid, "Pos-X", "Pas-X"), "Pos-X of ImageInfo", "nothing"),
        (replaced(&valid, "Confidence=\"100\"", "Confidence=\"-10\""), "Confidence of TileJointInfo", "'-10'"),
    ] {
        let message = error_text("slide.bif", &content);
        assert!(message.contains(looked_for) && message.contains(&format!("found {found}")), "{message}");
    }
    let message = error_text("slide.bif", &replaced(&valid, "ScanRes=\"0.25\"", "ScanRes=\"0.50\""));
    assert!(message.contains("states the ScanRes 0.5, and that of ") && message.contains("states 0.25"), "{message}");
}
