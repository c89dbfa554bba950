//! The parts of the OpenAPI document that the generated code needs.

use anyhow::{Context, Result, bail, ensure};
use indexmap::IndexSet;

use super::document::{self, Document, Kind, ParameterLocation, Schema};

pub(crate) struct Model {
    pub(crate) types: Vec<NamedType>,
    pub(crate) operations: Vec<Operation>,
}

pub(crate) struct NamedType {
    pub(crate) name: String,
    pub(crate) doc: String,
    pub(crate) shape: Shape,
}

pub(crate) enum Shape {
    /// A string for which a separate Rust type is generated.
    Text,
    /// One of these strings, or an unknown string of a newer server.
    Enum(Vec<String>),
    Struct {
        role: Role,
        fields: Vec<Field>,
    },
}

/// The direction in which a value of a type is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Request,
    Response,
    Both,
}

pub(crate) struct Field {
    /// The name on the wire.
    pub(crate) name: String,
    pub(crate) doc: String,
    pub(crate) ty: FieldType,
    /// True if the sender may omit the field.
    pub(crate) optional: bool,
    pub(crate) deprecated: bool,
}

#[derive(Clone, PartialEq, Eq)]
pub(crate) enum FieldType {
    Text,
    Secret,
    Timestamp,
    Integer,
    Boolean,
    /// Any JSON object.
    Object,
    /// Any JSON value.
    Any,
    List(Box<FieldType>),
    Nullable(Box<FieldType>),
    /// A value for which absence, `null` and a value have different meanings.
    Patch(Box<FieldType>),
    Named(String),
}

pub(crate) struct Operation {
    pub(crate) id: String,
    pub(crate) method: &'static str,
    pub(crate) template: String,
    pub(crate) summary: String,
    pub(crate) description: String,
    pub(crate) path: Vec<Field>,
    pub(crate) query: Vec<Field>,
    pub(crate) body: Option<FieldType>,
    pub(crate) success: u16,
    pub(crate) output: Output,
    /// The status and the description of every declared error response.
    pub(crate) errors: Vec<(u16, String)>,
}

pub(crate) enum Output {
    Json(FieldType),
    Redirect,
    /// The response has no body, or the document declares no type for it.
    Empty,
}

impl Model {
    pub(crate) fn of(document: &Document) -> Result<Self> {
        let prefix = &document.servers[0].url;
        let mut operations = Vec::new();
        for (path, item) in &document.paths {
            for (method, operation) in
                [("Get", &item.get), ("Post", &item.post), ("Put", &item.put), ("Delete", &item.delete)]
            {
                if let Some(operation) = operation {
                    let template = format!("{prefix}{path}");
                    operations
                        .push(Operation::of(method, template, operation).with_context(|| format!("{method} {path}"))?);
                }
            }
        }
        let mut ids = IndexSet::new();
        for operation in &operations {
            ensure!(ids.insert(&operation.id), "two operations are called {}", operation.id);
        }
        let requests = reachable(document, operations.iter().filter_map(|operation| operation.body.as_ref()));
        let responses = reachable(document, operations.iter().filter_map(Operation::response));
        let mut types = Vec::new();
        for (name, schema) in &document.components.schemas {
            let role = match (requests.contains(name), responses.contains(name)) {
                (true, true) => Role::Both,
                (true, false) => Role::Request,
                (false, _) => Role::Response,
            };
            types.push(NamedType::of(name, schema, role).with_context(|| format!("components.schemas.{name}"))?);
        }
        let mut model = Self { types, operations };
        model.describe_references(document);
        Ok(model)
    }

    /// Gives each field without a description the description of its type.
    fn describe_references(&mut self, document: &Document) {
        let fields_of_types = self.types.iter_mut().filter_map(|ty| match &mut ty.shape {
            Shape::Struct { fields, .. } => Some(fields),
            _ => None,
        });
        let fields_of_operations = self.operations.iter_mut().map(|operation| &mut operation.path);
        for field in fields_of_types.chain(fields_of_operations).flatten().filter(|field| field.doc.is_empty()) {
            let schema = field.ty.schema_name().and_then(|name| document.components.schemas.get(&name));
            field.doc = schema.and_then(|schema| schema.description.clone()).unwrap_or_default();
        }
    }
}

