//! `openapi/platform.json`, and generated JSON for its schemas.

use std::sync::LazyLock;

use fastrand::Rng;
use serde_json::{Map, Value, json};

/// A part of all generated texts and field names, which errors must not show.
pub(crate) const CANARY: &str = "canary";

pub(crate) static DOCUMENT: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../../../openapi/platform.json")).unwrap());

pub(crate) fn schemas() -> &'static Map<String, Value> {
    DOCUMENT["components"]["schemas"].as_object().unwrap()
}

/// Returns every operation of the document, with its id.
pub(crate) fn operations() -> impl Iterator<Item = (&'static str, &'static Value)> {
    let items = DOCUMENT["paths"].as_object().unwrap().values();
    let operations = items.flat_map(|item| item.as_object().unwrap().values());
    operations.map(|operation| (operation["operationId"].as_str().unwrap(), operation))
}

/// A generator of random JSON.
pub(crate) struct JsonGenerator {
    pub(crate) rng: Rng,
    /// Adds fields and enumeration values that are not in the schema.
    pub(crate) adds_unknown_fields: bool,
    /// Includes all optional fields.
    pub(crate) includes_optional_fields: bool,
}

impl JsonGenerator {
    /// Returns JSON that is valid for the schema.
    pub(crate) fn value(&mut self, schema: &Value) -> Value {
        if let Some(reference) = schema["$ref"].as_str() {
            return self.value(DOCUMENT.pointer(&reference[1..]).unwrap());
        }
        if let Some(alternatives) = schema["anyOf"].as_array() {
            let index = if self.includes_optional_fields { 0 } else { self.rng.usize(..alternatives.len()) };
            return self.value(&alternatives[index]);
        }
        let kinds: Vec<&str> = match &schema["type"] {
            Value::String(kind) => vec![kind],
            Value::Array(kinds) => kinds.iter().map(|kind| kind.as_str().unwrap()).collect(),
            _ => return self.any_value(3),
        };
        let index = if self.includes_optional_fields { 0 } else { self.rng.usize(..kinds.len()) };
        match kinds[index] {
            "null" => Value::Null,
            "boolean" => self.rng.bool().into(),
            "integer" => self.integer(schema).into(),
            "string" => self.text(schema).into(),
            "array" => {
                let minimum = usize::try_from(schema["minItems"].as_u64().unwrap_or(0)).unwrap();
                let count = minimum.max(usize::from(self.includes_optional_fields)) + self.rng.usize(..3);
                (0..count).map(|_| self.value(&schema["items"])).collect()
            }
            "object" => self.object(schema),
            kind => panic!("unknown type in the schema: {kind}"),
        }
    }

    fn integer(&mut self, schema: &Value) -> i64 {
        let minimum = schema["minimum"].as_i64().unwrap_or(i64::MIN);
        self.rng.i64(minimum..=schema["maximum"].as_i64().unwrap_or(i64::MAX))
    }

    fn text(&mut self, schema: &Value) -> String {
        if let Some(values) = schema["enum"].as_array() {
            let is_unknown_value = self.adds_unknown_fields && self.rng.u8(..) < 32;
            return if is_unknown_value {
                "A_NEWER_VALUE".into()
            } else {
                self.rng.choice(values).unwrap().as_str().unwrap().into()
            };
        }
        if schema["format"] == "date-time" {
            let second = self.rng.u64(..4_000_000_000);
            return jiff::Timestamp::from_second(i64::try_from(second).unwrap()).unwrap().to_string();
        }
        match (schema["format"].as_str(), schema["pattern"].as_str()) {
            (Some("uuid"), _) => return format!("7f1c0a3e-8f0b-4d8e-9d2a-{:012x}", self.rng.u64(..1 << 48)),
            (Some("uri"), _) => return format!("https://storage.test/{CANARY}?{}", self.rng.u64(..)),
            (_, Some(_)) => return format!("1.{}.0", self.rng.u8(..)),
            _ => {}
        }
        let extra = self.rng.usize(..8);
        CANARY.chars().chain((0..extra).map(|_| self.rng.char(..))).collect()
    }

    fn object(&mut self, schema: &Value) -> Value {
        let Some(properties) = schema["properties"].as_object() else { return self.any_object(3) };
        let required = schema["required"].as_array().unwrap();
        let mut object = Map::new();
        for (name, property) in properties {
            if self.includes_optional_fields || required.contains(&json!(name)) || self.rng.bool() {
                object.insert(name.clone(), self.value(property));
            }
        }
        if self.adds_unknown_fields && self.rng.u8(..) < 64 {
            let value = self.any_value(2);
            object.insert(format!("{CANARY}_{}", self.rng.u8(..)), value);
        }
        object.into()
    }

    /// Returns arbitrary JSON with a maximum depth.
    pub(crate) fn any_value(&mut self, depth: usize) -> Value {
        match self.rng.u8(..if depth == 0 { 5 } else { 7 }) {
            0 => Value::Null,
            1 => self.rng.bool().into(),
            2 => self.rng.i64(..).into(),
            3 => (self.rng.f64() * 1e6).into(),
            4 => self.text(&Value::Null).into(),
            5 => (0..self.rng.usize(..3)).map(|_| self.any_value(depth - 1)).collect(),
            _ => self.any_object(depth),
        }
    }

    fn any_object(&mut self, depth: usize) -> Value {
        let count = self.rng.usize(..3);
        let members = (0..count).map(|number| (format!("{CANARY}{number}"), self.any_value(depth.saturating_sub(1))));
        Value::Object(members.collect())
    }
}
