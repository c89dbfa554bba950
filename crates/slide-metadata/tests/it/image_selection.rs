//! The choice of the slide's image, and the plausibility of its resolution.

use slide_metadata::{Plausibility, ReadOptions, Role, Warning, read_with};

use super::corpus::tiff::{Image, Layout, Pixels, Tiff, Value};
use super::corpus::vendors;
use super::*;

const TILES: Pixels = Pixels::Tiles(32);

fn image(width: u32, height: u32) -> Image {
    Image::new(width, height, TILES).resolution(40_000, 3)
}

fn size(images: impl IntoIterator<Item = Image>) -> (u32, u32) {
    let slide = read_bytes("slide.tif", &Tiff::of(Layout::Classic, images).bytes()).unwrap();
    (slide.width, slide.height)
}

#[test]
fn largest_image_of_the_slide_itself_is_chosen() {
    assert_eq!(size([image(64, 48), image(128, 96)]), (128, 96));
    assert_eq!(size([image(256, 192).described("Label"), image(128, 96)]), (128, 96));
    assert_eq!(size([image(256, 192).described("Macro"), image(128, 96)]), (128, 96));
    assert_eq!(size([image(256, 192).with(254, Value::Long(vec![4])), image(128, 96)]), (128, 96));
    assert_eq!(size([image(64, 48).with_sub(image(32, 32))]), (64, 48));
    // The old tag `SubfileType` has the value 2 for a reduced image.
    assert_eq!(size([image(64, 48).with(255, Value::Short(vec![2])), image(128, 96)]), (128, 96));
}

#[test]
fn planes_of_equal_size_are_not_larger() {
    let tiff = Tiff::of(Layout::Classic, [image(128, 96), image(128, 96), image(128, 96), image(64, 48).reduced()]);
    let slide = inspect_bytes("slide.tif", &tiff.bytes()).unwrap();
    let roles: Vec<_> = slide.images.iter().map(|image| image.role).collect();
    assert_eq!(roles, [Role::Image, Role::Plane, Role::Plane, Role::Level]);
}

#[test]
fn image_larger_than_the_one_in_vendor_metadata_is_an_error() {
    for (images, larger) in [
        (
            vec![image(128, 96).described("Aperio\n128x96|MPP = 0.25"), image(256, 96)],
            "directory 1 is larger (256 × 96)",
        ),
        (vec![image(128, 96), image(256, 192).reduced()], "directory 1 is larger (256 × 192)"),
        (vec![image(128, 96).with_sub(image(256, 192))], "SubIFD 0 of directory 0 is larger"),
    ] {
        let message = error_text("slide.tif", &Tiff::of(Layout::Classic, images).bytes());
        assert!(message.contains("directory 0") && message.contains(larger), "{message}");
    }
    let message = error_text("slide.tif", &Tiff::of(Layout::Classic, [image(64, 48).reduced()]).bytes());
    assert!(message.contains("all its directories are labels"), "{message}");
}

#[test]
fn larger_image_with_another_aspect_ratio_than_the_first_is_an_error() {
    for images in [[image(256, 64), image(160, 160)], [image(64, 256), image(200, 200)]] {
        let message = error_text("slide.tif", &Tiff::of(Layout::Classic, images).bytes());
        assert!(message.contains("directory 1") && message.contains("another aspect ratio"), "{message}");
    }
    // The sides of a preview with the same aspect ratio are rounded.
    assert_eq!(size([image(33, 25), image(256, 192)]), (256, 192));
    assert_eq!(size([image(160, 160).described("Macro"), image(256, 64)]), (256, 64));
}

#[test]
fn images_of_one_size_with_different_resolutions_are_an_error() {
    let tiff = |per_unit, unit| {
        let second = Image::new(128, 96, TILES).resolution(per_unit, unit);
        Tiff::of(Layout::Classic, [image(128, 96), second, image(64, 48).reduced().resolution(20_000, 3)]).bytes()
    };
    let message = error_text("slide.tif", &tiff(20_000, 3));
    assert!(message.contains("directory 0 and directory 1 have the same size, but state 0.25 and 0.5 µm"), "{message}");
    // Many programs write 72 dpi by default.
    for (per_unit, unit) in [(40_100, 3), (72, 2), (4, 1)] {
        assert_eq!(read_bytes("slide.tif", &tiff(per_unit, unit)).unwrap().resolution.to_bits(), 0.25_f64.to_bits());
    }
}

