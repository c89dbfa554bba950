//! The schemas of servers, which may be hostile: a validator that follows references can take forever.

use std::collections::HashMap;

use jsonschema::Validator;
use serde_json::{Map, Value};

/// The maximum number of schemas that apply to one value.
const MAX_APPLIED: usize = 10_000;
/// The maximum number of schemas and references that lead to a schema for the same value. It limits the recursion.
const MAX_DEPTH: usize = 100;
/// The keywords whose schemas apply to the same value.
const IN_PLACE_LISTS: [&str; 3] = ["allOf", "anyOf", "oneOf"];
const IN_PLACE: [&str; 4] = ["not", "if", "then", "else"];
/// The keywords whose schemas apply to parts of the value, or that define schemas.
const MAPS: [&str; 4] = ["properties", "patternProperties", "$defs", "definitions"];
/// Keywords that give schemas further names.
const NAMES: [&str; 5] = ["$id", "$anchor", "$dynamicAnchor", "$dynamicRef", "$recursiveRef"];

/// Returns a validator for arguments, or the reason why there is none.
pub(crate) fn validator(schema: &Map<String, Value>) -> Result<Validator, &'static str> {
    let schema = Value::Object(schema.clone());
    let mut costs = Costs { root: &schema, of: HashMap::new() };
    if !costs.is_bounded(&schema, true) {
        return Err("its references take too long to follow");
    }
    jsonschema::validator_for(&schema).map_err(|_| "it is not valid, or refers to another document")
}

/// The numbers of schemas that apply in place, by reference.
struct Costs<'a> {
    root: &'a Value,
    /// `None` while a reference is followed.
    of: HashMap<&'a str, Option<usize>>,
}

impl<'a> Costs<'a> {
    /// Returns true if a schema and all parts of it apply a bounded number of schemas to each value.
    fn is_bounded(&mut self, schema: &'a Value, is_root: bool) -> bool {
        let members = match schema {
            Value::Object(members) => members,
            Value::Array(parts) => return parts.iter().all(|part| self.is_bounded(part, false)),
            _ => return true,
        };
        let has_names = NAMES.iter().any(|name| members.contains_key(*name) && !(is_root && *name == "$id"));
        let own = if has_names { None } else { self.applied(schema, 0) };
        own.is_some_and(|own| own <= MAX_APPLIED)
            && members.iter().all(|(name, part)| match (name.as_str(), part) {
                ("const" | "enum" | "default" | "examples", _) => true,
                (name, Value::Object(parts)) if MAPS.contains(&name) => {
                    parts.values().all(|part| self.is_bounded(part, false))
                }
                _ => self.is_bounded(part, false),
            })
    }

    /// Returns the number of schemas that apply to a value of this schema, or `None` if it is not finite or not known.
    /// `depth` is the number of schemas and references that lead to this one.
    fn applied(&mut self, schema: &'a Value, depth: usize) -> Option<usize> {
        let Value::Object(members) = schema else { return Some(1) };
        if depth > MAX_DEPTH {
            return None;
        }
        let lists = IN_PLACE_LISTS.iter().filter_map(|name| members.get(*name)?.as_array()).flatten();
        let single = IN_PLACE.iter().filter_map(|name| members.get(*name));
        let dependent = members.get("dependentSchemas").and_then(Value::as_object).into_iter().flat_map(Map::values);
        let mut sum = 1_usize;
        for part in lists.chain(single).chain(dependent) {
            sum = sum.saturating_add(self.applied(part, depth + 1)?);
        }
        if let Some(Value::String(reference)) = members.get("$ref") {
            sum = sum.saturating_add(self.referred(reference, depth + 1)?);
        }
        (sum <= MAX_APPLIED).then_some(sum)
    }

    fn referred(&mut self, reference: &'a str, depth: usize) -> Option<usize> {
        // Other documents are not fetched: such a schema has no validator.
        let Some(pointer) = reference.strip_prefix('#') else { return Some(1) };
        if let Some(known) = self.of.get(reference) {
            return *known;
        }
        self.of.insert(reference, None);
        let cost = self.applied(self.root.pointer(pointer)?, depth)?;
        self.of.insert(reference, Some(cost));
        Some(cost)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn is_usable(schema: &Value) -> bool {
        validator(schema.as_object().unwrap()).is_ok()
    }

    #[test]
    fn schemas_that_take_forever_have_no_validator() {
        let level = |number: usize| {
            let next = json!({ "$ref": format!("#/$defs/d{}", number + 1) });
            (format!("d{number}"), json!({ "allOf": [next, next] }))
        };
        let doubling = |levels: usize| {
            let mut definitions: Map<_, _> = (0..levels).map(level).collect();
            definitions.insert(format!("d{levels}"), json!({}));
            json!({ "$ref": "#/$defs/d0", "$defs": definitions })
        };
        let chain = |levels: usize| {
            let link = |number: usize| (format!("d{number}"), json!({ "$ref": format!("#/$defs/d{}", number + 1) }));
            let mut definitions: Map<_, _> = (0..levels).map(link).collect();
            definitions.insert(format!("d{levels}"), json!({}));
            json!({ "$ref": "#/$defs/d0", "$defs": definitions })
        };
        assert!(is_usable(&chain(50)) && !is_usable(&chain(20_000)));
        assert!(is_usable(&doubling(8)));
        assert!(!is_usable(&doubling(60)));
        assert!(!is_usable(&json!({ "$ref": "#" })));
        assert!(!is_usable(&json!({ "properties": { "a": { "anyOf": [{ "$ref": "#/properties/a" }] } } })));
        assert!(!is_usable(&json!({ "$defs": { "a": { "$anchor": "a", "$ref": "#a" } }, "$ref": "#a" })));
        assert!(!is_usable(&json!({ "$ref": "https://elsewhere.test/schema.json" })));
    }

    #[test]
    fn usual_schemas_have_a_validator() {
        let tree = json!({
            "$id": "https://a.test/tree", "type": "object", "$defs": { "node": {
                "type": "object", "properties": { "children": { "type": "array", "items": { "$ref": "#/$defs/node" } } },
            } },
            "properties": { "root": { "$ref": "#/$defs/node" }, "$ref": { "type": "string" } },
        });
        assert!(is_usable(&tree));
        let value = json!({ "root": { "children": [{ "children": 7 }] } });
        assert!(!validator(tree.as_object().unwrap()).unwrap().is_valid(&value));
    }
}
