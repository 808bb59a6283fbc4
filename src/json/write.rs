//! Writing JSON text: escaped strings (RFC 8259 section 7) and objects of members that are already JSON.

use super::scan::plain_len;

/// Appends `text` as a JSON string, quotes included.
#[inline(never)]
pub fn write_string(out: &mut String, text: &str) {
    out.push('"');
    let mut rest = text;
    while let Some((plain, tail)) =
        rest.split_at_checked(plain_len(rest.as_bytes())).filter(|(_, tail)| !tail.is_empty())
    {
        out.push_str(plain);
        let mut chars = tail.chars();
        if let Some(c) = chars.next() {
            escape(out, c);
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
    out.push('"');
}

fn escape(out: &mut String, c: char) {
    match c {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        other => {
            const HEX: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
            let code = other as usize;
            out.push_str("\\u00");
            out.extend([HEX.get(code >> 4 & 15), HEX.get(code & 15)].into_iter().flatten());
        }
    }
}

/// Writes what stands before a member's value.
fn begin_member(out: &mut String, is_first: bool, key: &str) {
    if !is_first {
        out.push(',');
    }
    write_string(out, key);
    out.push(':');
}

/// A JSON object written into a buffer that others use, too, so that a prompt of a megabyte is copied once: its `{` is
/// written, [`Object::close`] writes its `}`.
#[derive(Debug)]
pub struct Object<'o> {
    out: &'o mut String,
    has_members: bool,
}

impl<'o> Object<'o> {
    /// Opens an object at the end of `out`.
    pub fn open(out: &'o mut String) -> Self {
        out.push('{');
        Self { out, has_members: false }
    }

    /// Begins a member; its value is to be written next, to what is returned.
    #[inline(never)]
    pub fn key(&mut self, key: &str) -> &mut String {
        begin_member(self.out, !std::mem::replace(&mut self.has_members, true), key);
        self.out
    }

    /// A string.
    #[inline(never)]
    pub fn text(&mut self, key: &str, text: &str) {
        write_string(self.key(key), text);
    }

    /// A string, where there is one.
    #[inline(never)]
    pub fn optional(&mut self, key: &str, text: Option<&str>) {
        text.into_iter().for_each(|text| self.text(key, text));
    }

    /// A value that is JSON already.
    #[inline(never)]
    pub fn raw(&mut self, key: &str, json: &str) {
        self.key(key).push_str(json);
    }

    /// An integer.
    #[inline(never)]
    pub fn number(&mut self, key: &str, number: u64) {
        self.raw(key, itoa::Buffer::new().format(number));
    }

    /// Ends the object.
    pub fn close(self) {
        self.out.push('}');
    }
}

/// Writes one JSON object member by member, in a buffer of its own.
#[derive(Debug)]
pub struct ObjectWriter {
    text: String,
}

impl Default for ObjectWriter {
    fn default() -> Self {
        Self { text: String::from("{") }
    }
}

impl ObjectWriter {
    /// Adds a member whose value is JSON text already.
    #[inline(never)]
    pub fn raw(&mut self, key: &str, json: &str) -> &mut Self {
        let is_first = self.is_empty();
        begin_member(&mut self.text, is_first, key);
        self.text.push_str(json);
        self
    }

    /// Adds a string member.
    #[inline(never)]
    pub fn string(&mut self, key: &str, value: &str) -> &mut Self {
        self.raw(key, "");
        write_string(&mut self.text, value);
        self
    }

    /// Adds an integer member.
    #[inline(never)]
    pub fn number(&mut self, key: &str, value: u64) -> &mut Self {
        self.raw(key, itoa::Buffer::new().format(value))
    }

    /// True while no member was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.text.len() == 1
    }

    /// Bytes written so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.text.len()
    }

    /// The finished object.
    #[must_use]
    pub fn finish(mut self) -> String {
        self.text.push('}');
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_written_string_reads_back(text in any::<String>()) {
            let mut out = String::new();
            write_string(&mut out, &text);
            prop_assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
        }
    }

    #[test]
    fn an_object_is_written_member_by_member() {
        let mut object = ObjectWriter::default();
        object.string("a\"", "x\ny").number("n", 7).raw("r", "[1]");
        assert_eq!(object.finish(), r#"{"a\"":"x\ny","n":7,"r":[1]}"#);
        assert_eq!(ObjectWriter::default().finish(), "{}");
    }
}
