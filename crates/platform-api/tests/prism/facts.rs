use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::document::DOCUMENT;
use crate::server::ReceivedRequest;

/// `openapi/reference.facts`: the wire format according to the platform's own document.
pub(crate) struct Facts(BTreeMap<&'static str, &'static str>);

impl Facts {
    pub(crate) fn read() -> Self {
        let lines = include_str!("../../../../openapi/reference.facts").lines();
        Self(lines.map(|line| line.split_once(" = ").unwrap()).collect())
    }

    /// Returns the deviations of a request from the facts, including fields that are allowed but were not sent.
    pub(crate) fn problems(&self, request: &ReceivedRequest) -> Vec<String> {
        let mut problems = Vec::new();
        let method_and_path = method_and_path(request.operation);
        let (_, path) = method_and_path.split_once(' ').unwrap();
        let (sent_segments, expected_segments) = (request.url.path().split('/').skip(2), path.split('/').skip(1));
        if sent_segments.clone().count() != expected_segments.clone().count()
            || !sent_segments
                .zip(expected_segments)
                .all(|(sent, expected)| expected.starts_with('{') || sent == expected)
        {
            problems.push(format!("the path is not {path}"));
        }
        let mut sent_fields = BTreeSet::new();
        for (name, value) in request.url.query_pairs() {
            let location = format!("{method_and_path} query {name}");
            let element = format!("{location}[]");
            let fact_location =
                if self.0.contains_key(format!("{element} type").as_str()) { element } else { location.clone() };
            problems.extend(self.invalid_reason(&fact_location, &value));
            sent_fields.insert(location);
        }
        if let Some(body) = &request.body {
            self.check_value(&format!("{method_and_path} body"), body, &mut sent_fields, &mut problems);
        }
        // Every allowed field must have been sent, so that each is tested.
        for known_location in self.0.keys().filter_map(|fact| fact.strip_suffix(" type")) {
            let belongs_to_request =
                ["query ", "body."].iter().any(|part| known_location.starts_with(&format!("{method_and_path} {part}")));
            if belongs_to_request && !known_location.ends_with("[]") && !sent_fields.contains(known_location) {
                problems.push(format!("{known_location} was not sent"));
            }
        }
        problems
    }

    /// Returns the reason why a query value is invalid.
    fn invalid_reason(&self, location: &str, value: &str) -> Option<String> {
        let fact = |name: &str| self.0.get(format!("{location} {name}").as_str()).copied();
        let Some(kinds) = fact("type") else { return Some(format!("{location} is not known")) };
        let number = |name: &str| fact(name).and_then(|number| number.parse::<i64>().ok());
        let is_valid = kinds.split(" or ").any(|kind| match kind {
            "integer" => value.parse::<i64>().is_ok_and(|value| {
                number("minimum").is_none_or(|minimum| minimum <= value)
                    && number("maximum").is_none_or(|maximum| value <= maximum)
            }),
            "boolean" => matches!(value, "true" | "false"),
            "string" => {
                let length = i64::try_from(value.chars().count()).unwrap();
                let is_allowed =
                    |values: &str| values.split(' ').any(|allowed_value| allowed_value == format!("{value:?}"));
                number("maxLength").is_none_or(|maximum| length <= maximum) && fact("enum").is_none_or(is_allowed)
            }
            _ => false,
        });
        (!is_valid).then(|| format!("{location} is {value:?}, expected {kinds}"))
    }

    fn check_value(
        &self,
        location: &str,
        value: &Value,
        sent_fields: &mut BTreeSet<String>,
        problems: &mut Vec<String>,
    ) {
        let Some(kinds) = self.0.get(format!("{location} type").as_str()) else {
            // There is a fact for each field of the document.
            return problems.push(format!("{location} is not known"));
        };
        let kind = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(number) if number.is_i64() => "integer",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        if !kinds.split(" or ").any(|expected_kind| expected_kind == kind || expected_kind == "any") {
            problems.push(format!("{location} is {kind}, expected {kinds}"));
        }
        sent_fields.insert(location.to_owned());
        match value {
            Value::Array(values) => {
                for value in values {
                    self.check_value(&format!("{location}[]"), value, sent_fields, problems);
                }
            }
            Value::Object(members) => {
                let is_arbitrary_object = !self.0.keys().any(|fact| fact.starts_with(&format!("{location}.")));
                for (name, member) in members.iter().filter(|_| !is_arbitrary_object) {
                    self.check_value(&format!("{location}.{name}"), member, sent_fields, problems);
                }
            }
            _ => {}
        }
    }
}

/// Returns the method and the path of an operation.
fn method_and_path(operation: &str) -> String {
    for (path, item) in DOCUMENT["paths"].as_object().unwrap() {
        for (method, operation_object) in item.as_object().unwrap() {
            if operation_object["operationId"] == operation {
                return format!("{} {path}", method.to_uppercase());
            }
        }
    }
    panic!("{operation} is not in the document")
}
