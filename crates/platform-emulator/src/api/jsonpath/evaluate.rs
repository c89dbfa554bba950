//! Evaluation of an expression on a document.

use std::borrow::Cow;
use std::cmp;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use super::{Comparison, Index, JsonPath, Node, Step};

/// The values that a node yields, in order.
type Sequence<'a> = Vec<Cow<'a, Value>>;

/// The maximum number of values that a step may yield. Without a limit, `$.**.**.**` could exhaust the memory.
const MAX_VALUES: usize = 100_000;

/// The error of an evaluation: a missing value in strict mode, too many values, or an exhausted budget.
struct Missing;

struct Evaluation<'a> {
    strict: bool,
    root: &'a Value,
    budget: &'a AtomicUsize,
}

pub(super) fn exists(path: &JsonPath, document: &Value) -> bool {
    let evaluation = Evaluation { strict: path.strict, root: document, budget: &path.budget };
    evaluation.sequence(&path.root, document).is_ok_and(|sequence| !sequence.is_empty())
}

impl<'a> Evaluation<'a> {
    /// Reduces the budget. Returns an error if it is exhausted.
    fn spend(&self, work: usize) -> Result<(), Missing> {
        let left = self.budget.load(Ordering::Relaxed).saturating_sub(work);
        self.budget.store(left, Ordering::Relaxed);
        if left == 0 { Err(Missing) } else { Ok(()) }
    }

    fn sequence(&self, node: &'a Node, current: &'a Value) -> Result<Sequence<'a>, Missing> {
        match node {
            Node::Root => Ok(vec![Cow::Borrowed(self.root)]),
            Node::Current => Ok(vec![Cow::Borrowed(current)]),
            Node::Literal(value) => Ok(vec![Cow::Borrowed(value)]),
            Node::Path(start, steps) => {
                let start = self.sequence(start, current)?;
                steps.iter().try_fold(start, |sequence, step| self.step(step, sequence))
            }
            // An unknown truth value becomes null.
            condition => Ok(vec![Cow::Owned(self.holds(condition, current).into())]),
        }
    }

    fn step(&self, step: &'a Step, from: Sequence<'a>) -> Result<Sequence<'a>, Missing> {
        let mut found = Vec::new();
        for value in from {
            self.spend(1)?;
            match value {
                Cow::Borrowed(value) => self.follow(step, value, &mut found)?,
                // Computed values (sizes, types, truth values) have no members. Only filters apply to them.
                Cow::Owned(value) => {
                    if matches!(step, Step::Filter(condition) if self.holds_of(condition, &value)) {
                        found.push(Cow::Owned(value));
                    }
                }
            }
        }
        self.spend(found.len())?;
        if found.len() > MAX_VALUES { Err(Missing) } else { Ok(found) }
    }

    fn follow(&self, step: &'a Step, value: &'a Value, found: &mut Sequence<'a>) -> Result<(), Missing> {
        match (step, value) {
            (Step::Member(name), Value::Object(members)) => match members.get(name) {
                Some(member) => found.push(Cow::Borrowed(member)),
                None => self.missing()?,
            },
            (Step::AnyMember, Value::Object(members)) => found.extend(members.values().map(Cow::Borrowed)),
            // Lax mode unwraps arrays.
            (Step::Member(_) | Step::AnyMember, Value::Array(elements)) if !self.strict => {
                let objects = elements.iter().filter(|element| element.is_object());
                objects.into_iter().try_for_each(|element| self.follow(step, element, found))?;
            }
            (Step::Filter(_), Value::Array(elements)) if !self.strict => {
                found.extend(elements.iter().filter(|element| self.passes(step, element)).map(Cow::Borrowed));
            }
            (Step::Filter(_), _) => found.extend(self.passes(step, value).then_some(Cow::Borrowed(value))),
            (Step::Descendants, _) => descend(value, found),
            (Step::AnyElement, Value::Array(elements)) => found.extend(elements.iter().map(Cow::Borrowed)),
            (Step::Elements(first, last), Value::Array(elements)) => self.slice(*first, *last, elements, found)?,
            // Lax mode wraps other values in an array.
            (Step::AnyElement | Step::Elements(Index::At(0) | Index::Last, _), _) if !self.strict => {
                found.push(Cow::Borrowed(value));
            }
            (Step::Size, Value::Array(elements)) => found.push(Cow::Owned(elements.len().into())),
            (Step::Size, _) if !self.strict => found.push(Cow::Owned(1.into())),
            (Step::Type, _) => found.push(Cow::Owned(type_name(value).into())),
            _ => self.missing()?,
        }
        Ok(())
    }

    fn missing(&self) -> Result<(), Missing> {
        if self.strict { Err(Missing) } else { Ok(()) }
    }

    fn slice(&self, first: Index, last: Index, elements: &'a [Value], found: &mut Sequence<'a>) -> Result<(), Missing> {
        let position = |index| match index {
            Index::At(index) => index,
            Index::Last => elements.len().saturating_sub(1),
        };
        let (first, last) = (position(first), position(last));
        let end = last.saturating_add(1).min(elements.len());
        if last >= elements.len() || first > last {
            self.missing()?;
        }
        found.extend(elements.get(first..end).unwrap_or_default().iter().map(Cow::Borrowed));
        Ok(())
    }

    fn passes(&self, filter: &'a Step, value: &'a Value) -> bool {
        self.spend(1).is_ok() && matches!(filter, Step::Filter(condition) if self.holds(condition, value) == Some(true))
    }

    /// Evaluates a condition on a computed value.
    fn holds_of(&self, condition: &Node, value: &Value) -> bool {
        Evaluation { strict: self.strict, root: self.root, budget: self.budget }.holds(condition, value) == Some(true)
    }

    /// Evaluates a condition. `None` means unknown.
    fn holds(&self, condition: &'a Node, current: &'a Value) -> Option<bool> {
        match condition {
            Node::Not(inner) => self.holds(inner, current).map(|holds| !holds),
            Node::And(parts) => all(parts.iter().map(|part| self.holds(part, current)), false),
            Node::Or(parts) => all(parts.iter().map(|part| self.holds(part, current)), true),
            Node::IsUnknown(inner) => Some(self.holds(inner, current).is_none()),
            Node::Exists(inner) => Some(!self.sequence(inner, current).ok()?.is_empty()),
            Node::Compare(comparison, left, right) => {
                let (left, right) = (self.operands(left, current)?, self.operands(right, current)?);
                self.spend(left.len().saturating_mul(right.len())).ok()?;
                let pairs = left.iter().flat_map(|left| right.iter().map(move |right| (left, right)));
                any(pairs.map(|(left, right)| compare(*comparison, left, right)))
            }
            Node::StartsWith(of, start) => {
                any(self.operands(of, current)?.iter().map(|value| Some(value.as_str()?.starts_with(start))))
            }
            Node::LikeRegex(of, regex) => {
                any(self.operands(of, current)?.iter().map(|value| Some(regex.is_match(value.as_str()?))))
            }
            // A value used as a condition.
            value => self.sequence(value, current).ok()?.first()?.as_bool(),
        }
    }

    /// Returns the values to compare. Lax mode unwraps arrays.
    fn operands(&self, node: &'a Node, current: &'a Value) -> Option<Sequence<'a>> {
        let sequence = self.sequence(node, current).ok()?;
        let unwrapped = sequence.into_iter().flat_map(|value| match value {
            Cow::Borrowed(Value::Array(elements)) if !self.strict => elements.iter().map(Cow::Borrowed).collect(),
            other => vec![other],
        });
        let unwrapped: Sequence<'_> = unwrapped.collect();
        self.spend(unwrapped.len()).ok()?;
        Some(unwrapped)
    }
}

