use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table, Width, presets};
use serde_json::Value;

use crate::sanitize::sanitize;

/// A column of a table: its header, and a function that returns the text of a row. The text is sanitized.
pub type Column<'a, T> = (&'a str, &'a dyn Fn(&T) -> String);

/// The maximum number of rows that are laid out together.
const MAX_ROWS: usize = 1000;

/// Returns the cells of a row.
pub(super) fn row<T>(item: &T, columns: &[Column<'_, T>]) -> Vec<String> {
    columns.iter().map(|(_, cell_text)| sanitize(cell_text(item))).collect()
}

/// Returns a table with a row for each of `items`.
pub(super) fn table<'a, T: 'a>(items: impl IntoIterator<Item = &'a T>, columns: &[Column<'_, T>]) -> Table {
    let mut table = new_table(columns.iter().map(|(header, _)| *header).collect());
    for item in items {
        table.add_row(row(item, columns));
    }
    table
}

/// Returns a table that fits the terminal, with these headers.
fn new_table(headers: Vec<&str>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    if !headers.is_empty() {
        table.set_header(headers);
    }
    if let Some(width) = terminal_width() {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    }
    table
}

/// Returns the text of a table without trailing spaces.
pub(super) fn render(table: &Table) -> String {
    let lines: Vec<_> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

/// Returns the text of a table. Unless `has_all_columns` is true, the last columns are omitted if they do not fit the
/// terminal. Ids in the first column are not split.
pub(super) fn fit_to_terminal<T>(columns: &[Column<'_, T>], rows: &[Vec<String>], has_all_columns: bool) -> String {
    let with_columns = |count: usize| {
        let mut table = new_table(columns.iter().map(|(header, _)| *header).take(count).collect());
        for row in rows {
            table.add_row(row.iter().take(count));
        }
        if let Some(column) = table.column_mut(0) {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
        table
    };
    let complete = with_columns(columns.len());
    match terminal_width() {
        Some(width) if !has_all_columns => {
            render(&with_columns(count_fitting(&complete.column_max_content_widths(), width)))
        }
        _ => render(&complete),
    }
}

/// Returns how many leading columns of these `column_widths` fit into `width`, but at least two.
fn count_fitting(column_widths: &[u16], width: u16) -> usize {
    let mut used = 0_u16;
    // Each column has a space on both sides.
    let fitting = column_widths.iter().take_while(|column_width| {
        used = used.saturating_add(**column_width).saturating_add(2);
        used <= width
    });
    fitting.count().max(2).min(column_widths.len())
}

/// Returns the text of a long table, with the columns `right_aligned` aligned to the right. First the widths of the
/// columns are computed over all rows, then the rows are laid out in parts.
pub(super) fn long_table<T>(items: &[T], columns: &[Column<'_, T>], right_aligned: &[usize]) -> String {
    let aligned_table = |items: &[T]| {
        let mut table = table(items, columns);
        for index in right_aligned {
            if let Some(column) = table.column_mut(*index) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table
    };
    if items.len() <= MAX_ROWS {
        return render(&aligned_table(items));
    }
    let mut widths = vec![0; columns.len()];
    for table in items.chunks(MAX_ROWS).map(&aligned_table) {
        for (width, part_width) in widths.iter_mut().zip(table.column_max_content_widths()) {
            *width = part_width.max(*width);
        }
    }
    let mut text = String::new();
    for (number, items) in items.chunks(MAX_ROWS).enumerate() {
        let mut table = aligned_table(items);
        for (column, width) in table.column_iter_mut().zip(&widths) {
            column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(width.saturating_add(2))));
        }
        let rows = render(&table);
        // Only the first part keeps its header.
        text += if number == 0 { &rows } else { rows.find('\n').map_or("", |end| &rows[end..]) };
    }
    text
}

/// Returns a line with the name and the value of each field.
pub(super) fn fields<'a>(fields: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let mut table = new_table(Vec::new());
    for (name, value) in fields {
        // Line breaks in the value are kept; other control characters are escaped.
        let value: Vec<_> = value.lines().map(sanitize).collect();
        table.add_row([sanitize(name), value.join("\n")]);
    }
    render(&table)
}

/// Adds the scalar members of a value to `fields`, each named by its path below `path`.
pub(super) fn flatten(path: &str, value: &Value, fields: &mut Vec<(String, String)>) {
    let scalar_text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let text = match value {
        Value::Object(members) => {
            for (name, value) in members {
                let name = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                flatten(&name, value, fields);
            }
            return;
        }
        Value::Array(values) => values.iter().map(scalar_text).collect::<Vec<_>>().join(", "),
        Value::Null => "–".to_owned(),
        other => scalar_text(other),
    };
    fields.push((path.to_owned(), text));
}

#[cfg(unix)]
fn terminal_width() -> Option<u16> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    (size.ws_col > 0).then_some(size.ws_col)
}

#[cfg(not(unix))]
fn terminal_width() -> Option<u16> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_columns_are_dropped_first() {
        assert_eq!(count_fitting(&[36, 12, 10, 9, 8], 85), 5);
        assert_eq!(count_fitting(&[36, 12, 10, 9, 8], 84), 4);
        assert_eq!(count_fitting(&[36, 12, 10, 9, 8], 64), 3);
        assert_eq!(count_fitting(&[36, 12, 10, 9, 8], 20), 2);
        assert_eq!(count_fitting(&[36], 20), 1);
    }

    #[test]
    fn nested_members_are_named_by_their_path() {
        let mut fields = Vec::new();
        flatten("", &serde_json::json!({ "a": { "b": 1, "c": null }, "d": ["x", true] }), &mut fields);
        let fields: Vec<_> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(fields, ["a.b=1", "a.c=–", "d=x, true"]);
    }

    #[test]
    fn parts_of_a_long_table_have_the_same_widths() {
        let numbers: Vec<_> = (0..=2 * MAX_ROWS).collect();
        let columns: [Column<'_, usize>; 2] =
            [("number", &|number| number.to_string()), ("square", &|number| (number * number).to_string())];
        let text = long_table(&numbers, &columns, &[1]);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), numbers.len() + 1);
        assert!(lines.iter().all(|line| line.len() == lines[0].len()), "aligned to the right");
        assert!(lines[0].contains("number") && !lines[1001].contains("number"));
    }
}
