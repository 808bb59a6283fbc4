//! JSON objects written one into another in a single buffer, so that a prompt of a megabyte is copied once.

use crate::json::write_string;

/// An object whose `{` is written; [`Object::close`] writes its `}`.
pub(super) struct Object<'o> {
    out: &'o mut String,
    has_members: bool,
}

impl<'o> Object<'o> {
    /// Opens an object at the end of `out`.
    pub(super) fn open(out: &'o mut String) -> Self {
        out.push('{');
        Self { out, has_members: false }
    }

    /// Begins a member; its value is to be written next, to what is returned.
    pub(super) fn key(&mut self, key: &str) -> &mut String {
        if self.has_members {
            self.out.push(',');
        }
        self.has_members = true;
        write_string(self.out, key);
        self.out.push(':');
        self.out
    }

    /// A string.
    pub(super) fn text(&mut self, key: &str, text: &str) {
        write_string(self.key(key), text);
    }

    /// A string, where there is one.
    pub(super) fn optional(&mut self, key: &str, text: Option<&str>) {
        text.into_iter().for_each(|text| self.text(key, text));
    }

    /// A value that is JSON already.
    pub(super) fn raw(&mut self, key: &str, json: &str) {
        self.key(key).push_str(json);
    }

    /// An integer.
    pub(super) fn number(&mut self, key: &str, number: u64) {
        self.raw(key, itoa::Buffer::new().format(number));
    }

    /// Ends the object.
    pub(super) fn close(self) {
        self.out.push('}');
    }
}
