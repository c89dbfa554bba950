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
    text: &'a str,
    /// The index of the next byte.
    at: usize,
    depth: usize,
    /// The number of enclosing filters. `@` is valid only within one.
    filters: usize,
}

type Parsed<T> = Result<T, PathError>;

impl FromStr for JsonPath {
    type Err = PathError;

    fn from_str(text: &str) -> Parsed<Self> {
        let mut parser = Parser { text, at: 0, depth: 0, filters: 0 };
        let strict = parser.keyword("strict");
        if !strict {
            parser.keyword("lax");
        }
        parser.space();
        let bare_name = |start: char| start.is_alphanumeric() || start == '_';
        let root = if parser.rest().starts_with(bare_name) && !parser.rest().starts_with("exists") {
            // A bare name is a member of the document root.
            let first = Step::Member(parser.name()?);
            parser.steps(Node::Root, vec![first])?
        } else {
            parser.either()?
        };
        parser.space();
        if parser.rest().is_empty() { Ok(Self { strict, root, budget: BUDGET.into() }) } else { parser.fail("the end") }
    }
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn fail<T>(&self, expected: &'static str) -> Parsed<T> {
        Err(PathError { at: self.text[..self.at].chars().count(), expected })
    }

    fn space(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    /// Consumes `token` if it is next, after white space.
    fn token(&mut self, token: &str) -> bool {
        self.space();
        let is_next = self.rest().starts_with(token);
        if is_next {
            self.at += token.len();
        }
        is_next
    }

    fn expect(&mut self, token: &'static str) -> Parsed<()> {
        if self.token(token) { Ok(()) } else { self.fail(token) }
    }

    /// Consumes `word` if it is next and not the prefix of a longer word.
    fn keyword(&mut self, word: &str) -> bool {
        self.space();
        let rest = self.rest();
        let taken = rest.starts_with(word)
            && !rest[word.len()..].starts_with(|next: char| next.is_alphanumeric() || next == '_');
        if taken {
            self.at += word.len();
        }
        taken
    }

    fn name(&mut self) -> Parsed<String> {
        if self.rest().starts_with('"') {
            return self.string();
        }
        let end = self.rest().find(|next: char| !(next.is_alphanumeric() || next == '_' || next == '$'));
        let name = &self.rest()[..end.unwrap_or(self.rest().len())];
        if name.is_empty() {
            return self.fail("a name");
        }
        self.at += name.len();
        Ok(name.to_owned())
    }

    /// Parses a string in JSON syntax.
    fn string(&mut self) -> Parsed<String> {
        self.space();
        let mut escaped = false;
        let closing = self.rest().char_indices().skip(1).find(|(_, next)| {
            let closes = *next == '"' && !escaped;
            escaped = *next == '\\' && !escaped;
            closes
        });
        let text = closing.map(|(end, _)| &self.rest()[..=end]).filter(|text| text.starts_with('"'));
        match text.and_then(|text| Some((text.len(), serde_json::from_str(text).ok()?))) {
            Some((length, string)) => {
                self.at += length;
                Ok(string)
            }
            None => self.fail("a string in double quotes"),
        }
    }

    fn number(&mut self) -> Parsed<Value> {
        let end = self.rest().find(|next: char| !(next.is_ascii_alphanumeric() || ".+-".contains(next)));
        let text = &self.rest()[..end.unwrap_or(self.rest().len())];
        match serde_json::from_str::<Number>(text) {
            Ok(number) => {
                self.at += text.len();
                Ok(number.into())
            }
            Err(_) => self.fail("`$`, `@`, a string, a number, true, false or null"),
        }
    }

    /// Runs `read` one nesting level deeper.
    fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth == MAX_DEPTH {
            return self.fail("less nesting");
        }
        self.depth += 1;
        let read = read(self);
        self.depth -= 1;
        read
    }

    /// Parses `a || b`.
    fn either(&mut self) -> Parsed<Node> {
        let mut parts = vec![self.both()?];
        while self.token("||") {
            parts.push(self.both()?);
        }
        Ok(if parts.len() > 1 { Node::Or(parts) } else { parts.remove(0) })
    }

    /// Parses `a && b`.
    fn both(&mut self) -> Parsed<Node> {
        let mut parts = vec![self.condition()?];
        while self.token("&&") {
            parts.push(self.condition()?);
        }
        Ok(if parts.len() > 1 { Node::And(parts) } else { parts.remove(0) })
    }

