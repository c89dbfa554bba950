//! Attributes that may identify a patient: those of table E.1-1 in PS3.15, and private ones.

use std::collections::HashSet;
use std::sync::LazyLock;

use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
use dicom_core::{Tag, VR};
use dicom_dictionary_std::{StandardDataDictionary, tags};

use super::elements::implicit_vr;
use crate::identifier::{Identifier, IdentifierKind};

/// The attributes of table E.1-1, edition 2026c, one tag per line, as in version 2.1.0 of the Python package
/// `dicom-anonymizer`.
const TABLE: &str = include_str!("confidential/ps3.15-2026c-e.1-1.txt");

static ATTRIBUTES: LazyLock<HashSet<Tag>> = LazyLock::new(|| TABLE.lines().filter_map(parse_tag).collect());

fn parse_tag(line: &str) -> Option<Tag> {
    let (group, element) = line.split_once(',')?;
    Some(Tag(u16::from_str_radix(group, 16).ok()?, u16::from_str_radix(element, 16).ok()?))
}

/// Returns true if the table lists an attribute. The table lists the 256 groups of curves as `50xx`, and those of
/// overlays as `60xx`.
fn is_listed(tag: Tag) -> bool {
    let is_overlay = tag.0 & 0xFF00 == 0x6000 && [0x3000, 0x4000].contains(&tag.1);
    ATTRIBUTES.contains(&tag) || tag.0 & 0xFF00 == 0x5000 || is_overlay
}

/// Returns the identifier for an attribute that has a value, or `None` if it cannot identify a patient. `is_root` is
/// false for an attribute in a sequence.
pub(crate) fn identifier(tag: Tag, vr: VR, is_root: bool) -> Option<Identifier> {
    if tag.0 % 2 == 1 {
        return Some(Identifier::new(IdentifierKind::Attribute, format!("private attributes of group {:04X}", tag.0)));
    }
    if !is_listed(tag) {
        return None;
    }
    let vr = if vr == VR::UN { implicit_vr(tag) } else { vr };
    let kind = match (tag, vr) {
        (tags::BARCODE_VALUE | tags::LABEL_TEXT, _) => IdentifierKind::Barcode,
        (_, VR::PN) => IdentifierKind::Name,
        (_, VR::DA | VR::DT | VR::TM) => IdentifierKind::Date,
        (_, VR::UI) => IdentifierKind::Uid,
        (_, VR::LT | VR::ST | VR::UT) => IdentifierKind::Text,
        _ => IdentifierKind::Attribute,
    };
    let place = if is_root { tag_with_keyword(tag) } else { format!("{} in a sequence", tag_with_keyword(tag)) };
    Some(Identifier::new(kind, place))
}

/// Returns the tag of an attribute and its keyword, such as `(0010,0010) PatientName`.
pub(crate) fn tag_with_keyword(tag: Tag) -> String {
    match StandardDataDictionary.by_tag(tag) {
        Some(entry) => format!("{tag} {}", entry.alias()),
        None => tag.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_lines_of_the_table_are_parsed() {
        let lines = TABLE.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).count();
        assert_eq!((ATTRIBUTES.len(), lines), (652, 652));
        let kind = |tag: Tag, vr| identifier(tag, vr, true).map(|found| found.kind);
        assert_eq!(kind(tags::PATIENT_NAME, VR::PN), Some(IdentifierKind::Name));
        assert_eq!(kind(tags::PATIENT_BIRTH_DATE, VR::UN), Some(IdentifierKind::Date));
        assert_eq!(kind(tags::BARCODE_VALUE, VR::LT), Some(IdentifierKind::Barcode));
        assert_eq!(kind(tags::SOP_INSTANCE_UID, VR::UI), Some(IdentifierKind::Uid));
        assert_eq!(kind(Tag(0x6002, 0x3000), VR::OW), Some(IdentifierKind::Attribute));
        assert_eq!(kind(Tag(0x0009, 0x1001), VR::LO), Some(IdentifierKind::Attribute));
        assert_eq!(kind(tags::ROWS, VR::US), None);
        assert_eq!(tag_with_keyword(tags::PATIENT_NAME), "(0010,0010) PatientName");
    }
}
