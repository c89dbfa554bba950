use super::corpus::vendors;
use super::*;

#[test]
fn slide_truncated_at_any_boundary_is_rejected() {
    for case in vendors::all() {
        let whole = case.tiff.bytes();
        let near_boundaries =
            case.tiff.boundaries().into_iter().flat_map(|boundary| [boundary, boundary.saturating_sub(1)]);
        let (folder, path) = write_file(case.name, &whole);
        let mut lengths: Vec<_> = near_boundaries.filter(|length| *length < whole.len() as u64).collect();
        lengths.dedup();
        assert!(lengths.len() > 20, "{}", case.name);
        for length in lengths {
            fs::write(&path, &whole[..usize::try_from(length).unwrap()]).unwrap();
            let error = inspect(&path).expect_err(&format!("{} at {length} of {}", case.name, whole.len()));
            let reports_truncation =
                error.to_string().contains("cut off") || error.to_string().contains("by its first bytes");
            assert!(error.is_invalid() && reports_truncation, "{error}");
        }
        drop(folder);
    }
}

#[test]
fn slide_truncated_in_the_pixels_of_any_image_is_rejected() {
    use corpus::tiff::{Image, Layout, Pixels, Tiff, Value};
    for layout in [Layout::Classic, Layout::Big, Layout::Ndpi] {
        let mut tiff = Tiff::new(layout);
        tiff.put_pixels_behind(4096);
        let pixels = if layout == Layout::Ndpi { Pixels::JpegStrip } else { Pixels::JpegTiles(32) };
        let image = |width, height| {
            let image = Image::new(width, height, pixels).resolution(40_000, 3);
            if layout == Layout::Ndpi {
                image.with(65420, Value::Long(vec![1])).with(65421, Value::Float(vec![20.0]))
            } else {
                image
            }
        };
        tiff.add(&image(128, 96).with_sub(image(64, 48)));
        tiff.add(&image(32, 24));
        let whole = tiff.bytes();
        inspect_bytes("slide.tif", &whole).unwrap();
        let late_boundaries: Vec<_> = tiff.boundaries().into_iter().filter(|boundary| *boundary >= 4096).collect();
        assert_eq!(late_boundaries.len(), 6);
        for length in late_boundaries.into_iter().map(|boundary| usize::try_from(boundary).unwrap() - 1) {
            let message = error_text("slide.tif", &whole[..length]);
            assert!(message.contains("cut off: the pixels of"), "{layout:?} at {length}: {message}");
        }
    }
}

#[test]
fn error_contains_the_expected_and_actual_end_of_the_pixels() {
    let tiff = vendors::generic(corpus::tiff::Layout::Classic, corpus::tiff::Pixels::Strip);
    let mut bytes = tiff.bytes();
    let byte_count = (256 * 192 * 3_u32).to_le_bytes();
    let offset = bytes.windows(4).position(|window| window == byte_count).unwrap();
    bytes[offset..offset + 4].copy_from_slice(&1_000_000_u32.to_le_bytes());
    let message = error_text("slide.tif", &bytes);
    assert!(message.contains("the pixels of directory 0 should end at byte 1000008"), "{message}");
    assert!(message.contains(&format!("ends at byte {}", bytes.len())), "{message}");
}

#[test]
fn image_with_missing_tiles_is_rejected() {
    use corpus::tiff::{Image, Layout, Pixels, Tiff, Value};
    for tag in [324, 325] {
        let image = Image::new(256, 192, Pixels::Tiles(64)).resolution(40_000, 3);
        let image =
            image.with(tag, if tag == 324 { Value::Offsets(vec![8; 11]) } else { Value::Long(vec![12_288; 11]) });
        let message = error_text("slide.tif", &Tiff::of(Layout::Classic, [image]).bytes());
        assert!(message.contains("directory 0 states 11 strips or tiles of 12"), "{message}");
    }
}

