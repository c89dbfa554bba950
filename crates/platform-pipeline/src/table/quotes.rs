//! Detection of wrong quotes, which the `csv` crate accepts without an error.
//!
//! Cases:
//! - **A quote is never closed.** The rest of the file becomes the text of one cell, and the slides in it are lost.
//! - **An opening quote in a later row closes the quote.** It is followed by text instead of a delimiter.
//! - **A quote at the end of a cell in a later row closes the quote.** The syntax is valid, but the cell contains rows.

/// Returns the problems, each with its line number. `columns` is the number of columns, and `first_line` the line
/// number of the start of `text`.
pub(super) fn check(text: &str, delimiter: char, columns: usize, first_line: u64) -> Vec<String> {
    let mut problems = Vec::new();
    let (mut state, mut line, mut opening_line) = (State::CellStart, first_line, first_line);
    let mut cell = String::new();
    for character in text.chars() {
        let ends_cell = character == delimiter || matches!(character, '\n' | '\r');
        state = match (state, character) {
            (State::CellStart, '"') => {
                opening_line = line;
                cell.clear();
                State::Quoted
            }
            (State::Quoted, '"') | (State::Closed, ' ') => State::Closed,
            (State::Quoted, character) => {
                cell.push(character);
                State::Quoted
            }
            (State::Closed, '"') => {
                cell.push('"');
                State::Quoted
            }
            (State::Closed, _) if !ends_cell => {
                problems.push(format!(
                    "line {line}: text after a closing quote; the quote was opened in line {opening_line}"
                ));
                State::Unquoted
            }
            (State::Closed, _) => {
                if contains_rows(&cell, delimiter, columns) {
                    problems.push(format!("line {opening_line}: a quote is opened and not closed in its row"));
                }
                State::CellStart
            }
            _ if ends_cell => State::CellStart,
            _ => State::Unquoted,
        };
        line += u64::from(character == '\n');
    }
    if state == State::Quoted {
        problems.push(format!("line {opening_line}: a quote is opened and never closed"));
    } else if state == State::Closed && contains_rows(&cell, delimiter, columns) {
        problems.push(format!("line {opening_line}: a quote is opened and not closed in its row"));
    }
    problems
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    CellStart,
    Unquoted,
    Quoted,
    /// After a quote in a quoted cell. The quote either ends the cell, or is the first quote of an escaped quote
    /// (`""`).
    Closed,
}

/// Returns true if a line of a cell, except the first, has as many delimiters as a row of the table.
fn contains_rows(cell: &str, delimiter: char, columns: usize) -> bool {
    columns > 2 && cell.lines().skip(1).any(|line| line.matches(delimiter).count() + 1 == columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(rows: &str) -> Vec<String> {
        check(&format!("id;tissue;note\n{rows}"), ';', 3, 1)
    }

    #[test]
    fn valid_quotes_are_accepted() {
        for rows in [
            "a;LUNG;\"left; half\"\n",
            "a;LUNG;\"two\nlines; here\"\r\nb;;\"say \"\"so\"\"\"",
            "\"a\" ;LUNG;5\" wide\n",
            "a;\"\";\"\"\n",
        ] {
            assert_eq!(problems(rows), [""; 0], "{rows}");
        }
    }

    #[test]
    fn unclosed_quotes_are_found_with_their_line() {
        for (rows, problem) in [
            ("a;;\nb;;\"left half\nc;;\n", "line 3: a quote is opened and never closed"),
            ("a;;\"left\nb;;\nc;;\"right\n", "line 4: text after a closing quote; the quote was opened in line 2"),
            ("a;;\"left\nb;;\nc;;right\"\nd;;\n", "line 2: a quote is opened and not closed in its row"),
            ("a;;\"left\nb;;right\"", "line 2: a quote is opened and not closed in its row"),
        ] {
            assert_eq!(problems(rows), [problem], "{rows}");
        }
    }
}
