//! An object of a card. Its fields are read one by one, so that an error names the field and shows no value.

use serde_json::{Map, Value};

/// The maximum length of a name, an id, a tag or a media type, in bytes.
const MAX_NAME_BYTES: usize = 512;

/// The reason why a card cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// The card is not JSON, or too complex: the problem.
    Document(&'static str),
    /// A field, and what it must be.
    Field(String, &'static str),
    /// A field with the URL of an origin that is not permitted, and the origin.
    Origin(String, String),
}

/// An object, and its place in the card.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    object: &'a Map<String, Value>,
    at: At<'a>,
}

/// The place of an object: the card, a member of it, or an element of a list.
#[derive(Clone, Copy)]
enum At<'a> {
    Card,
    Member(&'a str),
    Element(&'a str, usize),
    Nested(&'a str, &'a str, usize),
}

impl<'a> Part<'a> {
    /// Returns the whole card.
    pub(super) fn card(value: &'a Value) -> Result<Self, Flaw> {
        let object = value.as_object().ok_or(Flaw::Document("it is not a JSON object"))?;
        Ok(Self { object, at: At::Card })
    }

    /// Returns the error of a field.
    pub(super) fn flaw(&self, field: &str, expected: &'static str) -> Flaw {
        Flaw::Field(self.place(field), expected)
    }

    /// Returns the place of a field, such as `skills[2].id`.
    pub(super) fn place(&self, field: &str) -> String {
        match self.at {
            At::Card => field.to_owned(),
            At::Member(name) => format!("{name}.{field}"),
            At::Element(list, index) => format!("{list}[{index}].{field}"),
            At::Nested(name, list, index) => format!("{name}.{list}[{index}].{field}"),
        }
    }

    /// Returns a field that is present and not `null`.
    pub(super) fn get(&self, field: &str) -> Option<&'a Value> {
        self.object.get(field).filter(|value| !value.is_null())
    }

    /// Returns a text, which may be empty and have several lines.
    pub(super) fn text(&self, field: &str) -> Result<String, Flaw> {
        let text = self.get(field).and_then(Value::as_str);
        text.map(str::to_owned).ok_or_else(|| self.flaw(field, "a string"))
    }

    /// Returns a name: a short text without control characters.
    pub(super) fn name(&self, field: &str) -> Result<String, Flaw> {
        let name = self.get(field).and_then(Value::as_str).filter(|text| is_name(text));
        name.map(str::to_owned).ok_or_else(|| self.flaw(field, NAME))
    }

    pub(super) fn optional_name(&self, field: &str) -> Result<Option<String>, Flaw> {
        self.get(field).map(|_| self.name(field)).transpose()
    }

    /// Returns a list of names, which may be empty.
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

    fn strings(&self, field: &str, is: fn(&str) -> bool, expected: &'static str) -> Result<Vec<String>, Flaw> {
        let list = self.get(field).and_then(Value::as_array).ok_or_else(|| self.flaw(field, expected))?;
        let text = |value: &Value| value.as_str().filter(|text| is(text)).map(str::to_owned);
        list.iter().map(|value| text(value).ok_or_else(|| self.flaw(field, expected))).collect()
    }

    /// Returns a boolean, or false if it is missing.
    pub(super) fn flag(&self, field: &str) -> Result<bool, Flaw> {
        let wrong = || self.flaw(field, "true or false");
        self.get(field).map_or(Ok(false), |value| value.as_bool().ok_or_else(wrong))
    }

    /// Returns a member of the card that is an object.
    pub(super) fn object(&self, field: &'a str) -> Result<Self, Flaw> {
        let object = self.get(field).and_then(Value::as_object).ok_or_else(|| self.flaw(field, "an object"))?;
        Ok(Self { object, at: At::Member(field) })
    }

    /// Returns the objects in a list of at most `max` elements.
    pub(super) fn objects(&self, field: &'a str, max: usize) -> Result<Vec<Self>, Flaw> {
        let list = self.get(field).and_then(Value::as_array).ok_or_else(|| self.flaw(field, "a list of objects"))?;
        if list.len() > max {
            return Err(self.flaw(field, "a shorter list"));
        }
        let element = |(index, value): (usize, &'a Value)| {
            let at = match self.at {
                At::Member(name) => At::Nested(name, field, index),
                _ => At::Element(field, index),
            };
            let object = value.as_object().ok_or_else(|| self.flaw(field, "a list of objects"))?;
            Ok(Self { object, at })
        };
        list.iter().enumerate().map(element).collect()
    }
}

const NAME: &str = "a non-empty string of at most 512 bytes without control characters";

fn is_name(text: &str) -> bool {
    !text.trim().is_empty() && text.len() <= MAX_NAME_BYTES && !text.chars().any(char::is_control)
}