#[test]
fn tiles_with_a_byte_count_of_zero_are_accepted() {
    use corpus::tiff::{Image, Layout, Pixels, Tiff, Value};
    let image = Image::new(128, 64, Pixels::Tiles(64)).resolution(40_000, 3);
    let image = image.with(324, Value::Offsets(vec![8, 4_000_000_000])).with(325, Value::Long(vec![12_288, 0]));
    let slide = read_bytes("slide.tif", &Tiff::of(Layout::Classic, [image]).bytes()).unwrap();
    assert_eq!((slide.width, slide.height), (128, 64));
}

#[test]
fn image_with_only_empty_tiles_is_rejected() {
    use corpus::tiff::{Image, Layout, Pixels, Tiff, Value};
    let image = || Image::new(128, 64, Pixels::Tiles(64)).resolution(40_000, 3);
    for (image, reason) in [
        (image().with(325, Value::Long(vec![0, 0])), "directory 0 has no pixels"),
        (image().with(324, Value::Offsets(vec![0, 8])), "the pixels of directory 0 overlap the header"),
        (image().with(324, Value::Offsets(vec![7, 8])), "the pixels of directory 0 overlap the header"),
        (image().with(325, Value::Long(vec![12_288, 10])), "directory 0 has 10 of 12288 bytes of uncompressed pixels"),
        (
            Image::new(128, 64, Pixels::Strip).resolution(40_000, 3).with(279, Value::Long(vec![24_575])),
            "directory 0 has 24575 of 24576 bytes of uncompressed pixels",
        ),
    ] {
        let message = error_text("slide.tif", &Tiff::of(Layout::Classic, [image]).bytes());
        assert!(message.contains(reason), "{message}");
    }
    // A label without pixels is ignored.
    let label = image().described("Label").with(325, Value::Long(vec![0, 0]));
    assert!(read_bytes("slide.tif", &Tiff::of(Layout::Classic, [image(), label]).bytes()).is_ok());
}

#[test]
fn last_strip_may_be_shorter() {
    use corpus::tiff::{Image, Layout, Pixels, Tiff, Value};
    let image = |last| {
        let image = Image::new(128, 64, Pixels::Strip).resolution(40_000, 3).with(278, Value::Short(vec![48]));
        let image = image.with(273, Value::Offsets(vec![8, 8])).with(279, Value::Long(vec![18_432, last]));
        Tiff::of(Layout::Classic, [image]).bytes()
    };
    assert_eq!(read_bytes("slide.tif", &image(6_144)).unwrap().height, 64);
    assert!(error_text("slide.tif", &image(6_143)).contains("6143 of 6144"));
}

#[test]
fn subsampled_pixels_without_byte_counts_are_complete() {
    use corpus::tiff::{Image, Layout, Pixels, Tiff, Value};
    let plain = Image::new(128, 64, Pixels::Strip).resolution(40_000, 3).with(262, Value::Short(vec![6]));
    let read = |image: Image, bytes: usize| {
        let whole = Tiff::of(Layout::Classic, [image]).bytes();
        // The byte counts become an unknown tag, and the pixels are at the end of the file.
        let entry = whole.windows(4).rposition(|window| window == [0x17, 0x01, 0x04, 0x00]).unwrap();
        let (mut content, offset) = (whole.clone(), u32::try_from(whole.len()).unwrap());
        content[entry] = 0x16;
        let offsets = content.windows(4).rposition(|window| window == [0x11, 0x01, 0x04, 0x00]).unwrap();
        content[offsets + 8..offsets + 12].copy_from_slice(&offset.to_le_bytes());
        content.extend(vec![200; bytes]);
        inspect_bytes("slide.tif", &content)
    };
    for (image, bytes) in [
        (plain.clone(), 12_288),
        (plain.clone().with(530, Value::Short(vec![2, 1])), 16_384),
        (plain.with(530, Value::Short(vec![1, 1])), 24_576),
    ] {
        assert_eq!(read(image.clone(), bytes).unwrap().height, 64);
        assert!(read(image, bytes - 1).unwrap_err().to_string().contains("cut off"));
    }
}
