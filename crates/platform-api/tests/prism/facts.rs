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
    pub(crate) fn problems(&self, received: &ReceivedRequest) -> Vec<String> {
        let mut problems = Vec::new();
        let address = address(received.operation);
        let (_, path) = address.split_once(' ').unwrap();
        let (sent, expected) = (received.url.path().split('/').skip(2), path.split('/').skip(1));
        if sent.clone().count() != expected.clone().count()
            || !sent.zip(expected).all(|(sent, expected)| expected.starts_with('{') || sent == expected)
        {
            problems.push(format!("the path is not {path}"));
        }
        let mut seen = BTreeSet::new();
        for (name, value) in received.url.query_pairs() {
            let place = format!("{address} query {name}");
            let element = format!("{place}[]");
            let of = if self.0.contains_key(format!("{element} type").as_str()) { element } else { place.clone() };
            problems.extend(self.unfit(&of, &value));
            seen.insert(place);
        }
        if let Some(body) = &received.body {
            self.walk(&format!("{address} body"), body, &mut seen, &mut problems);
        }
        // Every allowed field must have been sent, so that each is tested.
        for known in self.0.keys().filter_map(|fact| fact.strip_suffix(" type")) {
            let is_part = ["query ", "body."].iter().any(|place| known.starts_with(&format!("{address} {place}")));
            if is_part && !known.ends_with("[]") && !seen.contains(known) {
                problems.push(format!("{known} was not sent"));
            }
        }
        problems
    }

    /// Returns the reason why a query value is invalid.
    fn unfit(&self, place: &str, value: &str) -> Option<String> {
        let fact = |name: &str| self.0.get(format!("{place} {name}").as_str()).copied();
        let Some(kinds) = fact("type") else { return Some(format!("{place} is not known")) };
        let number = |name: &str| fact(name).and_then(|number| number.parse::<i64>().ok());
        let fits = kinds.split(" or ").any(|kind| match kind {
            "integer" => value.parse::<i64>().is_ok_and(|value| {
                number("minimum").is_none_or(|least| least <= value)
                    && number("maximum").is_none_or(|most| value <= most)
            }),
            "boolean" => matches!(value, "true" | "false"),
            "string" => {
                let length = i64::try_from(value.chars().count()).unwrap();
                let is_one = |values: &str| values.split(' ').any(|known| known == format!("{value:?}"));
                number("maxLength").is_none_or(|most| length <= most) && fact("enum").is_none_or(is_one)
            }
            _ => false,
        });
        (!fits).then(|| format!("{place} is {value:?}, and should be {kinds}"))
    }

    fn walk(&self, place: &str, value: &Value, seen: &mut BTreeSet<String>, problems: &mut Vec<String>) {
        let Some(kinds) = self.0.get(format!("{place} type").as_str()) else {
            // The schema of an arbitrary object has no fields.
            return problems.push(format!("{place} is not known"));
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
        if !kinds.split(" or ").any(|known| known == kind || known == "any") {
            problems.push(format!("{place} is {kind}, and should be {kinds}"));
        }
        seen.insert(place.to_owned());
        match value {
            Value::Array(values) => {
                for value in values {
                    self.walk(&format!("{place}[]"), value, seen, problems);
                }
            }
            Value::Object(members) => {
                let is_free = !self.0.keys().any(|fact| fact.starts_with(&format!("{place}.")));
                for (name, member) in members.iter().filter(|_| !is_free) {
                    self.walk(&format!("{place}.{name}"), member, seen, problems);
                }
            }
            _ => {}
        }
    }
}

/// Returns the method and the path of an operation.
fn address(operation: &str) -> String {
    for (path, item) in DOCUMENT["paths"].as_object().unwrap() {
        for (method, described) in item.as_object().unwrap() {
            if described["operationId"] == operation {
                return format!("{} {path}", method.to_uppercase());
            }
        }
    }
    panic!("{operation} is not in the document")
}
