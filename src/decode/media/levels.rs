//! Where in a JSON text the walk is: which containers are open, and which names they stand under.

use super::names::Class;

/// Deepest nesting that is followed, as in `json::Value`.
const DEPTH_MAX: usize = 128;
/// Marks an object; the other bits are the class of the container's name.
const OBJECT: u8 = 0x80;

/// The open containers.
#[derive(Debug)]
pub(super) struct Levels {
    open: [u8; DEPTH_MAX],
    depth: usize,
}

impl Levels {
    pub(super) fn new() -> Self {
        Self { open: [0; DEPTH_MAX], depth: 0 }
    }

    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    /// Opens a container; false where that is too deep.
    #[must_use]
    pub(super) fn open(&mut self, is_object: bool, class: Class) -> bool {
        let level = self.open.get_mut(self.depth);
        self.depth += usize::from(level.is_some());
        level.map(|level| *level = class as u8 | if is_object { OBJECT } else { 0 }).is_some()
    }

    pub(super) fn close(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }

    /// The innermost container is an object.
    pub(super) fn in_object(&self) -> bool {
        self.innermost() & OBJECT != 0
    }

    /// The innermost container's name is of that class.
    pub(super) fn is_under(&self, class: Class) -> bool {
        self.innermost() & !OBJECT == class as u8
    }

    /// The class of the innermost container's name, as far as its elements have it, too.
    pub(super) fn class(&self) -> Class {
        [Class::Media, Class::Data].into_iter().find(|class| self.is_under(*class)).unwrap_or(Class::Other)
    }

    fn innermost(&self) -> u8 {
        self.depth.checked_sub(1).and_then(|at| self.open.get(at)).copied().unwrap_or_default()
    }
}
