//! JSON and other texts as indented lines for people: short values as they were sent, long ones abridged with the number
//! of bytes left out, and nothing that steers a terminal.

use crate::json::Value;

/// Longest value that stands in one line as it was sent, in bytes.
const LINE_MAX: usize = 100;
/// Characters of a long text that are shown.
const TEXT_MAX: usize = 120;
/// Elements of an array, and members of an object, that are shown.
const CHILDREN_MAX: usize = 20;
/// Levels that are unfolded; below that, one line.
const DEPTH_MAX: usize = 12;

/// `text` with its control characters (and those that change the direction of writing) written as `\n` or `\u{1b}`.
pub(super) fn printable(text: &str) -> String {
    let steers = |c: char| {
        c.is_control() || matches!(c, '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
    };
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if steers(c) { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

/// One line of `text`: its beginning, and how many bytes were left out.
pub(super) fn abridged(text: &str) -> String {
    let kept = text.char_indices().nth(TEXT_MAX).map_or(text.len(), |(at, _)| at);
    let (shown, rest) = text.split_at_checked(kept).unwrap_or((text, ""));
    match rest.len() {
        0 => printable(shown),
        left => format!("{}… ({left} more bytes)", printable(shown)),
    }
}

/// What was sent, as lines: unfolded where it is JSON, in one line where it is not.
pub(super) fn lines(text: &str) -> Vec<String> {
    match Value::parse(text.as_bytes()) {
        Some(value) => value_lines(value, 0),
        None => vec![abridged(text)],
    }
}

fn value_lines(value: Value<'_>, depth: usize) -> Vec<String> {
    let raw = value.raw();
    let fits = raw.len() <= LINE_MAX && !raw.contains('\n');
    if value.is_array() && !fits && depth < DEPTH_MAX {
        array_lines(value, depth)
    } else if value.is_object() && !fits && depth < DEPTH_MAX {
        object_lines(value, depth)
    } else {
        vec![abridged(raw)]
    }
}

fn array_lines(array: Value<'_>, depth: usize) -> Vec<String> {
    let mut out = Vec::new();
    for item in array.items().take(CHILDREN_MAX) {
        let below = value_lines(item, depth + 1);
        out.extend(
            below
                .into_iter()
                .enumerate()
                .map(|(at, line)| if at == 0 { format!("- {line}") } else { format!("  {line}") }),
        );
    }
    out.extend(left_out(array.items().skip(CHILDREN_MAX).count()));
    out
}

fn object_lines(object: Value<'_>, depth: usize) -> Vec<String> {
    let mut out = Vec::new();
    for (name, value) in object.members().take(CHILDREN_MAX) {
        out.extend(named(&abridged(&name), value_lines(value, depth + 1)));
    }
    out.extend(left_out(object.members().skip(CHILDREN_MAX).count()));
    out
}

/// `name: value`, or the name with the lines of its value below it.
fn named(name: &str, value: Vec<String>) -> Vec<String> {
    match value.as_slice() {
        [line] => vec![format!("{name}: {line}")],
        _ => std::iter::once(format!("{name}:")).chain(value.iter().map(|line| format!("  {line}"))).collect(),
    }
}

fn left_out(count: usize) -> Option<String> {
    (count > 0).then(|| format!("… {count} more"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_fits_stands_in_a_line_and_the_rest_is_unfolded() {
        let long = "é".repeat(250);
        let json = format!(
            r#"[{{"role":"user","content":"Hi\n"}},{{"role":"user","content":[{{"type":"text","text":"{long}"}}],"n":1}}]"#
        );
        // Quote and 119 characters are shown; 131 of two bytes and the quote are not.
        let text = format!("\"{}… (263 more bytes)", "é".repeat(119));
        let wanted = [
            r#"- {"role":"user","content":"Hi\n"}"#,
            r#"- role: "user""#,
            "  content:",
            r#"    - type: "text""#,
            &format!("      text: {text}"),
            "  n: 1",
        ];
        assert_eq!(lines(&json), wanted);
        assert_eq!(lines("no JSON"), ["no JSON"]);
    }

    #[test]
    fn many_children_and_deep_ones_are_left_out() {
        let many = format!("[{}]", vec!["12345"; 1000].join(","));
        let shown = lines(&many);
        assert_eq!((shown.len(), shown.last().map(String::as_str)), (21, Some("… 980 more")));
        let deep = format!("{}\"{}\"{}", "[".repeat(60), "x".repeat(300), "]".repeat(60));
        assert_eq!(lines(&deep).len(), 1);
    }

    #[test]
    fn nothing_steers_the_terminal() {
        assert_eq!(printable("a\u{1b}[31m\r\n\u{202e}ß"), "a\\u{1b}[31m\\r\\n\\u{202e}ß");
    }

    proptest! {
        #[test]
        fn any_text_gives_short_lines_without_control_characters(text in any::<String>(), many in 0..400_usize) {
            let json = serde_json::json!({"a": vec![text.clone(); many], "b": {"c": [text.repeat(many)]}}).to_string();
            for line in lines(&json).into_iter().chain(lines(&text.repeat(many))) {
                prop_assert!(line.chars().all(|c| !c.is_control()) && line.len() < 10 * TEXT_MAX, "{line}");
            }
        }
    }
}
