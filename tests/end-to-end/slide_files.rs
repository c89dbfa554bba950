//! `aignostics slide inspect`, and the slides that `run prepare` refuses and accepts.

use std::fs;

use serde_json::{Value, json};
use tiff::encoder::colortype::RGB8;
use tiff::encoder::{Rational, TiffEncoder};
use tiff::tags::{ResolutionUnit, Tag};

use crate::dicom::Dicom;
use crate::shell::Shell;
use crate::slides::write_slide;

/// Returns a user with a valid slide, a slide at 72 dpi whose description names a user, and a file that is not a slide.
fn with_slides() -> Shell {
    let shell = Shell::start();
    let folder = shell.folder().join("slides");
    write_slide(&folder.join("good.tif"));
    let mut encoder = TiffEncoder::new(fs::File::create(folder.join("coarse.svs")).unwrap()).unwrap();
    let mut image = encoder.new_image::<RGB8>(64, 48).unwrap();
    image.resolution(ResolutionUnit::Inch, Rational { n: 72, d: 1 });
    image.encoder().write_tag(Tag::ImageDescription, "Aperio Image\n64x48|User = Jane").unwrap();
    image.write_data(&vec![200; 64 * 48 * 3]).unwrap();
    shell
}

#[test]
fn slide_is_described_with_images_warnings_and_identifying_data() {
    let shell = with_slides();
    fs::write(shell.folder().join("slides/0.dcm"), Dicom::default().bytes()).unwrap();
    let slides = shell.json("slides", &["slide", "inspect", "slides/good.tif", "slides/coarse.svs", "slides/0.dcm"]);
    let [good, coarse, dicom] = slides.as_array().unwrap().as_slice() else { panic!("{slides:#}") };
    assert_eq!(
        (&good["width_px"], &good["resolution_mpp"]["x"], &good["warnings"]),
        (&json!(200), &json!(0.5), &json!([]))
    );
    assert_eq!((&good["images"][0]["role"], &good["identifiers"]), (&json!("image"), &json!([])));
    assert_eq!((&coarse["vendor"], &coarse["resolution_mpp"]["is_plausible"]), (&json!("aperio"), &json!(false)));
    let names: Vec<_> = coarse["warnings"].as_array().unwrap().iter().map(|warning| &warning["name"]).collect();
    assert_eq!(names, ["resolution_from_tags", "resolution_implausible"]);
    let user = json!([{ "kind": "name", "place": "User in the ImageDescription of directory 0" }]);
    assert_eq!(coarse["identifiers"], user);
    assert_eq!(
        (&dicom["format"], &dicom["resolution_mpp"]["source"]),
        (&json!("DICOM"), &json!("dicom_pixel_spacing"))
    );
    let message = shell.run(&["slide", "inspect", "slides/coarse.svs"]);
    message.assert_code(0);
    assert!(
        message.stdout.contains("name: User in the ImageDescription") && !message.stdout.contains("Jane"),
        "{}",
        message.stdout
    );
}

#[test]
fn thumbnail_is_written_and_bad_files_do_not_hide_good_ones() {
    let shell = with_slides();
    let thumbnail = shell.folder().join("a.png");
    shell.run(&["slide", "inspect", "slides/good.tif", "--thumbnail", "a.png"]).assert_code(0);
    assert!(fs::read(&thumbnail).unwrap().starts_with(b"\x89PNG"));
    fs::write(shell.folder().join("notes.txt"), "not a slide").unwrap();
    let result = shell.run(&["slide", "inspect", "notes.txt", "slides/good.tif", "--format", "json"]);
    result.assert_code(2);
    let slides: Value = serde_json::from_str(&result.stdout).unwrap();
    crate::shell::assert_conforms("slides", &slides);
    assert!(slides[0]["error"].as_str().unwrap().contains("neither TIFF nor DICOM"), "{slides:#}");
    assert_eq!(slides[1]["width_px"], 200);
    shell.run(&["slide", "inspect", "slides/good.tif", "slides/coarse.svs", "--thumbnail", "b.png"]).assert_code(2);
}

#[test]
fn implausible_resolution_needs_an_explicit_value() {
    let shell = with_slides();
    let result = shell.run(&["run", "prepare", "slides"]);
    result.assert_code(6);
    let message = &result.stderr;
    assert!(message.contains("coarse.svs: no usable resolution") && message.contains("--resolution-mpp"), "{message}");
    let csv = || fs::read_to_string(shell.folder().join("slides/metadata.csv")).unwrap();
    assert!(csv().contains("good.tif") && !csv().contains("coarse.svs"), "{}", csv());
    shell.run(&["run", "prepare", "slides", "--resolution-mpp", "72"]).assert_code(2);
    let prepared = shell.json("prepared", &["run", "prepare", "slides", "--resolution-mpp", "0.25"]);
    let [remarks] = prepared["remarks"].as_array().unwrap().as_slice() else { panic!("{prepared:#}") };
    assert_eq!(remarks["identifiers"][0]["kind"], "name");
    let table = csv();
    assert!(table.contains(";0.25;64;48;") && table.contains(";0.5;200;100;"), "{table}");
    // The value in the table takes precedence, with and without the option.
    for arguments in [&["run", "prepare", "slides"][..], &["run", "prepare", "slides", "--resolution-mpp", "1"]] {
        shell.run(arguments).assert_code(0);
        assert_eq!(csv(), table);
    }
    // The values in the table apply only to a file with the same checksum.
    let slide = shell.folder().join("slides/coarse.svs");
    let mut content = fs::read(&slide).unwrap();
    content.push(0);
    fs::write(&slide, content).unwrap();
    shell.run(&["run", "prepare", "slides"]).assert_code(6);
}

#[test]
fn slides_that_may_identify_a_patient_are_refused_on_request() {
    let shell = with_slides();
    let options = ["run", "prepare", "slides", "--resolution-mpp", "0.25", "--no-phi"];
    let result = shell.run(&options);
    result.assert_code(6);
    let message = &result.stderr;
    assert!(message.contains("coarse.svs: it may identify a patient") && message.contains("--allow name"), "{message}");
    shell.run(&[&options[..], &["--allow", "label,name"]].concat()).assert_code(0);
    shell.run(&[&options[..], &["--allow", "everything"]].concat()).assert_code(2);
}
