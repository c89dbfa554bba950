use ::tiff::encoder::colortype::RGB8;
use ::tiff::encoder::{Rational, TiffEncoder, TiffKind};
use ::tiff::tags::{ResolutionUnit, Tag};

use super::*;

/// The unit, and numerator and denominator of each axis.
type Resolution = (ResolutionUnit, (u32, u32), (u32, u32));

/// Which kind of slide to write.
#[derive(Clone, Copy, Default)]
struct Slide {
    big: bool,
    resolution: Option<Resolution>,
    description: Option<&'static str>,
}

const HALF_MICROMETRE: Option<Resolution> = Some((ResolutionUnit::Centimeter, (20_000, 1), (20_000, 1)));

impl Slide {
    fn write(self) -> (TempDir, PathBuf) {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("slide.bin");
        let file = File::create(&path).unwrap();
        if self.big {
            self.encode(TiffEncoder::new_big(file).unwrap());
        } else {
            self.encode(TiffEncoder::new(file).unwrap());
        }
        (folder, path)
    }

    fn encode<K: TiffKind>(self, mut encoder: TiffEncoder<File, K>) {
        for (width, height) in [(64, 48), (32, 24)] {
            let mut image = encoder.new_image::<RGB8>(width, height).unwrap();
            if let Some((unit, x, y)) = self.resolution {
                image.resolution_unit(unit);
                image.x_resolution(Rational { n: x.0, d: x.1 });
                image.y_resolution(Rational { n: y.0, d: y.1 });
            }
            if let Some(description) = self.description {
                image.encoder().write_tag(Tag::ImageDescription, description).unwrap();
            }
            image.write_data(&vec![200; (width * height * 3) as usize]).unwrap();
        }
    }
}

#[test]
fn size_resolution_and_checksum_come_from_the_file() {
    for big in [false, true] {
        let (_folder, path) = Slide { big, resolution: HALF_MICROMETRE, ..Slide::default() }.write();
        let content = fs::read(&path).unwrap();
        assert_eq!(read(&path).unwrap(), expected(64, 48, 0.5, "image/tiff", &content), "BigTIFF: {big}");
    }
}

#[test]
fn every_way_to_state_the_resolution_is_understood() {
    let inch = Some((ResolutionUnit::Inch, (50_800, 1), (101_600, 2)));
    for (slide, expected) in [
        (Slide { resolution: inch, ..Slide::default() }, 0.5),
        (
            Slide {
                description: Some("Aperio Image Library v1\n64x48|AppMag = 40|MPP = 0.2522|Left = 1"),
                ..Slide::default()
            },
            0.2522,
        ),
        (Slide { description: Some("Aperio|MPP=0.25"), resolution: inch, ..Slide::default() }, 0.25),
        (Slide { description: Some("Aperio|MPP = unknown"), resolution: inch, ..Slide::default() }, 0.5),
        (Slide { description: Some("A note on MPP = 7|MPP = 7"), resolution: inch, ..Slide::default() }, 0.5),
    ] {
        let (_folder, path) = slide.write();
        let resolution = read(&path).unwrap().resolution;
        assert!((resolution - expected).abs() < 1e-9, "{resolution} instead of {expected}");
    }
}

#[test]
fn a_slide_that_does_not_state_its_resolution_is_refused_by_name() {
    for (resolution, reason) in [
        (None, "name no unit"),
        (Some((ResolutionUnit::Centimeter, (0, 1), (20_000, 1))), "no resolution"),
        (Some((ResolutionUnit::Centimeter, (20_000, 0), (20_000, 0))), "no resolution"),
        (Some((ResolutionUnit::Centimeter, (20_000, 1), (10_000, 1))), "not square"),
    ] {
        let (_folder, path) = Slide { resolution, ..Slide::default() }.write();
        let error = read(&path).unwrap_err();
        let shown = error.to_string();
        assert!(shown.contains("slide.bin") && shown.contains(reason) && shown.contains("MPP"), "{shown}");
        assert!(error.is_invalid());
    }
}

#[test]
fn a_slide_that_is_cut_off_anywhere_is_refused() {
    let (_folder, path) = Slide { resolution: HALF_MICROMETRE, ..Slide::default() }.write();
    let whole = fs::read(&path).unwrap();
    for length in (0..whole.len()).step_by(97).chain([whole.len() - 1]) {
        fs::write(&path, &whole[..length]).unwrap();
        let error = read(&path).unwrap_err();
        assert!(error.is_invalid(), "{length} of {} bytes: {error}", whole.len());
    }
}

#[test]
fn pixels_beyond_the_end_are_counted() {
    let (_folder, path) = Slide { resolution: HALF_MICROMETRE, ..Slide::default() }.write();
    let mut bytes = fs::read(&path).unwrap();
    // The directories of this file come after the pixels: let the first strip claim to be longer.
    let claimed = 64 * 48 * 3_u32;
    let place = bytes.windows(4).position(|window| window == claimed.to_le_bytes()).unwrap();
    bytes[place..place + 4].copy_from_slice(&1_000_000_u32.to_le_bytes());
    fs::write(&path, &bytes).unwrap();
    let shown = read(&path).unwrap_err().to_string();
    assert!(shown.contains("reach to byte 1000") && shown.contains(&format!("byte {}", bytes.len())), "{shown}");
}

#[test]
fn a_kind_of_tiff_that_is_not_supported_is_not_called_damaged() {
    let (_folder, path) = Slide { resolution: HALF_MICROMETRE, ..Slide::default() }.write();
    let mut bytes = fs::read(&path).unwrap();
    // PhotometricInterpretation (262, a short): colour filter array.
    let entry = [6_u8, 1, 3, 0, 1, 0, 0, 0, 2, 0];
    let place = bytes.windows(entry.len()).position(|window| window == entry).unwrap();
    bytes[place + 8..place + 10].copy_from_slice(&32803_u16.to_le_bytes());
    fs::write(&path, &bytes).unwrap();
    let error = read(&path).unwrap_err();
    assert!(error.is_invalid() && error.to_string().contains("not supported"), "{error}");
}

#[test]
fn a_big_endian_file_is_read_too() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("slide");
    let mut bytes = b"MM\0\x2A\0\0\0\x08".to_vec();
    let entries: [(u16, u16, u32, u32); 11] = [
        (256, 4, 1, 2),
        (257, 4, 1, 1),
        (258, 3, 1, 8 << 16),
        (259, 3, 1, 1 << 16),
        (262, 3, 1, 1 << 16),
        (273, 4, 1, 162),
        (278, 4, 1, 1),
        (279, 4, 1, 2),
        (282, 5, 1, 146),
        (283, 5, 1, 154),
        (296, 3, 1, 3 << 16),
    ];
    bytes.extend(u16::try_from(entries.len()).unwrap().to_be_bytes());
    for (tag, kind, count, value) in entries {
        bytes.extend(tag.to_be_bytes());
        bytes.extend(kind.to_be_bytes());
        bytes.extend(count.to_be_bytes());
        bytes.extend(value.to_be_bytes());
    }
    bytes.extend([0; 4]);
    for number in [40_000_u32, 1, 40_000, 1] {
        bytes.extend(number.to_be_bytes());
    }
    bytes.extend([7, 9]);
    fs::write(&path, &bytes).unwrap();
    let slide = read(&path).unwrap();
    assert_eq!((slide.width, slide.height, slide.resolution), (2, 1, 0.25));
}
