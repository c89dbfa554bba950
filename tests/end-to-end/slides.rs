//! Slides of the user: valid ones of every kind, and invalid ones.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tiff::decoder::Decoder;
use tiff::encoder::colortype::RGB8;
use tiff::encoder::{Rational, TiffEncoder, TiffKind};
use tiff::tags::{ResolutionUnit, Tag};

use crate::command::Lab;
use crate::dicom::Dicom;

/// A slide with a dark square on a bright background.
struct Painted {
    big: bool,
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

impl Painted {
    fn write(&self, path: &Path) {
        let file = File::create(path).unwrap();
        if self.big {
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
        let dark = |x: u32, y: u32| (50..100).contains(&x) && (20..70).contains(&y);
        let pixels =
            (0..height).flat_map(|y| (0..200).flat_map(move |x| if dark(x, y) { [150, 60, 140] } else { [240; 3] }));
        image.write_data(&pixels.collect::<Vec<u8>>()).unwrap();
    }
}

const GOOD: Painted = Painted { big: false, resolution: Resolution::Tags, planar: false };

/// Writes a slide that can be processed.
pub(crate) fn write_slide(path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    GOOD.write(path);
}

fn slides_folder(lab: &Lab) -> PathBuf {
    let folder = lab.path("slides");
    fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn a_slide_is_known_by_its_first_bytes_whatever_it_is_called() {
    let lab = Lab::new();
    let folder = slides_folder(&lab);
    for (name, slide) in [
        ("plain.tiff", GOOD),
        ("big.bin", Painted { big: true, ..GOOD }),
        ("Aperio 40x.SVS", Painted { resolution: Resolution::Aperio, ..GOOD }),
        ("no ending #1 & 50% ü:?", GOOD),
    ] {
        slide.write(&folder.join(name));
    }
    fs::write(folder.join(".DS_Store"), "not for the platform").unwrap();
    let ended = lab.run(&["--slides", folder.to_str().unwrap()]);
    ended.assert_code(0);
    lab.assert_manifest_holds();
    assert_eq!(lab.files().len(), 4 * 3);
    let strange = "no ending #1 & 50%25 ü_%3F/tissue_areas.csv";
    let areas = String::from_utf8(lab.files()[strange].clone()).unwrap();
    // 50 × 50 pixels of 0.5 µm, without the corners that the outline cuts off.
    let area: f64 = areas.lines().nth(1).unwrap().rsplit(',').next().unwrap().parse().unwrap();
    assert!((620.0..=625.0).contains(&area), "{areas}");
}

/// Returns the bytes of a slide.
fn bytes(slide: &Painted) -> Vec<u8> {
    let lab = Lab::new();
    let path = lab.path("slide");
    slide.write(&path);
    fs::read(path).unwrap()
}

#[test]
fn a_bad_slide_is_named_and_nothing_is_uploaded_or_submitted() {
    let whole = bytes(&GOOD);
    for (content, reason) in [
        (b"patient,slide\n".to_vec(), "neither TIFF"),
        (Vec::new(), "neither TIFF"),
        (whole[..whole.len() / 2].to_vec(), "cut off"),
        (whole[..whole.len() - 1].to_vec(), "cut off"),
        // The application of the demo accepts only TIFF.
        (Dicom::default().bytes(), "media_type"),
        (bytes(&Painted { resolution: Resolution::None, ..GOOD }), "no usable resolution: looked for XResolution"),
        (bytes(&Painted { resolution: Resolution::Coarse, ..GOOD }), "352.7"),
    ] {
        let lab = Lab::new();
        let folder = slides_folder(&lab);
        GOOD.write(&folder.join("good.tiff"));
        fs::write(folder.join("the bad one.svs"), content).unwrap();
        let ended = lab.run(&["--slides", folder.to_str().unwrap()]);
        ended.assert_code(2);
        let told = ended.told();
        assert!(told.contains("the bad one.svs") && told.contains(reason), "{told}");
        assert_eq!((ended.served("storage", "PUT", "/"), ended.served("api", "POST", "/api/v1/runs")), (0, 0));
        assert!(lab.files().is_empty());
        lab.assert_nothing_is_left();
    }
}

#[test]
fn a_slide_that_cannot_be_read_is_not_left_out_in_silence() {
    let lab = Lab::new();
    let folder = slides_folder(&lab);
    GOOD.write(&folder.join("good.tiff"));
    std::os::unix::fs::symlink(lab.path("gone"), folder.join("dangling.svs")).unwrap();
    let ended = lab.run(&["--slides", folder.to_str().unwrap()]);
    ended.assert_code(2);
    assert!(ended.told().contains("dangling.svs"), "{}", ended.told());
}

#[test]
fn strange_names_are_kept_apart_from_the_files_of_the_project() {
    let lab = Lab::new();
    let folder = slides_folder(&lab);
    let long = "%".repeat(120) + ".tif";
    for name in ["manifest.jsonl", &long, "line\nbreak \u{1b}[31m.tif"] {
        GOOD.write(&folder.join(name));
    }
    let ended = lab.run(&["--slides", folder.to_str().unwrap()]);
    ended.assert_code(0);
    lab.assert_manifest_holds();
    assert_eq!(lab.manifest().len(), 3 * 3);
    assert!(lab.manifest().iter().any(|line| line["item"] == long.as_str()));
    for text in [&ended.stdout, &ended.stderr] {
        assert!(!text.contains('\u{1b}') && !text.contains("line\nbreak"), "{text}");
    }
}

#[test]
fn slides_whose_names_differ_in_case_alone_are_kept_apart() {
    let lab = Lab::new();
    let folder = slides_folder(&lab);
    GOOD.write(&folder.join("A.tiff"));
    GOOD.write(&folder.join("a.tiff"));
    lab.run(&["--slides", folder.to_str().unwrap()]).assert_code(0);
    lab.assert_manifest_holds();
    let folders: BTreeSet<_> =
        lab.files().into_keys().map(|file| file.split('/').next().unwrap().to_lowercase()).collect();
    assert_eq!(folders.len(), 2, "no file system takes one for the other: {folders:?}");
}

#[test]
fn slides_that_lie_where_the_results_go_are_refused() {
    let lab = Lab::new();
    fs::create_dir(lab.output()).unwrap_or_default();
    GOOD.write(&lab.output().join("slide.tiff"));
    let ended = lab.run(&["--slides", lab.output().to_str().unwrap()]);
    ended.assert_code(1);
    assert!(ended.told().contains("slide.tiff"), "{}", ended.told());
    assert_eq!(ended.served("storage", "PUT", "/"), 0);
    lab.run(&["--slides", lab.output().to_str().unwrap()]).assert_code(1);
}

#[test]
fn a_folder_without_slides_is_named() {
    let lab = Lab::new();
    let empty = slides_folder(&lab);
    for folder in [empty, lab.path("absent")] {
        let ended = lab.run(&["--slides", folder.to_str().unwrap()]);
        ended.assert_code(2);
        assert!(ended.told().contains(folder.to_str().unwrap()), "{}", ended.told());
    }
}

#[test]
fn a_slide_that_cannot_be_processed_fails_alone() {
    let lab = Lab::new();
    let folder = slides_folder(&lab);
    GOOD.write(&folder.join("good.tiff"));
    Painted { planar: true, ..GOOD }.write(&folder.join("planar.tiff"));
    // All tags are complete, but the pixels are marked as compressed and are not.
    let damaged = folder.join("damaged.tiff");
    GOOD.write(&damaged);
    let mut bytes = fs::read(&damaged).unwrap();
    let offset = entry(&damaged, Tag::Compression);
    bytes[offset..offset + 2].copy_from_slice(&8_u16.to_le_bytes());
    fs::write(&damaged, bytes).unwrap();

    let ended = lab.run(&["--slides", folder.to_str().unwrap()]);
    ended.assert_code(6);
    assert!(ended.row("good.tiff").starts_with("good.tiff succeeded 3/3 "), "{}", ended.stdout);
    for name in ["damaged.tiff", "planar.tiff"] {
        assert_eq!(ended.row(name), format!("{name} user error 0/0 0"));
        assert!(ended.stderr.contains(&format!("{name}: user error: the slide cannot be decoded")), "{}", ended.stderr);
    }
    assert_eq!(lab.files().len(), 3);
    lab.assert_manifest_holds();

    // The exit code reports failed items even if the output is not read.
    let mut child =
        lab.demo(&["--slides", folder.to_str().unwrap()]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(6));
}

/// Returns the offset of the value of a short tag of the first image, in a little-endian file.
fn entry(path: &Path, tag: Tag) -> usize {
    let bytes = fs::read(path).unwrap();
    Decoder::new(File::open(path).unwrap()).unwrap();
    let short = |at: usize| usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
    let directory = usize::try_from(u32::from_le_bytes(bytes[4..8].try_into().unwrap())).unwrap();
    let entries = (0..short(directory)).map(|index| directory + 2 + 12 * index);
    entries.into_iter().find(|at| short(*at) == usize::from(tag.to_u16())).unwrap() + 8
}