#[test]
fn size_that_contradicts_the_metadata_is_an_error() {
    let ome = r#"<OME><Image><Pixels SizeX="256" SizeY="192" PhysicalSizeX="0.25" PhysicalSizeY="0.25"><TiffData IFD="0"/></Pixels></Image></OME>"#;
    let message = error_text("slide.tif", &Tiff::of(Layout::Classic, [image(128, 96).described(ome)]).bytes());
    assert!(message.contains("directory 0 is 128 × 96, but OME-XML states 256 × 192"), "{message}");
}

#[test]
fn implausible_resolution_must_be_specified_by_the_caller() {
    let plain = Image::new(128, 96, TILES);
    let sides =
        |x, y| plain.clone().resolution(1, 3).with(282, Value::Rational(vec![x])).with(283, Value::Rational(vec![y]));
    for (image, looked_for, found) in [
        (plain.clone(), "XResolution, YResolution and ResolutionUnit in directory 0", "nothing"),
        (plain.clone().resolution(72, 2), "the resolution tags", "352.7"),
        (plain.clone().resolution(1, 3), "the resolution tags", "10000 µm per pixel, which is outside 0.05 to 20"),
        (plain.clone().resolution(40_000, 1), "ResolutionUnit", "a resolution without unit"),
        (plain.clone().resolution(40_000, 9), "ResolutionUnit", "the unit '9'"),
        (
            plain.clone().resolution(40_000, 3).with(296, Value::SignedLong(3)),
            "ResolutionUnit",
            "a unit of the wrong type",
        ),
        (sides((0, 1), (1, 1)), "XResolution", "0 × 1"),
        (sides((1, 0), (0, 0)), "XResolution", "inf × NaN"),
        (sides((40_000, 1), (20_000, 1)), "the resolution tags", "0.25 × 0.5 µm per pixel, which is not square"),
    ] {
        let (_folder, path) = write_file("slide.tif", &Tiff::of(Layout::Classic, [image]).bytes());
        let error = read(&path).unwrap_err();
        let message = error.to_string();
        assert!(error.is_resolution() && error.is_invalid() && message.contains("--resolution-mpp"), "{message}");
        assert!(message.contains(looked_for) && message.contains(found), "{message}");
        let specified = read_with(&path, &ReadOptions::default().with_resolution(0.5)).unwrap();
        assert_eq!(specified.resolution.to_bits(), 0.5_f64.to_bits());
        assert_eq!(specified.description.warnings.len(), 1, "{:?}", specified.description.warnings);
        let error = read_with(&path, &ReadOptions::default().with_resolution(72.0)).unwrap_err();
        assert!(error.is_resolution() && error.to_string().contains("found 72"), "{error}");
    }
}

#[test]
fn specified_resolution_does_not_replace_a_plausible_one() {
    let (_folder, path) = write_file("slide.tif", &vendors::preview_first().bytes());
    let slide = read_with(&path, &ReadOptions::default().with_resolution(0.5)).unwrap();
    assert_eq!(slide.resolution.to_bits(), 0.25_f64.to_bits());
}

#[test]
fn implausible_resolutions_are_warnings_of_inspect() {
    let image = Image::new(128, 96, TILES).resolution(72, 2);
    let slide = inspect_bytes("slide.tif", &Tiff::of(Layout::Classic, [image]).bytes()).unwrap();
    let resolution = slide.resolution.unwrap();
    assert_eq!(resolution.plausibility(), Plausibility::OutOfRange);
    assert_eq!(slide.warnings, [Warning::ResolutionImplausible(resolution)]);
    let message = slide.warnings[0].to_string();
    assert!(message.contains("352.7") && message.contains("0.05 to 20 µm per pixel"), "{message}");
}

#[test]
fn label_that_cannot_be_read_is_a_warning() {
    let label = image(40, 48).described("Label").with(324, Value::Text(b"nowhere\0".to_vec()));
    let slide = inspect_bytes("slide.tif", &Tiff::of(Layout::Classic, [image(128, 96), label]).bytes()).unwrap();
    let [Warning::UnreadableImage { place, role: Role::Label, .. }] = slide.warnings.as_slice() else {
        panic!("{:?}", slide.warnings)
    };
    assert_eq!(place, "directory 1");
    let level = image(40, 48).with(324, Value::Text(b"nowhere\0".to_vec()));
    let message = error_text("slide.tif", &Tiff::of(Layout::Classic, [image(128, 96), level]).bytes());
    assert!(message.contains("tag 324 is not a number"), "{message}");
}
