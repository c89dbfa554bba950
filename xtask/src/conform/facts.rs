//! The facts of an OpenAPI document: its meaning for requests and responses, as lines `address = value`. Descriptions, titles,
//! examples and the names of schemas are not facts. Any other unknown member is an error with its address.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value};

/// The facts of a document, by their addresses.
#[derive(Default)]
pub(crate) struct Facts(BTreeMap<String, String>);

/// A fact in which two documents differ. A fact without a value is absent.
#[derive(Debug)]
pub(crate) struct Difference {
    pub(crate) address: String,
    pub(crate) before: Option<String>,
    pub(crate) after: Option<String>,
}

const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];
/// Members that do not change the meaning of a document.
const ANNOTATIONS: [&str; 7] = ["title", "description", "summary", "examples", "example", "tags", "operationId"];
/// Keywords of JSON Schema whose value is a fact.
const KEYWORDS: [&str; 15] = [
    "format",
    "pattern",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "uniqueItems",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "default",
    "const",
    "contentMediaType",
    "readOnly",
];
/// The maximum depth of nested schemas. It limits schemas that refer to themselves.
const MAX_SCHEMA_DEPTH: usize = 16;

impl Facts {
    pub(crate) fn of(document: &Value) -> Result<Self> {
        let mut facts = Reader { document, facts: Self::default() };
        let prefix = document["servers"][0]["url"].as_str().context("servers: no URL")?;
        facts.set("server", &prefix);
        for (path, item) in object(&document["paths"], "paths")? {
            for (method, operation) in object(item, path)? {
                let address = format!("{} {path}", method.to_uppercase());
                ensure!(METHODS.contains(&method.as_str()), "{address}: unknown");
                facts.operation(&address, operation)?;
            }
        }
        Ok(facts.facts)
    }

    pub(crate) fn parse(text: &str) -> Result<Self> {
        let lines = text.lines().enumerate().map(|(number, line)| {
            let (address, value) =
                line.split_once(" = ").with_context(|| format!("line {}: not a fact", number + 1))?;
            Ok((address.to_owned(), value.to_owned()))
        });
        lines.collect::<Result<_>>().map(Self)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns the facts in which `after` differs, in the order of the addresses.
    pub(crate) fn differences(&self, after: &Self) -> Vec<Difference> {
        let addresses: BTreeSet<_> = self.0.keys().chain(after.0.keys()).collect();
        let differences = addresses.into_iter().map(|address| Difference {
            address: address.clone(),
            before: self.0.get(address).cloned(),
            after: after.0.get(address).cloned(),
        });
        differences.filter(|difference| difference.before != difference.after).collect()
    }
}

impl fmt::Display for Facts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(address, value)| writeln!(formatter, "{address} = {value}"))
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value_or_nothing = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
        write!(formatter, "{}: {} → {}", self.address, value_or_nothing(&self.before), value_or_nothing(&self.after))
    }
}

struct Reader<'a> {
    document: &'a Value,
    facts: Facts,
}

impl<'a> Reader<'a> {
    fn set(&mut self, address: &str, value: &impl ToString) {
        // Alternatives share an address, and each has its own value.
        let value = value.to_string();
        let entry = self.facts.0.entry(address.to_owned()).or_insert_with(|| value.clone());
        if !entry.split(" | ").any(|known| known == value) {
            *entry = format!("{entry} | {value}");
        }
    }

    fn operation(&mut self, address: &str, operation: &'a Value) -> Result<()> {
        let secured = operation.get("security").and_then(Value::as_array).is_some_and(|schemes| !schemes.is_empty());
        self.set(&format!("{address} security"), &secured);
        for (name, value) in object(operation, address)? {
            match name.as_str() {
                "parameters" => {
                    for parameter in array(value, address)? {
                        self.parameter(address, parameter)?;
                    }
                }
                "requestBody" => self.body(&format!("{address} body"), value)?,
                "responses" => {
                    for (status, response) in object(value, address)? {
                        self.response(&format!("{address} {status}"), response)?;
                    }
                }
                "deprecated" => self.set(&format!("{address} deprecated"), value),
                "security" => {}
                name => ensure_annotation(name, address)?,
            }
        }
        Ok(())
    }

    fn parameter(&mut self, operation: &str, parameter: &'a Value) -> Result<()> {
        let (location, name) = (text(parameter, "in", operation)?, text(parameter, "name", operation)?);
        let address = format!("{operation} {location} {name}");
        self.set(&format!("{address} required"), &parameter["required"].as_bool().unwrap_or(false));
        for (key, value) in object(parameter, &address)? {
            match key.as_str() {
                "schema" => self.schema(&address, value, 0)?,
                "in" | "name" | "required" => {}
                key => ensure_annotation(key, &address)?,
            }
        }
        Ok(())
    }

