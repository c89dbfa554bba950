//! The results of clients, and their sections in `docs/conformance.md`.

use indexmap::IndexMap;
use serde::Deserialize;

/// An operation of a client, and its result.
#[derive(Clone, Deserialize)]
#[cfg_attr(test, derive(Debug, PartialEq, Eq))]
pub(super) struct Operation {
    #[serde(rename = "operation")]
    name: String,
    result: String,
    #[serde(default)]
    requests: Vec<String>,
}

impl Operation {
    /// Returns the operation and its error if it failed for a reason that its driver does not accept.
    pub(super) fn failure(&self) -> Option<String> {
        self.result.strip_prefix("FAILS: ").map(|error| format!("{}: {error}", self.name))
    }

    /// Returns the row of a table, by the name of the operation.
    fn row(&self) -> (String, String) {
        let escape = |text: &str| text.replace('|', "\\|");
        let requests = self.requests.iter().map(|request| format!("`{request}`")).collect::<Vec<_>>().join("; ");
        let name = escape(&self.name);
        let row = [name.as_str(), &escape(&self.result), &escape(&requests)].join(" | ");
        (name, format!("| {} |", row.trim_end_matches([' ', '|'])))
    }
}

/// The document: hand-written text, and a generated table for each client between two comments.
pub(super) struct Document(String);

impl Document {
    pub(super) fn parse(text: String) -> Self {
        Self(text)
    }

    pub(super) fn text(&self) -> &str {
        &self.0
    }

    /// Returns the start and the end of the table of a client.
    fn table_range(&self, client: &str) -> Option<(usize, usize)> {
        let start = format!("<!-- {client} -->\n");
        let start = self.0.find(&start)? + start.len();
        let end = self.0[start..].find("<!-- end -->")?;
        Some((start, start + end))
    }

    /// Replaces the table of a client. Returns a problem if the document has no section for it.
    pub(super) fn replace(&mut self, client: &str, operations: &[Operation]) -> Vec<String> {
        let Some((start, end)) = self.table_range(client) else { return vec![Self::missing_section(client)] };
        self.0.replace_range(start..end, &table(operations));
        Vec::new()
    }

    /// Returns the differences of the results from the table of a client.
    pub(super) fn differences(&self, client: &str, operations: &[Operation]) -> Vec<String> {
        let Some((start, end)) = self.table_range(client) else { return vec![Self::missing_section(client)] };
        let rows = self.0[start..end].lines().skip(2).filter_map(|row| {
            let name = row.strip_prefix("| ")?.split(" | ").next()?;
            Some((name.to_owned(), row.to_owned()))
        });
        let mut documented: IndexMap<String, String> = rows.collect();
        let mut differences = Vec::new();
        for (name, result_row) in operations.iter().map(Operation::row) {
            match documented.shift_remove(&name) {
                Some(row) if row == result_row => {}
                Some(row) => differences.push(format!("the document has `{row}`, the result is `{result_row}`")),
                None => differences.push(format!("the document does not have `{result_row}`")),
            }
        }
        differences.extend(documented.into_values().map(|row| format!("was not run: `{row}`")));
        differences
    }

    fn missing_section(client: &str) -> String {
        format!("the document has no line `<!-- {client} -->` with a line `<!-- end -->` after it")
    }
}

fn table(operations: &[Operation]) -> String {
    let has_requests = operations.iter().any(|operation| !operation.requests.is_empty());
    let header = if has_requests {
        "| operation | result | requests |\n|---|---|---|\n"
    } else {
        "| operation | result |\n|---|---|\n"
    };
    operations.iter().fold(header.to_owned(), |table, operation| table + &operation.row().1 + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(name: &str, result: &str) -> Operation {
        Operation { name: name.to_owned(), result: result.to_owned(), requests: vec!["GET object".to_owned()] }
    }

    #[test]
    fn table_is_written_and_compared() {
        let text = "# Title\n\n<!-- tool -->\n<!-- end -->\n\nThe end.\n";
        let mut document = Document::parse(text.to_owned());
        let works = [operation("a | b", "works"), operation("c", "differs: for a reason")];
        assert!(document.replace("tool", &works).is_empty());
        insta::assert_snapshot!(document.text(), @r"
        # Title

        <!-- tool -->
        | operation | result | requests |
        |---|---|---|
        | a \| b | works | `GET object` |
        | c | differs: for a reason | `GET object` |
        <!-- end -->

        The end.
        ");
        assert!(document.differences("tool", &works).is_empty());
        let others = [operation("c", "works"), operation("d", "works")];
        assert_eq!(
            document.differences("tool", &others),
            [
                "the document has `| c | differs: for a reason | `GET object` |`, the result is `| c | works | `GET object` |`",
                "the document does not have `| d | works | `GET object` |`",
                "was not run: `| a \\| b | works | `GET object` |`",
            ]
        );
    }

    #[test]
    fn client_without_a_section_and_failures_are_problems() {
        let mut document = Document::parse("# Title\n".to_owned());
        assert_eq!(document.differences("tool", &[]).len(), 1);
        assert_eq!(document.replace("tool", &[]).len(), 1);
        assert_eq!(operation("a", "FAILS: error").failure().as_deref(), Some("a: error"));
        assert_eq!(operation("a", "works").failure(), None);
    }
}
