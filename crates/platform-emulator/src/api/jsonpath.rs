//! A subset of the SQL/JSON path expressions of `PostgreSQL`: members, elements, filters, comparisons, `like_regex`,
//! `starts with`, `exists`, `size()` and `type()`, lax and strict.
//!
//! The time of parsing is proportional to the length of the expression. The nesting depth is limited.

mod evaluate;
mod parse;

use std::sync::atomic::{AtomicUsize, Ordering};

use regex::Regex;
use serde_json::Value;

/// A parsed expression that can be evaluated on any number of documents.
#[derive(Debug)]
pub(crate) struct JsonPath {
    strict: bool,
    root: Node,
    /// The number of values that can still be examined, for all documents together.
    budget: AtomicUsize,
}

/// The maximum number of values that are examined for one expression. It limits the evaluation to a few seconds.
const BUDGET: usize = 5_000_000;

/// A syntax error with its position.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("at character {position}: {expected} expected")]
pub(crate) struct PathError {
    position: usize,
    expected: &'static str,
}

/// A node of an expression. Comparisons and conditions yield a truth value, all other nodes a sequence of values.
#[derive(Debug)]
enum Node {
    /// `$`
    Root,
    /// `@`
    Current,
    Literal(Value),
    /// The result of consecutive steps.
    Path(Box<Node>, Vec<Step>),
    Compare(Comparison, Box<Node>, Box<Node>),
    StartsWith(Box<Node>, String),
    LikeRegex(Box<Node>, Regex),
    Exists(Box<Node>),
    IsUnknown(Box<Node>),
    Not(Box<Node>),
    And(Vec<Node>),
    Or(Vec<Node>),
}

#[derive(Debug)]
enum Step {
    /// `.name`
    Member(String),
    /// `.*`
    AnyMember,
    /// `.**`
    Descendants,
    /// `[*]`
    AnyElement,
    /// `[2]`, `[last]`, `[0 to 2]`
    Elements(Index, Index),
    /// `? (…)`
    Filter(Node),
    /// `.size()`
    Size,
    /// `.type()`
    Type,
}

#[derive(Clone, Copy, Debug)]
enum Index {
    At(usize),
    Last,
}

#[derive(Clone, Copy, Debug)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl JsonPath {
    /// Returns true if `document` has a value at this path, like the operator `@?` of `PostgreSQL`. Returns false if
    /// the evaluation fails.
    pub(crate) fn matches(&self, document: &Value) -> bool {
        evaluate::exists(self, document)
    }

    /// Returns true if the budget is exhausted. In this case, [`matches`](Self::matches) may have returned false for a
    /// document that has a value at the path.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.budget.load(Ordering::Relaxed) == 0
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn matches_document(path: &str) -> bool {
        let document = json!({
            "study": "high", "score": 0.8, "tags": ["draft", "x"], "none": null, "yes": true, "a b": 1,
            "resources": { "gpu_count": 3, "memory_gb": 16 }, "sdk": { "tags": ["q"], "note": "it is" },
            "list": [{ "n": 1 }, { "n": 2 }], "nested": [[1, 2]],
        });
        path.parse::<JsonPath>().unwrap().matches(&document)
    }

    #[test]
    fn path_matches_like_in_postgresql() {
        for path in [
            "$",
            "$.study",
            "study",
            "sdk.note",
            "$.none",
            "$.\"a b\"",
            "$.study ? (@ == \"high\")",
            "$.score ? (@ > 0.75)",
            "$.score ? (@ >= 8e-1 && @ <= 0.8)",
            "$.tags[*] ? (@ == \"draft\")",
            "$.tags ? (@ == \"draft\")",
            "$.resources ? (@.gpu_count > 2 && @.memory_gb >= 16)",
            "$.resources ? (@.gpu_count > 5 || @.memory_gb >= 16)",
            "$.resources?(!(@.gpu_count > 5))",
            "$ ? ($.study == \"high\")",
            "$.study ? (@ like_regex \"^hi\")",
            "$.study ? (@ like_regex \"^HI\" flag \"i\")",
            "$.study ? (@ starts with \"hi\")",
            "$ ? (exists(@.sdk.tags))",
            "$.none ? (@ == null)",
            "$.none ? (@ != 1)",
            "$.yes ? (@ == true)",
            "$.**.note",
            "$.resources.*",
            "$.tags[0]",
            "$.tags[last] ? (@ == \"x\")",
            "$.tags[0 to 1] ? (@ == \"x\")",
            "$.list.n ? (@ == 2)",
            "lax $.list[*].n",
            "strict $.list[*].n",
            "$.tags.size() ? (@ == 2)",
            "$.tags.type() ? (@ == \"array\")",
            "$.study[0]",
            "$ ? ((@.score > \"x\") is unknown)",
            // A comparison outside a filter yields a value, even if the value is false.
            "$.study == \"low\"",
            "$.study ? (@ != \"low\") ? (@ <> \"medium\")",
            "$.resources ? (@.gpu_count == 3.0)",
            "$.score ? (@ > -1)",
            "$.nested ? (@ == 1)",
        ] {
            assert!(matches_document(path), "{path}");
        }
    }

    #[test]
    fn path_does_not_match_like_in_postgresql() {
        for path in [
            "$.nope",
            "$.study.nope",
            "$.study ? (@ == \"low\")",
            "$.study ? (@ > 1)",
            "$.study ? (!(@ > 1))",
            "$.tags[2]",
            "$.tags[1 to 0]",
            "$.none ? (@ < 1)",
            "$ ? (@.nested == 1)",
            "$.resources ? (@ == 1)",
            "$.score ? (@ like_regex \"8\")",
            "$.score ? (@ starts with \"0\")",
            "strict $.nope",
            "strict $.list.n",
            "strict $.tags ? (@ == \"draft\")",
            "$ ? (exists(@.nope))",
            "$.resources ? (@.gpu_count > 2 && @.nope == 1)",
        ] {
            assert!(!matches_document(path), "{path}");
        }
    }

    #[test]
    fn invalid_path_is_rejected_with_its_position() {
        for (path, position) in [
            ("", 0),
            ("$[", 2),
            ("$.study ? (@ == 'high')", 16),
            ("$.study ? (@ == nan)", 16),
            ("$.a ? (@ == \"open)", 12),
            ("$.a ? (@ like_regex \"(\")", 20),
            ("$.a ? (@ like_regex \"a\" flag \"z\")", 29),
            ("$.a extra", 4),
            ("@.a", 0),
            ("$.a ? @", 6),
            ("$.tags[99999999999999999999]", 7),
            ("$.a ? (@ == 1e999)", 12),
            ("$.é ? (", 7),
        ] {
            let error = path.parse::<JsonPath>().unwrap_err();
            assert_eq!(error.position, position, "{path}: {error}");
        }
    }

    #[test]
    fn deeply_nested_path_is_rejected() {
        let nested = |depth: usize| format!("$.a ? ({}@ == 1{})", "(".repeat(depth), ")".repeat(depth));
        assert!(nested(20).parse::<JsonPath>().is_ok());
        for path in [nested(400), "!".repeat(1000), "(".repeat(1000), format!("$ ? ({}", "exists(".repeat(140))] {
            assert!(path.parse::<JsonPath>().is_err(), "{path}");
        }
    }
}
