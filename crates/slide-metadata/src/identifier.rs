//! Data that may identify a patient. A description contains the location of such data, never the value.

use std::fmt;

/// The kind of data that may identify a patient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[non_exhaustive]
pub enum IdentifierKind {
    /// A picture of the label.
    Label,
    /// A picture of the whole glass slide, which may show the label.
    Macro,
    /// A bar code, or the text of a label.
    Barcode,
    /// The name or the title of a person, a file or a case.
    Name,
    /// A date or a time.
    Date,
    /// Free text.
    Text,
    /// Another attribute that DICOM lists as confidential (PS3.15, table E.1-1), or a private attribute, whose content
    /// is unknown.
    Attribute,
    /// A unique identifier that DICOM lists as confidential.
    Uid,
}

impl IdentifierKind {
    /// All kinds.
    pub const ALL: [Self; 8] =
        [Self::Label, Self::Macro, Self::Barcode, Self::Name, Self::Date, Self::Text, Self::Attribute, Self::Uid];

    /// Returns the name of the kind in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Label => "label",
            Self::Macro => "macro",
            Self::Barcode => "barcode",
            Self::Name => "name",
            Self::Date => "date",
            Self::Text => "text",
            Self::Attribute => "attribute",
            Self::Uid => "uid",
        }
    }
}

impl fmt::Display for IdentifierKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Data in a slide that may identify a patient.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[non_exhaustive]
pub struct Identifier {
    /// The kind.
    pub kind: IdentifierKind,
    /// The location of the data, such as `(0010,0010) PatientName`.
    pub place: String,
}

impl Identifier {
    pub(crate) fn new(kind: IdentifierKind, place: impl Into<String>) -> Self {
        Self { kind, place: place.into() }
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.kind, self.place)
    }
}