    fn condition(&mut self) -> Parsed<Node> {
        if self.token("!") {
            return Ok(Node::Not(Box::new(self.deeper(Self::condition)?)));
        }
        let left = Box::new(self.operand()?);
        self.space();
        if let Some((token, comparison)) = OPERATORS.iter().find(|(token, _)| self.rest().starts_with(token)) {
            self.at += token.len();
            return Ok(Node::Compare(*comparison, left, Box::new(self.operand()?)));
        }
        if self.keyword("like_regex") {
            return self.regex(left);
        }
        if self.keyword("starts") {
            if !self.keyword("with") {
                return self.fail("`with`");
            }
            return Ok(Node::StartsWith(left, self.string()?));
        }
        if self.keyword("is") {
            return if self.keyword("unknown") { Ok(Node::IsUnknown(left)) } else { self.fail("`unknown`") };
        }
        Ok(*left)
    }

    fn regex(&mut self, of: Box<Node>) -> Parsed<Node> {
        self.space();
        let start = self.at;
        let pattern = self.string()?;
        let mut builder = RegexBuilder::new(&pattern);
        if self.keyword("flag") {
            self.space();
            let at = self.at;
            for flag in self.string()?.chars() {
                match flag {
                    'i' => builder.case_insensitive(true),
                    's' => builder.dot_matches_new_line(true),
                    'm' => builder.multi_line(true),
                    'x' => builder.ignore_whitespace(true),
                    _ => {
                        self.at = at;
                        return self.fail("flags of i, s, m and x");
                    }
                };
            }
        }
        if let Ok(regex) = builder.build() {
            return Ok(Node::LikeRegex(of, regex));
        }
        self.at = start;
        self.fail("a regular expression")
    }

    fn operand(&mut self) -> Parsed<Node> {
        self.space();
        let start = if self.token("(") {
            let inner = self.deeper(Self::either)?;
            self.expect(")")?;
            inner
        } else if self.keyword("exists") {
            self.expect("(")?;
            let inner = self.deeper(Self::either)?;
            self.expect(")")?;
            return Ok(Node::Exists(Box::new(inner)));
        } else if self.rest().starts_with('"') {
            Node::Literal(self.string()?.into())
        } else if self.token("$") {
            Node::Root
        } else if self.filters > 0 && self.token("@") {
            Node::Current
        } else if self.keyword("true") {
            Node::Literal(true.into())
        } else if self.keyword("false") {
            Node::Literal(false.into())
        } else if self.keyword("null") {
            Node::Literal(Value::Null)
        } else {
            Node::Literal(self.number()?)
        };
        self.steps(start, Vec::new())
    }

    /// Parses the steps of a path. `start` is the start of the path, and `steps` are the steps that were already
    /// parsed.
    fn steps(&mut self, start: Node, mut steps: Vec<Step>) -> Parsed<Node> {
        loop {
            if self.token(".**") {
                steps.push(Step::Descendants);
            } else if self.token(".*") {
                steps.push(Step::AnyMember);
            } else if self.token(".size()") {
                steps.push(Step::Size);
            } else if self.token(".type()") {
                steps.push(Step::Type);
            } else if self.token(".") {
                self.space();
                steps.push(Step::Member(self.name()?));
            } else if self.token("[") {
                steps.push(self.elements()?);
                self.expect("]")?;
            } else if self.token("?") {
                self.expect("(")?;
                self.filters += 1;
                steps.push(Step::Filter(self.deeper(Self::either)?));
                self.filters -= 1;
                self.expect(")")?;
            } else if steps.is_empty() {
                return Ok(start);
            } else {
                return Ok(Node::Path(Box::new(start), steps));
            }
        }
    }

    fn elements(&mut self) -> Parsed<Step> {
        if self.token("*") {
            return Ok(Step::AnyElement);
        }
        let first = self.index()?;
        let last = if self.keyword("to") { self.index()? } else { first };
        Ok(Step::Elements(first, last))
    }

    fn index(&mut self) -> Parsed<Index> {
        if self.keyword("last") {
            return Ok(Index::Last);
        }
        let end = self.rest().find(|next: char| !next.is_ascii_digit()).unwrap_or(self.rest().len());
        match self.rest()[..end].parse() {
            Ok(index) => {
                self.at += end;
                Ok(Index::At(index))
            }
            Err(_) => self.fail("an index"),
        }
    }
}
