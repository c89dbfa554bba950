//! An object of a card. Its fields are read one by one, so that an error names the field and shows no value.

use serde_json::{Map, Value};

/// The maximum length of a name, an id, a tag or a media type, in bytes.
const MAX_NAME_BYTES: usize = 512;

/// The reason why a card cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// The card is not JSON, or too complex. The text states the problem.
    Document(&'static str),
    /// A field that is missing or invalid, and the expected value.
    Field(String, &'static str),
    /// A field with a URL at an origin that is not permitted, and this origin.
    Origin(String, String),
}

/// An object, and its position in the card.
#[derive(Clone, Copy)]
pub(super) struct CardObject<'a> {
    object: &'a Map<String, Value>,
    position: Position<'a>,
}

/// The position of an object: the card itself, a member of the card, an element of a list of the card, or an element of
/// a list of a member.
#[derive(Clone, Copy)]
enum Position<'a> {
    Card,
    Member(&'a str),
    Element(&'a str, usize),
    Nested(&'a str, &'a str, usize),
}

impl<'a> CardObject<'a> {
    /// Returns the whole card.
    pub(super) fn card(value: &'a Value) -> Result<Self, Flaw> {
        let object = value.as_object().ok_or(Flaw::Document("it is not a JSON object"))?;
        Ok(Self { object, position: Position::Card })
    }

    /// Returns the error of a field that is missing or invalid.
    pub(super) fn flaw(&self, field: &str, expected: &'static str) -> Flaw {
        Flaw::Field(self.path(field), expected)
    }

    /// Returns the path of a field, such as `skills[2].id`.
    pub(super) fn path(&self, field: &str) -> String {
        match self.position {
            Position::Card => field.to_owned(),
            Position::Member(name) => format!("{name}.{field}"),
            Position::Element(list, index) => format!("{list}[{index}].{field}"),
            Position::Nested(name, list, index) => format!("{name}.{list}[{index}].{field}"),
        }
    }

    /// Returns a field that is present and not `null`.
    pub(super) fn get(&self, field: &str) -> Option<&'a Value> {
        self.object.get(field).filter(|value| !value.is_null())
    }

    /// Returns a text. It can be empty, and can have several lines.
    pub(super) fn text(&self, field: &str) -> Result<String, Flaw> {
        let text = self.get(field).and_then(Value::as_str);
        text.map(str::to_owned).ok_or_else(|| self.flaw(field, "a string"))
    }

    /// Returns a name: a short text without control characters.
    pub(super) fn name(&self, field: &str) -> Result<String, Flaw> {
        let name = self.get(field).and_then(Value::as_str).filter(|text| is_name(text));
        name.map(str::to_owned).ok_or_else(|| self.flaw(field, EXPECTED_NAME))
    }

    pub(super) fn optional_name(&self, field: &str) -> Result<Option<String>, Flaw> {
        self.get(field).map(|_| self.name(field)).transpose()
    }

    /// Returns a list of names. It can be empty.
    pub(super) fn names(&self, field: &str) -> Result<Vec<String>, Flaw> {
        self.strings(field, is_name, "a list of non-empty strings")
    }

    pub(super) fn optional_names(&self, field: &str) -> Result<Option<Vec<String>>, Flaw> {
        self.get(field).map(|_| self.names(field)).transpose()
    }

    /// Returns a list of texts, or an empty list if there is none.
    pub(super) fn optional_texts(&self, field: &str) -> Result<Vec<String>, Flaw> {
        self.get(field).map_or(Ok(Vec::new()), |_| self.strings(field, |_| true, "a list of strings"))
    }

    fn strings(&self, field: &str, is_valid: fn(&str) -> bool, expected: &'static str) -> Result<Vec<String>, Flaw> {
        let list = self.get(field).and_then(Value::as_array).ok_or_else(|| self.flaw(field, expected))?;
        let text = |value: &Value| value.as_str().filter(|text| is_valid(text)).map(str::to_owned);
        list.iter().map(|value| text(value).ok_or_else(|| self.flaw(field, expected))).collect()
    }

    /// Returns a boolean, or false if it is missing.
    pub(super) fn flag(&self, field: &str) -> Result<bool, Flaw> {
        let boolean_flaw = || self.flaw(field, "true or false");
        self.get(field).map_or(Ok(false), |value| value.as_bool().ok_or_else(boolean_flaw))
    }

    /// Returns a member of the card that is an object.
    pub(super) fn object(&self, field: &'a str) -> Result<Self, Flaw> {
        let object = self.get(field).and_then(Value::as_object).ok_or_else(|| self.flaw(field, "an object"))?;
        Ok(Self { object, position: Position::Member(field) })
    }

    /// Returns the objects in a list of at most `max` elements.
    pub(super) fn objects(&self, field: &'a str, max: usize) -> Result<Vec<Self>, Flaw> {
        let list = self.get(field).and_then(Value::as_array).ok_or_else(|| self.flaw(field, "a list of objects"))?;
        if list.len() > max {
            return Err(self.flaw(field, "a shorter list"));
        }
        let element = |(index, value): (usize, &'a Value)| {
            let position = match self.position {
                Position::Member(name) => Position::Nested(name, field, index),
                _ => Position::Element(field, index),
            };
            let object = value.as_object().ok_or_else(|| self.flaw(field, "a list of objects"))?;
            Ok(Self { object, position })
        };
        list.iter().enumerate().map(element).collect()
    }
}

/// The expected value of a name, in errors.
const EXPECTED_NAME: &str = "a non-empty string of at most 512 bytes without control characters";

fn is_name(text: &str) -> bool {
    !text.trim().is_empty() && text.len() <= MAX_NAME_BYTES && !text.chars().any(char::is_control)
}
