//! Data in vendor metadata that may identify a patient. They are found by the names of tags, fields and XML elements.

use std::io::{Read, Seek};

use super::Findings;
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

/// Parts of field names and the kind of such a field. The first match applies. A field with the kind `None` does not
/// identify a patient.
const WORDS: [(&str, Option<IdentifierKind>); 29] = [
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
    WORDS.iter().find(|(word, _)| name.contains(word)).and_then(|(_, kind)| *kind)
}

/// Returns identifiers in non-empty fields. `place` is the location of the fields, such as "in the property map".
pub(super) fn in_fields<'a>(fields: impl Iterator<Item = (&'a str, &'a str)>, place: &str) -> Vec<Identifier> {
    let fields = fields.filter(|(_, value)| !value.trim().is_empty());
    let found = fields.filter_map(|(name, _)| Some(Identifier::new(kind(name)?, format!("{} {place}", escaped(name)))));
    found.collect()
}

/// Returns identifiers in the elements and attributes of an XML document.
pub(super) fn in_xml(root: &Element, place: &str) -> Vec<Identifier> {
    let mut found = Vec::new();
    root.walk(&mut |element| {
        // Philips stores attribute names in an attribute.
        let name = element.attribute("Name").filter(|_| element.name == "Attribute").unwrap_or(&element.name);
        let own = [(name, element.text.as_str())];
        let attributes = element.attributes().filter(|(key, _)| element.name != "Attribute" || *key != "Name");
        found.extend(in_fields(own.into_iter().chain(attributes), place));
    });
    found.sort();
    found.dedup();
    found
}

/// Returns identifiers in the tags of all directories, and pictures of the label.
pub(super) fn in_tags<R: Read + Seek>(tiff: &mut Tiff<R>, findings: &Findings) -> Vec<Identifier> {
    let mut found = Vec::new();
    for number in 0..tiff.directories.len() {
        let place = tiff.directories[number].place;
        match findings.roles[number] {
            Role::Label => found.push(Identifier::new(IdentifierKind::Label, place.to_string())),
            Role::Macro => found.push(Identifier::new(IdentifierKind::Macro, place.to_string())),
            _ => {}
        }
        for (tag, name, kind) in TAGS {
            // A text that cannot be decoded may still identify a patient.
            let is_there = tiff.directories[number].entry(tag).is_some();
            if is_there && !matches!(tiff.text(number, tag), Ok(Some(text)) if text.trim().is_empty()) {
                found.push(Identifier::new(kind, format!("{name} of {place}")));
            }
        }
    }
    found
}

/// Returns the escaped name of a field, which comes from the file.
fn escaped(name: &str) -> String {
    name.chars().take(60).flat_map(char::escape_debug).collect()
}
