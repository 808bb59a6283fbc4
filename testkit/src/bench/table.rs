//! Tables in Markdown whose columns are also aligned for the eye.

/// The first row is the head; the first column is aligned left, the others right where `numbers`.
pub(super) fn table(rows: &[Vec<String>], numbers: bool) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or_default().max(3)).collect();
    let right = |column: usize| numbers && column > 0;
    let mut lines: Vec<String> = rows.iter().map(|row| line(row, &widths, right)).collect();
    let rule = widths.iter().enumerate().map(|(column, width)| rule(*width, right(column)));
    lines.insert(1.min(lines.len()), format!("|{}|", rule.collect::<Vec<_>>().join("|")));
    lines.join("\n")
}

fn line(row: &[String], widths: &[usize], right: impl Fn(usize) -> bool) -> String {
    let cells = widths.iter().enumerate().map(|(column, width)| {
        let cell = row.get(column).map(String::as_str).unwrap_or_default();
        if right(column) { format!(" {cell:>width$} ") } else { format!(" {cell:<width$} ") }
    });
    format!("|{}|", cells.collect::<Vec<_>>().join("|"))
}

fn rule(width: usize, right: bool) -> String {
    let end = if right { ":" } else { "-" };
    format!("{}{end}", "-".repeat(width + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let rows = [vec!["who".to_owned(), "µs".to_owned()], vec!["bare".to_owned(), "47.1".to_owned()]];
        assert_eq!(table(&rows, true), "| who  |   µs |\n|------|-----:|\n| bare | 47.1 |");
        assert_eq!(table(&rows, false), "| who  | µs   |\n|------|------|\n| bare | 47.1 |");
    }
}
