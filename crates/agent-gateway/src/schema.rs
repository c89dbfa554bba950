//! Validators for the schemas of servers. Servers may be hostile: a validator that follows references can take forever.

use std::collections::HashMap;

use jsonschema::Validator;
use serde_json::{Map, Value};

/// The maximum number of schemas that apply to one value.
const MAX_APPLIED: usize = 10_000;
/// The maximum nesting of schemas and references that apply to the same value. It limits the recursion.
const MAX_DEPTH: usize = 100;
/// The keywords with a list of schemas that apply to the same value.
const SCHEMA_LIST_KEYWORDS: [&str; 3] = ["allOf", "anyOf", "oneOf"];
/// The keywords with one schema that applies to the same value.
const SINGLE_SCHEMA_KEYWORDS: [&str; 4] = ["not", "if", "then", "else"];
/// The keywords with a map of schemas that apply to parts of the value, or that are only defined.
const SCHEMA_MAP_KEYWORDS: [&str; 4] = ["properties", "patternProperties", "$defs", "definitions"];
/// The keywords that define or use names of schemas. Schemas with them have no validator, except for the `$id` of the
/// root.
const NAMING_KEYWORDS: [&str; 5] = ["$id", "$anchor", "$dynamicAnchor", "$dynamicRef", "$recursiveRef"];

/// Returns a validator for arguments, or the reason why there is none.
pub(crate) fn validator(schema: &Map<String, Value>) -> Result<Validator, &'static str> {
    let schema = Value::Object(schema.clone());
    let mut counter = SchemaCounter { root: &schema, counts: HashMap::new() };
    if !counter.is_bounded(&schema, true) {
        return Err("its references take too long to follow");
    }
    jsonschema::validator_for(&schema).map_err(|_| "it is not valid, or refers to another document")
}

/// Counts the schemas that apply to the same value.
struct SchemaCounter<'a> {
    root: &'a Value,
    /// The number of schemas by reference. `None` while the reference is followed, which detects cycles.
    counts: HashMap<&'a str, Option<usize>>,
}

impl<'a> SchemaCounter<'a> {
    /// Returns true if a schema and all of its parts apply a limited number of schemas to each value.
    fn is_bounded(&mut self, schema: &'a Value, is_root: bool) -> bool {
        let members = match schema {
            Value::Object(members) => members,
            Value::Array(parts) => return parts.iter().all(|part| self.is_bounded(part, false)),
            _ => return true,
        };
        let has_names = NAMING_KEYWORDS.iter().any(|name| members.contains_key(*name) && !(is_root && *name == "$id"));
        let count = if has_names { None } else { self.count_applied(schema, 0) };
        count.is_some_and(|count| count <= MAX_APPLIED)
            && members.iter().all(|(name, part)| match (name.as_str(), part) {
                ("const" | "enum" | "default" | "examples", _) => true,
                (name, Value::Object(parts)) if SCHEMA_MAP_KEYWORDS.contains(&name) => {
                    parts.values().all(|part| self.is_bounded(part, false))
                }
                _ => self.is_bounded(part, false),
            })
    }

    /// Returns the number of schemas that apply to a value of this schema, or `None` if it is infinite, too large or
    /// unknown. `depth` is the number of schemas and references that lead to this schema.
    fn count_applied(&mut self, schema: &'a Value, depth: usize) -> Option<usize> {
        let Value::Object(members) = schema else { return Some(1) };
        if depth > MAX_DEPTH {
            return None;
        }
        let lists = SCHEMA_LIST_KEYWORDS.iter().filter_map(|name| members.get(*name)?.as_array()).flatten();
        let single = SINGLE_SCHEMA_KEYWORDS.iter().filter_map(|name| members.get(*name));
        let dependent = members.get("dependentSchemas").and_then(Value::as_object).into_iter().flat_map(Map::values);
        let mut sum = 1_usize;
        for part in lists.chain(single).chain(dependent) {
            sum = sum.saturating_add(self.count_applied(part, depth + 1)?);
        }
        if let Some(Value::String(reference)) = members.get("$ref") {
            sum = sum.saturating_add(self.count_referenced(reference, depth + 1)?);
        }
        (sum <= MAX_APPLIED).then_some(sum)
    }

    fn count_referenced(&mut self, reference: &'a str, depth: usize) -> Option<usize> {
        // A reference to another document counts as one schema. The document is not fetched, so the schema has no validator.
        let Some(pointer) = reference.strip_prefix('#') else { return Some(1) };
        if let Some(count) = self.counts.get(reference) {
            return *count;
        }
        self.counts.insert(reference, None);
        let count = self.count_applied(self.root.pointer(pointer)?, depth)?;
        self.counts.insert(reference, Some(count));
        Some(count)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn has_validator(schema: &Value) -> bool {
        validator(schema.as_object().unwrap()).is_ok()
    }

    #[test]
    fn schemas_that_take_forever_have_no_validator() {
        let level = |number: usize| {
            let next = json!({ "$ref": format!("#/$defs/d{}", number + 1) });
            (format!("d{number}"), json!({ "allOf": [next, next] }))
        };
        let doubling_schema = |levels: usize| {
            let mut definitions: Map<_, _> = (0..levels).map(level).collect();
            definitions.insert(format!("d{levels}"), json!({}));
            json!({ "$ref": "#/$defs/d0", "$defs": definitions })
        };
        let chain_schema = |levels: usize| {
            let link = |number: usize| (format!("d{number}"), json!({ "$ref": format!("#/$defs/d{}", number + 1) }));
            let mut definitions: Map<_, _> = (0..levels).map(link).collect();
            definitions.insert(format!("d{levels}"), json!({}));
            json!({ "$ref": "#/$defs/d0", "$defs": definitions })
        };
        assert!(has_validator(&chain_schema(50)) && !has_validator(&chain_schema(20_000)));
        assert!(has_validator(&doubling_schema(8)));
        assert!(!has_validator(&doubling_schema(60)));
        assert!(!has_validator(&json!({ "$ref": "#" })));
        assert!(!has_validator(&json!({ "properties": { "a": { "anyOf": [{ "$ref": "#/properties/a" }] } } })));
        assert!(!has_validator(&json!({ "$defs": { "a": { "$anchor": "a", "$ref": "#a" } }, "$ref": "#a" })));
        assert!(!has_validator(&json!({ "$ref": "https://elsewhere.test/schema.json" })));
    }

    #[test]
    fn usual_schemas_have_a_validator() {
        let tree = json!({
            "$id": "https://a.test/tree", "type": "object", "$defs": { "node": {
                "type": "object", "properties": { "children": { "type": "array", "items": { "$ref": "#/$defs/node" } } },
            } },
            "properties": { "root": { "$ref": "#/$defs/node" }, "$ref": { "type": "string" } },
        });
        assert!(has_validator(&tree));
        let value = json!({ "root": { "children": [{ "children": 7 }] } });
        assert!(!validator(tree.as_object().unwrap()).unwrap().is_valid(&value));
    }
}
