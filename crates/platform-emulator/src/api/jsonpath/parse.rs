//! A recursive-descent parser without backtracking.

use std::str::FromStr;

use regex::RegexBuilder;
use serde_json::{Number, Value};

use super::{BUDGET, Comparison, Index, JsonPath, Node, PathError, Step};

/// The maximum nesting depth of parentheses, filters and negations.
const MAX_DEPTH: usize = 32;

const OPERATORS: [(&str, Comparison); 7] = [
    ("==", Comparison::Equal),
    ("!=", Comparison::NotEqual),
    ("<>", Comparison::NotEqual),
    ("<=", Comparison::LessOrEqual),
    (">=", Comparison::GreaterOrEqual),
    ("<", Comparison::Less),
    (">", Comparison::Greater),
];

struct Parser<'a> {
    expression: &'a str,
    /// The index of the next byte.
    position: usize,
    depth: usize,
    /// The number of enclosing filters. `@` is valid only within a filter.
    filter_depth: usize,
}

type ParseResult<T> = Result<T, PathError>;

impl FromStr for JsonPath {
    type Err = PathError;

    fn from_str(expression: &str) -> ParseResult<Self> {
        let mut parser = Parser { expression, position: 0, depth: 0, filter_depth: 0 };
        let strict = parser.take_keyword("strict");
        if !strict {
            parser.take_keyword("lax");
        }
        parser.skip_whitespace();
        let is_name_start = |start: char| start.is_alphanumeric() || start == '_';
        let root = if parser.rest().starts_with(is_name_start) && !parser.rest().starts_with("exists") {
            // A bare name is a member of the document root.
            let first = Step::Member(parser.parse_name()?);
            parser.parse_steps(Node::Root, vec![first])?
        } else {
            parser.parse_or()?
        };
        parser.skip_whitespace();
        if parser.rest().is_empty() {
            Ok(Self { strict, root, budget: BUDGET.into() })
        } else {
            parser.fail_expecting("the end")
        }
    }
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.expression[self.position..]
    }

    fn fail_expecting<T>(&self, expected: &'static str) -> ParseResult<T> {
        Err(PathError { position: self.expression[..self.position].chars().count(), expected })
    }

    fn skip_whitespace(&mut self) {
        self.position = self.expression.len() - self.rest().trim_start().len();
    }

    /// Consumes `token` if it is next, after white space.
    fn take_token(&mut self, token: &str) -> bool {
        self.skip_whitespace();
        let is_next = self.rest().starts_with(token);
        if is_next {
            self.position += token.len();
        }
        is_next
    }

    fn expect(&mut self, token: &'static str) -> ParseResult<()> {
        if self.take_token(token) { Ok(()) } else { self.fail_expecting(token) }
    }

    /// Consumes `word` if it is next, after white space, and not the prefix of a longer word.
    fn take_keyword(&mut self, word: &str) -> bool {
        self.skip_whitespace();
        let rest = self.rest();
        let is_next = rest.starts_with(word)
            && !rest[word.len()..].starts_with(|next: char| next.is_alphanumeric() || next == '_');
        if is_next {
            self.position += word.len();
        }
        is_next
    }

    fn parse_name(&mut self) -> ParseResult<String> {
        if self.rest().starts_with('"') {
            return self.parse_string();
        }
        let end = self.rest().find(|next: char| !(next.is_alphanumeric() || next == '_' || next == '$'));
        let name = &self.rest()[..end.unwrap_or(self.rest().len())];
        if name.is_empty() {
            return self.fail_expecting("a name");
        }
        self.position += name.len();
        Ok(name.to_owned())
    }

    /// Parses a string in JSON syntax.
    fn parse_string(&mut self) -> ParseResult<String> {
        self.skip_whitespace();
        let mut escaped = false;
        let closing = self.rest().char_indices().skip(1).find(|(_, next)| {
            let closes = *next == '"' && !escaped;
            escaped = *next == '\\' && !escaped;
            closes
        });
        let text = closing.map(|(end, _)| &self.rest()[..=end]).filter(|text| text.starts_with('"'));
        match text.and_then(|text| Some((text.len(), serde_json::from_str(text).ok()?))) {
            Some((length, string)) => {
                self.position += length;
                Ok(string)
            }
            None => self.fail_expecting("a string in double quotes"),
        }
    }

    fn parse_number(&mut self) -> ParseResult<Value> {
        let end = self.rest().find(|next: char| !(next.is_ascii_alphanumeric() || ".+-".contains(next)));
        let text = &self.rest()[..end.unwrap_or(self.rest().len())];
        match serde_json::from_str::<Number>(text) {
            Ok(number) => {
                self.position += text.len();
                Ok(number.into())
            }
            Err(_) => self.fail_expecting("`$`, `@`, a string, a number, true, false or null"),
        }
    }

    /// Calls `parse` one nesting level deeper.
    fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> ParseResult<T>) -> ParseResult<T> {
        if self.depth == MAX_DEPTH {
            return self.fail_expecting("less nesting");
        }
        self.depth += 1;
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }

    /// Parses `a || b`.
    fn parse_or(&mut self) -> ParseResult<Node> {
        let mut parts = vec![self.parse_and()?];
        while self.take_token("||") {
            parts.push(self.parse_and()?);
        }
        Ok(if parts.len() > 1 { Node::Or(parts) } else { parts.remove(0) })
    }

    /// Parses `a && b`.
    fn parse_and(&mut self) -> ParseResult<Node> {
        let mut parts = vec![self.parse_condition()?];
        while self.take_token("&&") {
            parts.push(self.parse_condition()?);
        }
        Ok(if parts.len() > 1 { Node::And(parts) } else { parts.remove(0) })
    }

    fn parse_condition(&mut self) -> ParseResult<Node> {
        if self.take_token("!") {
            return Ok(Node::Not(Box::new(self.nested(Self::parse_condition)?)));
        }
        let left = Box::new(self.parse_operand()?);
        self.skip_whitespace();
        if let Some((token, comparison)) = OPERATORS.iter().find(|(token, _)| self.rest().starts_with(token)) {
            self.position += token.len();
            return Ok(Node::Compare(*comparison, left, Box::new(self.parse_operand()?)));
        }
        if self.take_keyword("like_regex") {
            return self.parse_regex(left);
        }
        if self.take_keyword("starts") {
            if !self.take_keyword("with") {
                return self.fail_expecting("`with`");
            }
            return Ok(Node::StartsWith(left, self.parse_string()?));
        }
        if self.take_keyword("is") {
            return if self.take_keyword("unknown") {
                Ok(Node::IsUnknown(left))
            } else {
                self.fail_expecting("`unknown`")
            };
        }
        Ok(*left)
    }

    fn parse_regex(&mut self, operand: Box<Node>) -> ParseResult<Node> {
        self.skip_whitespace();
        let pattern_start = self.position;
        let pattern = self.parse_string()?;
        let mut builder = RegexBuilder::new(&pattern);
        if self.take_keyword("flag") {
            self.skip_whitespace();
            let flags_start = self.position;
            for flag in self.parse_string()?.chars() {
                match flag {
                    'i' => builder.case_insensitive(true),
                    's' => builder.dot_matches_new_line(true),
                    'm' => builder.multi_line(true),
                    'x' => builder.ignore_whitespace(true),
                    _ => {
                        self.position = flags_start;
                        return self.fail_expecting("flags of i, s, m and x");
                    }
                };
            }
        }
        if let Ok(regex) = builder.build() {
            return Ok(Node::LikeRegex(operand, regex));
        }
        self.position = pattern_start;
        self.fail_expecting("a regular expression")
    }

    fn parse_operand(&mut self) -> ParseResult<Node> {
        self.skip_whitespace();
        let start = if self.take_token("(") {
            let inner = self.nested(Self::parse_or)?;
            self.expect(")")?;
            inner
        } else if self.take_keyword("exists") {
            self.expect("(")?;
            let inner = self.nested(Self::parse_or)?;
            self.expect(")")?;
            return Ok(Node::Exists(Box::new(inner)));
        } else if self.rest().starts_with('"') {
            Node::Literal(self.parse_string()?.into())
        } else if self.take_token("$") {
            Node::Root
        } else if self.filter_depth > 0 && self.take_token("@") {
            Node::Current
        } else if self.take_keyword("true") {
            Node::Literal(true.into())
        } else if self.take_keyword("false") {
            Node::Literal(false.into())
        } else if self.take_keyword("null") {
            Node::Literal(Value::Null)
        } else {
            Node::Literal(self.parse_number()?)
        };
        self.parse_steps(start, Vec::new())
    }

    /// Parses the remaining steps of a path. `start` is the value that the path starts from, and `steps` are the steps
    /// that were already parsed.
    fn parse_steps(&mut self, start: Node, mut steps: Vec<Step>) -> ParseResult<Node> {
        loop {
            if self.take_token(".**") {
                steps.push(Step::Descendants);
            } else if self.take_token(".*") {
                steps.push(Step::AnyMember);
            } else if self.take_token(".size()") {
                steps.push(Step::Size);
            } else if self.take_token(".type()") {
                steps.push(Step::Type);
            } else if self.take_token(".") {
                self.skip_whitespace();
                steps.push(Step::Member(self.parse_name()?));
            } else if self.take_token("[") {
                steps.push(self.parse_elements()?);
                self.expect("]")?;
            } else if self.take_token("?") {
                self.expect("(")?;
                self.filter_depth += 1;
                steps.push(Step::Filter(self.nested(Self::parse_or)?));
                self.filter_depth -= 1;
                self.expect(")")?;
            } else if steps.is_empty() {
                return Ok(start);
            } else {
                return Ok(Node::Path(Box::new(start), steps));
            }
        }
    }

    fn parse_elements(&mut self) -> ParseResult<Step> {
        if self.take_token("*") {
            return Ok(Step::AnyElement);
        }
        let first = self.parse_index()?;
        let last = if self.take_keyword("to") { self.parse_index()? } else { first };
        Ok(Step::Elements(first, last))
    }

    fn parse_index(&mut self) -> ParseResult<Index> {
        if self.take_keyword("last") {
            return Ok(Index::Last);
        }
        let end = self.rest().find(|next: char| !next.is_ascii_digit()).unwrap_or(self.rest().len());
        match self.rest()[..end].parse() {
            Ok(index) => {
                self.position += end;
                Ok(Index::At(index))
            }
            Err(_) => self.fail_expecting("an index"),
        }
    }
}