    fn body(&mut self, address: &str, body: &'a Value) -> Result<()> {
        self.set(&format!("{address} required"), &body["required"].as_bool().unwrap_or(false));
        for (key, value) in object(body, address)? {
            match key.as_str() {
                "content" => self.content(address, value)?,
                "required" => {}
                key => ensure_annotation(key, address)?,
            }
        }
        Ok(())
    }

    fn response(&mut self, address: &str, response: &'a Value) -> Result<()> {
        self.set(address, &"declared");
        for (key, value) in object(response, address)? {
            match key.as_str() {
                "content" => self.content(address, value)?,
                key => ensure_annotation(key, address)?,
            }
        }
        Ok(())
    }

    fn content(&mut self, address: &str, content: &'a Value) -> Result<()> {
        for (kind, media) in object(content, address)? {
            self.set(&format!("{address} content"), kind);
            for (key, value) in object(media, address)? {
                match key.as_str() {
                    "schema" => self.schema(address, value, 0)?,
                    key => ensure_annotation(key, address)?,
                }
            }
        }
        Ok(())
    }

    fn schema(&mut self, address: &str, schema: &'a Value, depth: usize) -> Result<()> {
        ensure!(depth < MAX_SCHEMA_DEPTH, "{address}: nested too deeply");
        let mut type_names = BTreeSet::new();
        self.alternative(address, schema, depth, &mut type_names)?;
        if type_names.is_empty() {
            type_names.insert("any".to_owned());
        }
        self.set(&format!("{address} type"), &type_names.into_iter().collect::<Vec<_>>().join(" or "));
        Ok(())
    }

    /// Adds all facts of a schema except its type. The caller joins the types of all alternatives of an `anyOf`.
    fn alternative(
        &mut self,
        address: &str,
        schema: &'a Value,
        depth: usize,
        type_names: &mut BTreeSet<String>,
    ) -> Result<()> {
        let document = self.document;
        let required: Vec<_> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        for (key, value) in object(schema, address)? {
            match key.as_str() {
                "$ref" => {
                    let target = value.as_str().and_then(|text| document.pointer(text.strip_prefix('#')?));
                    let target = target.with_context(|| format!("{address}: unresolved reference {value}"))?;
                    self.alternative(address, target, depth + 1, type_names)?;
                }
                "anyOf" => {
                    for alternative in array(value, address)? {
                        self.alternative(address, alternative, depth + 1, type_names)?;
                    }
                }
                "type" => match value {
                    Value::String(kind) => type_names.extend([kind.clone()]),
                    several => {
                        type_names.extend(array(several, address)?.iter().filter_map(Value::as_str).map(str::to_owned));
                    }
                },
                "properties" => {
                    for (name, property) in object(value, address)? {
                        let property_address = format!("{address}.{name}");
                        self.set(&format!("{property_address} required"), &required.contains(&name.as_str()));
                        self.schema(&property_address, property, depth + 1)?;
                    }
                }
                "items" => self.schema(&format!("{address}[]"), value, depth + 1)?,
                "enum" => {
                    let values: BTreeSet<_> = array(value, address)?.iter().map(Value::to_string).collect();
                    self.set(&format!("{address} enum"), &values.into_iter().collect::<Vec<_>>().join(" "));
                }
                // JSON Schema allows additional properties by default.
                "additionalProperties" if value == &Value::Bool(true) => {}
                "additionalProperties" if value == &Value::Bool(false) => {
                    self.set(&format!("{address} additionalProperties"), &false);
                }
                "additionalProperties" => self.schema(&format!("{address}.*"), value, depth + 1)?,
                "deprecated" if value == &Value::Bool(true) => self.set(&format!("{address} deprecated"), &true),
                "required" | "deprecated" => {}
                keyword if KEYWORDS.contains(&keyword) => self.set(&format!("{address} {keyword}"), value),
                key => ensure_annotation(key, address)?,
            }
        }
        for name in required {
            ensure!(schema["properties"].get(name).is_some(), "{address}: {name} is required but not a property");
        }
        Ok(())
    }
}

fn ensure_annotation(key: &str, address: &str) -> Result<()> {
    ensure!(ANNOTATIONS.contains(&key) || key.starts_with("x-"), "{address}: `{key}` is not supported");
    Ok(())
}

fn object<'a>(value: &'a Value, address: &str) -> Result<&'a Map<String, Value>> {
    value.as_object().with_context(|| format!("{address}: not an object"))
}

fn array<'a>(value: &'a Value, address: &str) -> Result<&'a Vec<Value>> {
    value.as_array().with_context(|| format!("{address}: not an array"))
}

fn text<'a>(value: &'a Value, name: &str, address: &str) -> Result<&'a str> {
    match value[name].as_str() {
        Some(text) => Ok(text),
        None => bail!("{address}: no `{name}`"),
    }
}
