//! Slides of the user: valid ones of every kind, and invalid ones.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tiff::decoder::Decoder;
use tiff::encoder::colortype::RGB8;
use tiff::encoder::{Rational, TiffEncoder, TiffKind};
use tiff::tags::{ResolutionUnit, Tag};

use crate::command::Sandbox;
use crate::dicom::Dicom;

/// A slide with a dark square on a bright background.
struct SyntheticSlide {
    is_big_tiff: bool,
    /// The source of the resolution: the tags, an Aperio description, or none.
    resolution: Resolution,
    /// True if the planes of the colors are separate.
    planar: bool,
}

enum Resolution {
    Tags,
    Aperio,
    /// The resolution of a screenshot.
    Coarse,
    None,
}

impl SyntheticSlide {
    fn write(&self, path: &Path) {
        let file = File::create(path).unwrap();
        if self.is_big_tiff {
            self.encode(TiffEncoder::new_big(file).unwrap());
        } else {
            self.encode(TiffEncoder::new(file).unwrap());
        }
    }

    fn encode<K: TiffKind>(&self, mut encoder: TiffEncoder<File, K>) {
        let height = if self.planar { 99 } else { 100 };
        let mut image = encoder.new_image::<RGB8>(200, height).unwrap();
        match self.resolution {
            Resolution::Tags => image.resolution(ResolutionUnit::Centimeter, Rational { n: 20_000, d: 1 }),
            Resolution::Aperio => image.encoder().write_tag(Tag::ImageDescription, "Aperio Image|MPP = 0.5").unwrap(),
            Resolution::Coarse => image.resolution(ResolutionUnit::Inch, Rational { n: 72, d: 1 }),
            Resolution::None => {}
        }
        if self.planar {
            // Three strips, each of which is a whole plane of one color.
            image.rows_per_strip(height / 3).unwrap();
            image.encoder().write_tag(Tag::RowsPerStrip, height).unwrap();
            image.encoder().write_tag(Tag::PlanarConfiguration, 2_u16).unwrap();
        }
        let is_dark = |x: u32, y: u32| (50..100).contains(&x) && (20..70).contains(&y);
        let pixels =
            (0..height).flat_map(|y| (0..200).flat_map(move |x| if is_dark(x, y) { [150, 60, 140] } else { [240; 3] }));
        image.write_data(&pixels.collect::<Vec<u8>>()).unwrap();
    }
}

const VALID_SLIDE: SyntheticSlide = SyntheticSlide { is_big_tiff: false, resolution: Resolution::Tags, planar: false };

/// Writes a slide that can be processed.
pub(crate) fn write_slide(path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    VALID_SLIDE.write(path);
}

fn slides_folder(sandbox: &Sandbox) -> PathBuf {
    let folder = sandbox.path("slides");
    fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn slide_format_is_detected_by_content() {
    let sandbox = Sandbox::new();
    let folder = slides_folder(&sandbox);
    for (name, slide) in [
        ("plain.tiff", VALID_SLIDE),
        ("big.bin", SyntheticSlide { is_big_tiff: true, ..VALID_SLIDE }),
        ("Aperio 40x.SVS", SyntheticSlide { resolution: Resolution::Aperio, ..VALID_SLIDE }),
        ("no ending #1 & 50% ü:?", VALID_SLIDE),
    ] {
        slide.write(&folder.join(name));
    }
    fs::write(folder.join(".DS_Store"), "not for the platform").unwrap();
    let result = sandbox.run(&["--slides", folder.to_str().unwrap()]);
    result.assert_code(0);
    sandbox.assert_manifest_is_correct();
    assert_eq!(sandbox.files().len(), 4 * 3);
    let unusual_name = "no ending #1 & 50%25 ü_%3F/tissue_areas.csv";
    let areas = String::from_utf8(sandbox.files()[unusual_name].clone()).unwrap();
    // 50 × 50 pixels of 0.5 µm, without the corners that the outline cuts off.
    let area: f64 = areas.lines().nth(1).unwrap().rsplit(',').next().unwrap().parse().unwrap();
    assert!((620.0..=625.0).contains(&area), "{areas}");
}

fn bytes(slide: &SyntheticSlide) -> Vec<u8> {
    let sandbox = Sandbox::new();
    let path = sandbox.path("slide");
    slide.write(&path);
    fs::read(path).unwrap()
}

#[test]
fn invalid_slide_prevents_upload_and_submission() {
    let whole = bytes(&VALID_SLIDE);
    for (content, reason) in [
        (b"patient,slide\n".to_vec(), "neither TIFF"),
        (Vec::new(), "neither TIFF"),
        (whole[..whole.len() / 2].to_vec(), "cut off"),
        (whole[..whole.len() - 1].to_vec(), "cut off"),
        // The application of the demo accepts only TIFF.
        (Dicom::default().bytes(), "media_type"),
        (
            bytes(&SyntheticSlide { resolution: Resolution::None, ..VALID_SLIDE }),
            "no usable resolution: looked for XResolution",
        ),
        (bytes(&SyntheticSlide { resolution: Resolution::Coarse, ..VALID_SLIDE }), "352.7"),
    ] {
        let sandbox = Sandbox::new();
        let folder = slides_folder(&sandbox);
        VALID_SLIDE.write(&folder.join("good.tiff"));
        fs::write(folder.join("the bad one.svs"), content).unwrap();
        let result = sandbox.run(&["--slides", folder.to_str().unwrap()]);
        result.assert_code(2);
        let message = result.error_message();
        assert!(message.contains("the bad one.svs") && message.contains(reason), "{message}");
        assert_eq!((result.served("storage", "PUT", "/"), result.served("api", "POST", "/api/v1/runs")), (0, 0));
        assert!(sandbox.files().is_empty());
        sandbox.assert_no_leftovers();
    }
}

#[test]
fn unreadable_slide_is_reported() {
    let sandbox = Sandbox::new();
    let folder = slides_folder(&sandbox);
    VALID_SLIDE.write(&folder.join("good.tiff"));
    std::os::unix::fs::symlink(sandbox.path("gone"), folder.join("dangling.svs")).unwrap();
    let result = sandbox.run(&["--slides", folder.to_str().unwrap()]);
    result.assert_code(2);
    assert!(result.error_message().contains("dangling.svs"), "{}", result.error_message());
}

#[test]
fn slide_names_do_not_collide_with_files_of_the_command() {
    let sandbox = Sandbox::new();
    let folder = slides_folder(&sandbox);
    let long = "%".repeat(120) + ".tif";
    for name in ["manifest.jsonl", &long, "line\nbreak \u{1b}[31m.tif"] {
        VALID_SLIDE.write(&folder.join(name));
    }
    let result = sandbox.run(&["--slides", folder.to_str().unwrap()]);
    result.assert_code(0);
    sandbox.assert_manifest_is_correct();
    assert_eq!(sandbox.manifest().len(), 3 * 3);
    assert!(sandbox.manifest().iter().any(|line| line["item"] == long.as_str()));
    for text in [&result.stdout, &result.stderr] {
        assert!(!text.contains('\u{1b}') && !text.contains("line\nbreak"), "{text}");
    }
}

#[test]
fn names_that_differ_only_in_case_do_not_collide() {
    let sandbox = Sandbox::new();
    let folder = slides_folder(&sandbox);
    VALID_SLIDE.write(&folder.join("A.tiff"));
    VALID_SLIDE.write(&folder.join("a.tiff"));
    sandbox.run(&["--slides", folder.to_str().unwrap()]).assert_code(0);
    sandbox.assert_manifest_is_correct();
    let folders: BTreeSet<_> =
        sandbox.files().into_keys().map(|file| file.split('/').next().unwrap().to_lowercase()).collect();
    assert_eq!(folders.len(), 2, "no file system considers two names equal: {folders:?}");
}

#[test]
fn slides_inside_the_results_folder_are_refused() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.output()).unwrap_or_default();
    VALID_SLIDE.write(&sandbox.output().join("slide.tiff"));
    let result = sandbox.run(&["--slides", sandbox.output().to_str().unwrap()]);
    result.assert_code(1);
    assert!(result.error_message().contains("slide.tiff"), "{}", result.error_message());
    assert_eq!(result.served("storage", "PUT", "/"), 0);
    sandbox.run(&["--slides", sandbox.output().to_str().unwrap()]).assert_code(1);
}