/// Returns the names of all schemas that a value of one of `roots` can contain.
fn reachable<'a>(document: &Document, roots: impl Iterator<Item = &'a FieldType>) -> IndexSet<String> {
    let mut names: IndexSet<String> = roots.filter_map(FieldType::schema_name).collect();
    let mut next = 0;
    while let Some(name) = names.get_index(next).cloned() {
        let properties = document.components.schemas.get(&name).and_then(|schema| schema.properties.as_ref());
        for schema in properties.into_iter().flat_map(|properties| properties.values()) {
            names.extend(FieldType::of(schema).ok().as_ref().and_then(FieldType::schema_name));
        }
        next += 1;
    }
    names
}

impl Operation {
    fn of(method: &'static str, template: String, operation: &document::Operation) -> Result<Self> {
        let fields = |location| {
            let parameters = operation.parameters.iter().filter(move |parameter| parameter.location == location);
            parameters.map(Field::of_parameter).collect::<Result<Vec<_>>>()
        };
        let mut errors = Vec::new();
        let mut successes = Vec::new();
        for (status, response) in &operation.responses {
            let status: u16 = status.parse().with_context(|| format!("status {status}"))?;
            match (status, &response.content) {
                (200..=299, Some(content)) => {
                    let output = match FieldType::of(&content.json.schema)? {
                        FieldType::Any => Output::Empty,
                        ty => Output::Json(ty),
                    };
                    successes.push((status, output));
                }
                (307, None) => successes.push((status, Output::Redirect)),
                (400..=499, _) => errors.push((status, response.description.clone())),
                _ => bail!("unsupported {status} response"),
            }
        }
        // The last response is used. If the document declares a redirect after a direct response, the platform sends the
        // redirect.
        let (success, output) = successes.pop().context("no successful response is declared")?;
        let body = operation.request_body.as_ref().map(|body| FieldType::of(&body.content.json.schema)).transpose()?;
        Ok(Self {
            id: operation.id.clone(),
            method,
            template,
            summary: operation.summary.clone(),
            description: operation.description.clone(),
            path: fields(ParameterLocation::Path)?,
            query: fields(ParameterLocation::Query)?,
            body,
            success,
            output,
            errors,
        })
    }

    fn response(&self) -> Option<&FieldType> {
        match &self.output {
            Output::Json(ty) => Some(ty),
            Output::Redirect | Output::Empty => None,
        }
    }
}

impl NamedType {
    fn of(name: &str, schema: &Schema, role: Role) -> Result<Self> {
        let shape = match (FieldType::of(schema), &schema.values, &schema.properties) {
            (Ok(FieldType::Text), Some(values), None) => Shape::Enum(values.clone()),
            (Ok(FieldType::Text), None, None) => Shape::Text,
            (_, None, Some(properties)) => {
                let required = schema.required.as_deref().unwrap_or_default();
                for name in required {
                    ensure!(properties.contains_key(name), "{name} is required but not a property");
                }
                let fields = properties.iter().map(|(name, schema)| Field::of(name, schema, !required.contains(name)));
                Shape::Struct { role, fields: fields.collect::<Result<_>>()? }
            }
            _ => bail!("unsupported named schema: only strings, enums and objects with properties are supported"),
        };
        let doc = schema.description.clone().context("no description")?;
        Ok(Self { name: name.to_owned(), doc, shape })
    }
}

impl Field {
    fn of(name: &str, schema: &Schema, optional: bool) -> Result<Self> {
        let ty = FieldType::of(schema).with_context(|| format!("property {name}"))?;
        let doc = with_limits(schema.description.as_deref(), schema);
        Ok(Self { name: name.to_owned(), doc, ty, optional, deprecated: schema.deprecated })
    }

