//! Thumbnails of slides.

use slide_metadata::thumbnail;

use super::corpus::vendors;
use super::files::Dicom;
use super::*;

#[test]
fn thumbnail_is_created_from_the_smallest_sufficient_level() {
    for (name, side, place, size) in [
        ("tiled.tif", 64, "directory 2", (64, 48)),
        ("tiled.tif", 100, "directory 1", (64, 48)),
        ("strips.tif", 128, "directory 1", (128, 96)),
        ("strips.tif", 1000, "directory 0", (256, 192)),
        ("aperio.svs", 60, "directory 1", (60, 32)),
        ("ventana.bif", 64, "directory 2", (64, 64)),
    ] {
        let case = vendors::all().into_iter().find(|case| case.name == name).unwrap();
        let (_folder, path) = write_file(name, &case.tiff.bytes());
        let preview = thumbnail(&path, side).unwrap();
        assert_eq!((preview.place.as_str(), (preview.width, preview.height)), (place, size), "{name}");
        let gray = if name == "strips.tif" || name == "aperio.svs" { 200 } else { 128 };
        assert!(preview.rgb.iter().all(|sample| *sample == gray), "{name}: {:?}", &preview.rgb[..3]);
        let mut file = Vec::new();
        preview.write_png(&mut file).unwrap();
        assert!(file.starts_with(b"\x89PNG\r\n\x1a\n"));
    }
}

#[test]
fn error_contains_the_reason_why_a_slide_cannot_be_decoded() {
    let (folder, dicom) = write_file("slide.dcm", &Dicom::default().bytes());
    let ndpi = folder.path().join("slide.ndpi");
    vendors::hamamatsu(0x1_8000_1000).save(&ndpi);
    for path in [dicom, ndpi] {
        let message = thumbnail(&path, 64).unwrap_err().to_string();
        assert!(message.contains("/slide.") && message.contains("cannot be decoded"), "{message}");
    }
}
