//! Directories of TIFF, BigTIFF and NDPI.

use crc::{CRC_32_ISCSI, Crc};

use super::corpus::tiff::{Image, Layout, Pixels, Tiff, Value};
use super::corpus::vendors;
use super::*;

fn image() -> Image {
    Image::new(128, 96, Pixels::Tiles(32)).resolution(40_000, 3)
}

#[test]
fn size_resolution_and_checksum_come_from_the_file() {
    for layout in [Layout::Classic, Layout::Big] {
        for big_endian in [false, true] {
            let mut tiff = Tiff::in_order(layout, big_endian);
            tiff.add(&image());
            tiff.add(&Image::new(64, 48, Pixels::Strip).reduced());
            let content = tiff.bytes();
            let slide = read_bytes("slide.bin", &content).unwrap();
            assert_eq!((slide.width, slide.height, slide.resolution.to_bits()), (128, 96, 0.25_f64.to_bits()));
            assert_eq!((slide.media_type, slide.bytes), ("image/tiff", content.len() as u64));
            // Computed by another library.
            assert_eq!(slide.crc32c, Crc::<u32>::new(&CRC_32_ISCSI).checksum(&content));
        }
    }
}

#[test]
fn resolution_is_read_in_all_units_and_types() {
    let plain = Image::new(128, 96, Pixels::Tiles(32));
    let sides = |value: Value| image().with(282, value.clone()).with(283, value);
    for image in [
        plain.clone().resolution(101_600, 2),
        plain.with(282, Value::Long(vec![101_600])).with(283, Value::Rational(vec![(203_200, 2)])),
        sides(Value::Float(vec![40_000.0])),
        sides(Value::Double(vec![40_000.0])),
        sides(Value::Short(vec![40_000])),
    ] {
        let slide = read_bytes("slide.tif", &Tiff::of(Layout::Classic, [image]).bytes()).unwrap();
        assert_eq!(slide.resolution.to_bits(), 0.25_f64.to_bits());
    }
}

#[test]
fn unit_of_imagej_is_read_from_the_description() {
    let read = |unit: &str, per_unit, tag| {
        let description = format!("ImageJ=1.53t\nimages=1\nunit={unit}\nloop=false\n");
        let image = Image::new(128, 96, Pixels::Tiles(32)).described(description).resolution(per_unit, tag);
        read_bytes("slide.tif", &Tiff::of(Layout::Classic, [image]).bytes())
    };
    for (unit, per_unit, tag) in [
        ("micron", 4, 1),
        ("um", 4, 1),
        ("µm", 4, 1),
        ("\\u00B5m", 4, 1),
        ("mm", 4_000, 1),
        ("inch", 101_600, 2),
        ("micron", 40_000, 3),
    ] {
        assert_eq!(read(unit, per_unit, tag).unwrap().resolution.to_bits(), 0.25_f64.to_bits(), "{unit}");
    }
    for unit in ["pixel", "", "parsec"] {
        let message = read(unit, 4, 1).unwrap_err().to_string();
        assert!(message.contains("a resolution without unit"), "{message}");
    }
}

#[test]
fn unsupported_image_is_not_reported_as_damaged() {
    for (image, reason) in [
        (image().with(262, Value::Short(vec![32_803])), "PhotometricInterpretation 32803 in directory 0"),
        (image().with(258, Value::Short(vec![32])), "32 bits per sample in directory 0"),
    ] {
        let message = error_text("slide.tif", &Tiff::of(Layout::Classic, [image]).bytes());
        assert!(message.contains("not supported") && message.contains(reason), "{message}");
    }
    // Unsupported colors of a label are ignored.
    let label = image().described("Label").with(262, Value::Short(vec![32_803]));
    assert!(read_bytes("slide.tif", &Tiff::of(Layout::Classic, [image(), label]).bytes()).is_ok());
}

#[test]
fn loop_of_directories_is_rejected() {
    let mut bytes = Tiff::of(Layout::Classic, [image()]).bytes();
    let (length, first) = (bytes.len(), bytes[4..8].to_vec());
    bytes[length - 4..].copy_from_slice(&first);
    let message = error_text("slide.tif", &bytes);
    assert!(message.contains("a loop"), "{message}");
}

#[test]
fn ndpi_has_offsets_of_64_bits() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("slide.ndpi");
    for hole in [0, 0x0_8000_0000, 0x1_0000_0000, 0x2_8000_1000] {
        vendors::hamamatsu(hole).save(&path);
        let slide = inspect(&path).unwrap();
        assert_eq!((slide.width, slide.height, slide.images.len()), (256, 128, 3), "{hole}");
        assert!(slide.bytes > hole);
        // The upper offset bits count: without the last byte of the file, its last directory is incomplete.
        fs::File::options().write(true).open(&path).unwrap().set_len(slide.bytes - 1).unwrap();
        assert!(inspect(&path).unwrap_err().to_string().contains("cut off"), "{hole}");
    }
}