    fn of_parameter(parameter: &document::Parameter) -> Result<Self> {
        let optional = parameter.location == ParameterLocation::Query;
        let mut field = Self::of(&parameter.name, &parameter.schema, optional)?;
        field.doc = with_limits(parameter.description.as_deref(), &parameter.schema);
        if parameter.secret {
            field.ty = FieldType::Secret;
        }
        Ok(field)
    }
}

impl FieldType {
    fn of(schema: &Schema) -> Result<Self> {
        if let Some(reference) = &schema.reference {
            let name = reference
                .strip_prefix("#/components/schemas/")
                .context("a reference must begin with #/components/schemas/")?;
            return Ok(Self::Named(name.to_owned()));
        }
        if let Some(alternatives) = &schema.any_of {
            return Self::of_alternatives(alternatives);
        }
        let (kind, nullable) = match &schema.kind {
            None => return Ok(Self::Any),
            Some(Kind::One(kind)) => (kind.as_str(), false),
            Some(Kind::Several(kinds)) => match kinds.as_slice() {
                [kind, null] if null == "null" => (kind.as_str(), true),
                _ => bail!("unsupported list of types: only `[…, \"null\"]` is supported"),
            },
        };
        let ty = match (kind, schema.format.as_deref()) {
            ("string", _) if schema.secret => Self::Secret,
            ("string", Some("date-time")) => Self::Timestamp,
            ("string", None | Some("uuid" | "uri")) => Self::Text,
            ("integer", None) => Self::Integer,
            ("boolean", None) => Self::Boolean,
            ("object", None) if schema.additional_properties != Some(false) => Self::Object,
            ("array", None) => {
                Self::List(Box::new(Self::of(schema.items.as_ref().context("an array without items")?)?))
            }
            (kind, format) => bail!("unsupported type {kind} with format {format:?}"),
        };
        Ok(match (nullable, schema.nullable) {
            (true, true) => Self::Patch(Box::new(ty)),
            (true, false) => Self::Nullable(Box::new(ty)),
            (false, false) => ty,
            (false, true) => bail!("`x-sdk-nullable` requires a nullable type"),
        })
    }

    fn of_alternatives(alternatives: &[Schema]) -> Result<Self> {
        let is_null = |schema: &Schema| matches!(&schema.kind, Some(Kind::One(kind)) if kind == "null");
        match alternatives {
            [schema, null] if is_null(null) => Ok(Self::Nullable(Box::new(Self::of(schema)?))),
            // A union of plain values, for example of names and indices.
            _ if alternatives.iter().all(|schema| schema.reference.is_none()) => Ok(Self::Any),
            _ => bail!("unsupported `anyOf`: only `[…, null]` and unions of plain values are supported"),
        }
    }

    /// Returns the name of the schema to which this type refers, directly or as its inner type.
    fn schema_name(&self) -> Option<String> {
        match self {
            Self::Named(name) => Some(name.clone()),
            Self::List(inner) | Self::Nullable(inner) | Self::Patch(inner) => inner.schema_name(),
            _ => None,
        }
    }
}

fn with_limits(description: Option<&str>, schema: &Schema) -> String {
    let mut sentences: Vec<String> = description.map(str::to_owned).into_iter().collect();
    let mut add_sentence = |text: String| sentences.push(text);
    if let Some(min) = schema.min_items {
        add_sentence(format!("At least {min}."));
    }
    match (schema.min_length, schema.max_length) {
        (Some(min), Some(max)) => add_sentence(format!("{min} to {max} characters.")),
        (None, Some(max)) => add_sentence(format!("At most {max} characters.")),
        (Some(min), None) => add_sentence(format!("At least {min} characters.")),
        (None, None) => {}
    }
    match (schema.minimum, schema.maximum) {
        (Some(min), Some(max)) => add_sentence(format!("{min} to {max}.")),
        (Some(min), None) => add_sentence(format!("At least {min}.")),
        _ => {}
    }
    if let Some(default) = schema.default {
        add_sentence(format!("Default: {default}."));
    }
    sentences.join(" ")
}
