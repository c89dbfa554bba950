//! Data that may identify a patient.

use slide_metadata::{Identifier, IdentifierKind};

use super::corpus::tiff::{Image, Layout, Pixels, Tiff, text};
use super::corpus::vendors;
use super::files::Dicom;
use super::*;

fn identifiers(name: &str, content: &[u8]) -> Vec<(IdentifierKind, String)> {
    let found = inspect_bytes(name, content).unwrap().identifiers;
    found.into_iter().map(|Identifier { kind, place, .. }| (kind, place)).collect()
}

fn identifiers_of_vendor(name: &str) -> Vec<(IdentifierKind, String)> {
    let case = vendors::all().into_iter().find(|case| case.name == name).unwrap();
    identifiers(name, &case.tiff.bytes())
}

#[test]
fn labels_barcodes_dates_and_names_are_reported() {
    use IdentifierKind::{Barcode, Date, Label, Macro, Name};
    let assert_has = |name: &str, kind: IdentifierKind, place: &str| {
        let found = identifiers_of_vendor(name);
        assert!(found.contains(&(kind, place.to_owned())), "{name}: {kind} {place}: {found:#?}");
    };
    assert_has("aperio.svs", Label, "directory 3");
    assert_has("aperio.svs", Macro, "directory 4");
    assert_has("aperio.svs", Date, "Date in the ImageDescription of directory 0");
    assert_has("aperio.svs", Date, "Time in the ImageDescription of directory 0");
    assert_has("aperio.svs", Name, "User in the ImageDescription of directory 0");
    assert_has("aperio.svs", Name, "Filename in the ImageDescription of directory 0");
    assert_has("ome.ome.tif", Label, "directory 1");
    assert_has("ome.ome.tif", Date, "AcquisitionDate in the ImageDescription of directory 0");
    assert_has("philips.tiff", Barcode, "PIM_DP_UFS_BARCODE in the ImageDescription of directory 0");
    assert_has("philips.tiff", Date, "DICOM_ACQUISITION_DATETIME in the ImageDescription of directory 0");
    assert_has("philips.tiff", Label, "directory 3");
    assert_has("ventana.bif", Label, "directory 0");
    assert_has("ventana.bif", Name, "UserName in tag 700 of directory 0");
    assert_has("leica.scn", Barcode, "barcode in the ImageDescription of directory 0");
    assert_has("leica.scn", Date, "creationDate in the ImageDescription of directory 0");
    assert_has("leica.scn", Macro, "directory 0");
    assert_has("hamamatsu.ndpi", Barcode, "Reference (tag 65427) of directory 0");
    assert_has("hamamatsu.ndpi", Date, "DateTime of directory 0");
    assert_has("hamamatsu.ndpi", Macro, "directory 2");
}

#[test]
fn slide_without_identifying_data_has_no_identifiers() {
    assert_eq!(identifiers_of_vendor("tiled.tif"), []);
    assert_eq!(identifiers_of_vendor("trestle.tif"), []);
    assert_eq!(
        identifiers("slide.svs", &Tiff::of(Layout::Classic, [plain("Aperio\n64x64|MPP = 0.25|Date = ")]).bytes()),
        []
    );
}

fn plain(description: &str) -> Image {
    Image::new(64, 64, Pixels::Tiles(32)).described(description).resolution(40_000, 3)
}

#[test]
fn free_text_and_tags_with_names_are_reported() {
    let image = plain("Case 12, Jane Doe").with(315, text("Jane Doe")).with(306, text(""));
    let found = identifiers("slide.tif", &Tiff::of(Layout::Classic, [image]).bytes());
    let expected = [
        (IdentifierKind::Name, "Artist of directory 0".to_owned()),
        (IdentifierKind::Text, "ImageDescription of directory 0".to_owned()),
    ];
    assert_eq!(found, expected);
}

#[test]
fn identifiers_do_not_contain_values() {
    let image = plain("Aperio\n64x64|MPP = 0.25|Patient = Jane Doe|User = Jane Doe").with(315, text("Jane Doe"));
    let slide = inspect_bytes("slide.svs", &Tiff::of(Layout::Classic, [image]).bytes()).unwrap();
    assert_eq!(slide.identifiers.len(), 3);
    assert!(!format!("{slide:?}").contains("Jane"), "{slide:?}");
}

#[test]
fn confidential_attributes_of_dicom_are_reported() {
    let content = Dicom { patient: Some("Doe^Jane"), private: true, ..Dicom::default() }.bytes();
    let found = identifiers("slide.dcm", &content);
    for (kind, place) in [
        (IdentifierKind::Name, "(0010,0010) PatientName"),
        (IdentifierKind::Uid, "(0008,0018) SOPInstanceUID"),
        (IdentifierKind::Attribute, "private attributes of group 0009"),
    ] {
        assert!(found.contains(&(kind, place.to_owned())), "{place}: {found:#?}");
    }
    let label = Dicom { flavor: "LABEL", ..Dicom::default() }.bytes();
    assert!(self::identifiers("label.dcm", &label).contains(&(IdentifierKind::Label, "the image".to_owned())));
}
