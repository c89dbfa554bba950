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

/// The error of an evaluation: a value is missing in strict mode, a step yields too many values, or the budget is
/// exhausted.
struct EvaluationError;

struct Evaluation<'a> {
    strict: bool,
    root: &'a Value,
    budget: &'a AtomicUsize,
}

pub(super) fn exists(path: &JsonPath, document: &Value) -> bool {
    let evaluation = Evaluation { strict: path.strict, root: document, budget: &path.budget };
    evaluation.evaluate(&path.root, document).is_ok_and(|values| !values.is_empty())
}

impl<'a> Evaluation<'a> {
    /// Subtracts a number of examined values from the budget. Returns an error if the budget is exhausted.
    fn spend_budget(&self, values: usize) -> Result<(), EvaluationError> {
        let remaining = self.budget.load(Ordering::Relaxed).saturating_sub(values);
        self.budget.store(remaining, Ordering::Relaxed);
        if remaining == 0 { Err(EvaluationError) } else { Ok(()) }
    }

    fn evaluate(&self, node: &'a Node, current: &'a Value) -> Result<Sequence<'a>, EvaluationError> {
        match node {
            Node::Root => Ok(vec![Cow::Borrowed(self.root)]),
            Node::Current => Ok(vec![Cow::Borrowed(current)]),
            Node::Literal(value) => Ok(vec![Cow::Borrowed(value)]),
            Node::Path(start, steps) => {
                let start = self.evaluate(start, current)?;
                steps.iter().try_fold(start, |values, step| self.apply_step(step, values))
            }
            // The truth value unknown becomes null.
            condition => Ok(vec![Cow::Owned(self.evaluate_condition(condition, current).into())]),
        }
    }

    fn apply_step(&self, step: &'a Step, inputs: Sequence<'a>) -> Result<Sequence<'a>, EvaluationError> {
        let mut outputs = Vec::new();
        for value in inputs {
            self.spend_budget(1)?;
            match value {
                Cow::Borrowed(value) => self.apply_step_to_value(step, value, &mut outputs)?,
                // Computed values (sizes, types, truth values) have no members. Only filters apply to them.
                Cow::Owned(value) => {
                    if matches!(step, Step::Filter(condition) if self.holds_for_computed_value(condition, &value)) {
                        outputs.push(Cow::Owned(value));
                    }
                }
            }
        }
        self.spend_budget(outputs.len())?;
        if outputs.len() > MAX_VALUES { Err(EvaluationError) } else { Ok(outputs) }
    }

    fn apply_step_to_value(
        &self,
        step: &'a Step,
        value: &'a Value,
        outputs: &mut Sequence<'a>,
    ) -> Result<(), EvaluationError> {
        match (step, value) {
            (Step::Member(name), Value::Object(members)) => match members.get(name) {
                Some(member) => outputs.push(Cow::Borrowed(member)),
                None => self.check_missing()?,
            },
            (Step::AnyMember, Value::Object(members)) => outputs.extend(members.values().map(Cow::Borrowed)),
            // Lax mode unwraps arrays.
            (Step::Member(_) | Step::AnyMember, Value::Array(elements)) if !self.strict => {
                let objects = elements.iter().filter(|element| element.is_object());
                objects.into_iter().try_for_each(|element| self.apply_step_to_value(step, element, outputs))?;
            }
            (Step::Filter(_), Value::Array(elements)) if !self.strict => {
                outputs.extend(elements.iter().filter(|element| self.passes_filter(step, element)).map(Cow::Borrowed));
            }
            (Step::Filter(_), _) => outputs.extend(self.passes_filter(step, value).then_some(Cow::Borrowed(value))),
            (Step::Descendants, _) => collect_descendants(value, outputs),
            (Step::AnyElement, Value::Array(elements)) => outputs.extend(elements.iter().map(Cow::Borrowed)),
            (Step::Elements(first, last), Value::Array(elements)) => self.slice(*first, *last, elements, outputs)?,
            // Lax mode wraps other values in an array.
            (Step::AnyElement | Step::Elements(Index::At(0) | Index::Last, _), _) if !self.strict => {
                outputs.push(Cow::Borrowed(value));
            }
            (Step::Size, Value::Array(elements)) => outputs.push(Cow::Owned(elements.len().into())),
            (Step::Size, _) if !self.strict => outputs.push(Cow::Owned(1.into())),
            (Step::Type, _) => outputs.push(Cow::Owned(type_name(value).into())),
            _ => self.check_missing()?,
        }
        Ok(())
    }

    /// Handles a missing value, which is an error only in strict mode.
    fn check_missing(&self) -> Result<(), EvaluationError> {
        if self.strict { Err(EvaluationError) } else { Ok(()) }
    }

    fn slice(
        &self,
        first: Index,
        last: Index,
        elements: &'a [Value],
        outputs: &mut Sequence<'a>,
    ) -> Result<(), EvaluationError> {
        let resolve = |index| match index {
            Index::At(index) => index,
            Index::Last => elements.len().saturating_sub(1),
        };
        let (first, last) = (resolve(first), resolve(last));
        let end = last.saturating_add(1).min(elements.len());
        if last >= elements.len() || first > last {
            self.check_missing()?;
        }
        outputs.extend(elements.get(first..end).unwrap_or_default().iter().map(Cow::Borrowed));
        Ok(())
    }

    fn passes_filter(&self, filter: &'a Step, value: &'a Value) -> bool {
        self.spend_budget(1).is_ok()
            && matches!(filter, Step::Filter(condition) if self.evaluate_condition(condition, value) == Some(true))
    }

    /// Evaluates a condition on a computed value.
    fn holds_for_computed_value(&self, condition: &Node, value: &Value) -> bool {
        Evaluation { strict: self.strict, root: self.root, budget: self.budget }.evaluate_condition(condition, value)
            == Some(true)
    }

    /// Evaluates a condition. `None` means unknown.
    fn evaluate_condition(&self, condition: &'a Node, current: &'a Value) -> Option<bool> {
        match condition {
            Node::Not(inner) => self.evaluate_condition(inner, current).map(|is_true| !is_true),
            Node::And(parts) => combine(parts.iter().map(|part| self.evaluate_condition(part, current)), false),
            Node::Or(parts) => combine(parts.iter().map(|part| self.evaluate_condition(part, current)), true),
            Node::IsUnknown(inner) => Some(self.evaluate_condition(inner, current).is_none()),
            Node::Exists(inner) => Some(!self.evaluate(inner, current).ok()?.is_empty()),
            Node::Compare(comparison, left, right) => {
                let (left, right) = (self.operands(left, current)?, self.operands(right, current)?);
                self.spend_budget(left.len().saturating_mul(right.len())).ok()?;
                let pairs = left.iter().flat_map(|left| right.iter().map(move |right| (left, right)));
                any_is_true(pairs.map(|(left, right)| compare(*comparison, left, right)))
            }
            Node::StartsWith(operand, prefix) => any_is_true(
                self.operands(operand, current)?.iter().map(|value| Some(value.as_str()?.starts_with(prefix))),
            ),
            Node::LikeRegex(operand, regex) => {
                any_is_true(self.operands(operand, current)?.iter().map(|value| Some(regex.is_match(value.as_str()?))))
            }
            // A value that is used as a condition.
            value => self.evaluate(value, current).ok()?.first()?.as_bool(),
        }
    }

    /// Returns the values to compare. Lax mode unwraps arrays.
    fn operands(&self, node: &'a Node, current: &'a Value) -> Option<Sequence<'a>> {
        let values = self.evaluate(node, current).ok()?;
        let unwrapped = values.into_iter().flat_map(|value| match value {
            Cow::Borrowed(Value::Array(elements)) if !self.strict => elements.iter().map(Cow::Borrowed).collect(),
            other => vec![other],
        });
        let unwrapped: Sequence<'_> = unwrapped.collect();
        self.spend_budget(unwrapped.len()).ok()?;
        Some(unwrapped)
    }
}

/// Combines truth values in three-valued logic, where `None` means unknown: with `decisive` false like AND, with
/// `decisive` true like OR.
fn combine(parts: impl Iterator<Item = Option<bool>>, decisive: bool) -> Option<bool> {
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

/// Returns true if any value is true. Otherwise returns unknown if any value is unknown, and false if all are false.
fn any_is_true(truth_values: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    combine(truth_values, true)
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

fn collect_descendants<'a>(value: &'a Value, descendants: &mut Sequence<'a>) {
    descendants.push(Cow::Borrowed(value));
    match value {
        Value::Array(elements) => elements.iter().for_each(|element| collect_descendants(element, descendants)),
        Value::Object(members) => members.values().for_each(|member| collect_descendants(member, descendants)),
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
