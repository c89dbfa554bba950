//! Data in vendor metadata that may identify a patient. They are found by the names of tags, fields and XML elements.

use std::io::{Read, Seek};

use super::VendorMetadata;
use crate::description::Role;
use crate::identifier::{Identifier, IdentifierKind};
use crate::tiff::{Tiff, tags};
use crate::xml::Element;

/// TIFF tags with names and dates (TIFF 6.0, sections 8 and 12).
const TAGS: [(u16, &str, IdentifierKind); 5] = [
    (tags::DATE_TIME, "DateTime", IdentifierKind::Date),
    (tags::ARTIST, "Artist", IdentifierKind::Name),
    (tags::HOST_COMPUTER, "HostComputer", IdentifierKind::Name),
    (tags::DOCUMENT_NAME, "DocumentName", IdentifierKind::Name),
    (tags::PAGE_NAME, "PageName", IdentifierKind::Name),
];

/// Parts of field names, and the kind of the fields with such a name. The first matching part applies. A field with the
/// kind `None` does not identify a patient.
const FIELD_WORDS: [(&str, Option<IdentifierKind>); 29] = [
    ("exposure", None),
    ("timezone", None),
    ("time zone", None),
    ("modelname", None),
    ("model_name", None),
    ("unitname", None),
    ("objectivename", None),
    ("labelboundary", None),
    ("showlabel", None),
    ("calibration", None),
    ("icc", None),
    ("barcode", Some(IdentifierKind::Barcode)),
    ("labelimage", Some(IdentifierKind::Label)),
    ("macroimage", Some(IdentifierKind::Macro)),
    ("label", Some(IdentifierKind::Barcode)),
    ("date", Some(IdentifierKind::Date)),
    ("time", Some(IdentifierKind::Date)),
    ("user", Some(IdentifierKind::Name)),
    ("operator", Some(IdentifierKind::Name)),
    ("patient", Some(IdentifierKind::Name)),
    ("physician", Some(IdentifierKind::Name)),
    ("experimenter", Some(IdentifierKind::Name)),
    ("title", Some(IdentifierKind::Name)),
    ("name", Some(IdentifierKind::Name)),
    ("email", Some(IdentifierKind::Name)),
    ("accession", Some(IdentifierKind::Name)),
    ("imageid", Some(IdentifierKind::Name)),
    ("annotation", Some(IdentifierKind::Text)),
    ("comment", Some(IdentifierKind::Text)),
];

pub(super) fn kind(name: &str) -> Option<IdentifierKind> {
    let name = name.to_lowercase();
    FIELD_WORDS.iter().find(|(word, _)| name.contains(word)).and_then(|(_, kind)| *kind)
}

/// Returns identifiers in non-empty fields. `location` is the location of the fields, such as "in the property map".
pub(super) fn in_fields<'a>(fields: impl Iterator<Item = (&'a str, &'a str)>, location: &str) -> Vec<Identifier> {
    let fields = fields.filter(|(_, value)| !value.trim().is_empty());
    let identifiers =
        fields.filter_map(|(name, _)| Some(Identifier::new(kind(name)?, format!("{} {location}", escape_name(name)))));
    identifiers.collect()
}

/// Returns identifiers in the elements and attributes of an XML document.
pub(super) fn in_xml(root: &Element, location: &str) -> Vec<Identifier> {
    let mut identifiers = Vec::new();
    root.visit_all(&mut |element| {
        // Philips stores the name of a property in the attribute `Name` of an element `Attribute`.
        let name = element.attribute("Name").filter(|_| element.name == "Attribute").unwrap_or(&element.name);
        let own_text = [(name, element.text.as_str())];
        let attributes = element.attributes().filter(|(key, _)| element.name != "Attribute" || *key != "Name");
        identifiers.extend(in_fields(own_text.into_iter().chain(attributes), location));
    });
    identifiers.sort();
    identifiers.dedup();
    identifiers
}

/// Returns identifiers in the tags of all directories, and pictures of the label.
pub(super) fn in_tags<R: Read + Seek>(tiff: &mut Tiff<R>, metadata: &VendorMetadata) -> Vec<Identifier> {
    let mut identifiers = Vec::new();
    for number in 0..tiff.directories.len() {
        let location = tiff.directories[number].location;
        match metadata.roles[number] {
            Role::Label => identifiers.push(Identifier::new(IdentifierKind::Label, location.to_string())),
            Role::Macro => identifiers.push(Identifier::new(IdentifierKind::Macro, location.to_string())),
            _ => {}
        }
        for (tag, name, kind) in TAGS {
            // A text that cannot be read may still identify a patient.
            let has_tag = tiff.directories[number].entry(tag).is_some();
            if has_tag && !matches!(tiff.text(number, tag), Ok(Some(text)) if text.trim().is_empty()) {
                identifiers.push(Identifier::new(kind, format!("{name} of {location}")));
            }
        }
    }
    identifiers
}

/// Returns the escaped name of a field, which comes from the file.
fn escape_name(name: &str) -> String {
    name.chars().take(60).flat_map(char::escape_debug).collect()
}