#[test]
fn folder_without_slides_is_an_error() {
    let sandbox = Sandbox::new();
    let empty = slides_folder(&sandbox);
    for folder in [empty, sandbox.path("absent")] {
        let result = sandbox.run(&["--slides", folder.to_str().unwrap()]);
        result.assert_code(2);
        assert!(result.error_message().contains(folder.to_str().unwrap()), "{}", result.error_message());
    }
}

#[test]
fn failed_slide_does_not_affect_others() {
    let sandbox = Sandbox::new();
    let folder = slides_folder(&sandbox);
    VALID_SLIDE.write(&folder.join("good.tiff"));
    SyntheticSlide { planar: true, ..VALID_SLIDE }.write(&folder.join("planar.tiff"));
    // All tags are complete, but the pixels are marked as compressed and are not.
    let damaged = folder.join("damaged.tiff");
    VALID_SLIDE.write(&damaged);
    let mut bytes = fs::read(&damaged).unwrap();
    let offset = tag_value_offset(&damaged, Tag::Compression);
    bytes[offset..offset + 2].copy_from_slice(&8_u16.to_le_bytes());
    fs::write(&damaged, bytes).unwrap();

    let result = sandbox.run(&["--slides", folder.to_str().unwrap()]);
    result.assert_code(6);
    assert!(result.row("good.tiff").starts_with("good.tiff succeeded 3/3 "), "{}", result.stdout);
    for name in ["damaged.tiff", "planar.tiff"] {
        assert_eq!(result.row(name), format!("{name} user error 0/0 0"));
        assert!(
            result.stderr.contains(&format!("{name}: user error: the slide cannot be decoded")),
            "{}",
            result.stderr
        );
    }
    assert_eq!(sandbox.files().len(), 3);
    sandbox.assert_manifest_is_correct();

    // The exit code reports failed items even if the output is not read.
    let mut child = sandbox
        .demo(&["--slides", folder.to_str().unwrap()])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(6));
}

/// Returns the offset of the value of a short tag of the first image, in a little-endian file.
fn tag_value_offset(path: &Path, tag: Tag) -> usize {
    let bytes = fs::read(path).unwrap();
    Decoder::new(File::open(path).unwrap()).unwrap();
    let read_short = |offset: usize| usize::from(u16::from_le_bytes([bytes[offset], bytes[offset + 1]]));
    let directory = usize::try_from(u32::from_le_bytes(bytes[4..8].try_into().unwrap())).unwrap();
    let entries = (0..read_short(directory)).map(|index| directory + 2 + 12 * index);
    entries.into_iter().find(|offset| read_short(*offset) == usize::from(tag.to_u16())).unwrap() + 8
}
