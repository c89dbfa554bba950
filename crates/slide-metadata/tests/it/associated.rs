//! Labels, macro images and thumbnails by their names.

use slide_metadata::Role;

use super::corpus::tiff::{Image, Layout, Pixels, Tiff};
use super::*;

const NAMES: [(&str, Role); 9] = [
    ("Label", Role::Label),
    ("label image", Role::Label),
    ("Label_Image", Role::Label),
    ("MACRO", Role::Macro),
    ("macro 40x48", Role::Macro),
    ("Macro -offset=(0,0)-pixelsize=(0.0315,0.0315)", Role::Macro),
    ("overview image", Role::Macro),
    (" Thumbnail\n", Role::Thumbnail),
    ("Preview", Role::Thumbnail),
];
/// Names of slides that begin with the same words.
const SLIDE_NAMES: [&str; 7] = [
    "Macrophages CD68 #1",
    "Overview scan 40x",
    "Labeled with anti-CD3",
    "label-free",
    "Preview release",
    "Macro 2",
    "thumbnail.svs",
];

fn image(width: u32, height: u32) -> Image {
    Image::new(width, height, Pixels::Tiles(32)).resolution(40_000, 3)
}

fn roles(images: [Image; 2]) -> (u32, Vec<Role>) {
    let slide = read_bytes("slide.tif", &Tiff::of(Layout::Classic, images).bytes()).unwrap();
    (slide.width, slide.description.images.iter().map(|image| image.role).collect())
}

fn ome_images(names: [&str; 2]) -> [Image; 2] {
    let image_of = |number, name, width, height| {
        format!(
            "<Image Name='{name}'><Pixels SizeX='{width}' SizeY='{height}' PhysicalSizeX='0.25' PhysicalSizeY='0.25'><TiffData IFD='{number}'/></Pixels></Image>"
        )
    };
    let xml = format!("<OME>{}{}</OME>", image_of(0, names[0], 128, 96), image_of(1, names[1], 64, 48));
    [image(128, 96).described(xml), image(64, 48)]
}

#[test]
fn associated_images_are_recognized_by_their_full_name() {
    for (name, role) in NAMES {
        assert_eq!(roles([image(128, 96).described(name), image(64, 48)]), (64, vec![role, Role::Image]), "{name}");
        assert_eq!(roles(ome_images([name, "region"])), (64, vec![role, Role::Image]), "{name}");
    }
}

#[test]
fn name_that_only_begins_with_label_or_macro_is_a_slide() {
    for name in SLIDE_NAMES {
        let expected = (128, vec![Role::Image, Role::Level]);
        assert_eq!(roles([image(128, 96).described(name), image(64, 48)]), expected, "{name}");
        assert_eq!(roles(ome_images([name, "region"])), expected, "{name}");
    }
}