/// Combines truth values in three-valued logic, where `None` means unknown. Returns `decisive` if any part is
/// `decisive`. Otherwise returns unknown if any part is unknown, and the opposite of `decisive` if none is.
fn all(parts: impl Iterator<Item = Option<bool>>, decisive: bool) -> Option<bool> {
    let mut outcome = Some(!decisive);
    for part in parts {
        match part {
            Some(value) if value == decisive => return Some(decisive),
            Some(_) => {}
            None => outcome = None,
        }
    }
    outcome
}

/// Returns true if any pair matches. Otherwise returns unknown if some pairs are not comparable, and false if all are.
fn any(pairs: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    all(pairs, true)
}

fn compare(comparison: Comparison, left: &Value, right: &Value) -> Option<bool> {
    let order = match (left, right) {
        (Value::Null, Value::Null) => cmp::Ordering::Equal,
        // Null is unequal to all other values, and not ordered.
        (Value::Null, _) | (_, Value::Null) => return Some(matches!(comparison, Comparison::NotEqual)),
        (Value::Bool(left), Value::Bool(right)) => left.cmp(right),
        (Value::String(left), Value::String(right)) => left.cmp(right),
        (Value::Number(left), Value::Number(right)) => left.as_f64()?.partial_cmp(&right.as_f64()?)?,
        _ => return None,
    };
    Some(match comparison {
        Comparison::Equal => order.is_eq(),
        Comparison::NotEqual => order.is_ne(),
        Comparison::Less => order.is_lt(),
        Comparison::LessOrEqual => order.is_le(),
        Comparison::Greater => order.is_gt(),
        Comparison::GreaterOrEqual => order.is_ge(),
    })
}

fn descend<'a>(value: &'a Value, found: &mut Sequence<'a>) {
    found.push(Cow::Borrowed(value));
    match value {
        Value::Array(elements) => elements.iter().for_each(|element| descend(element, found)),
        Value::Object(members) => members.values().for_each(|member| descend(member, found)),
        _ => {}
    }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
