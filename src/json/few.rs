//! The first elements of an array: what a trace keeps is bounded, so what is parsed is too. A megabyte of `[{},{},…]`
//! parsed whole would take a hundred times its size.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Up to `N` elements of an array; the others are passed over, and anything but an array reads as none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Few<T, const N: usize> {
    /// The elements.
    pub items: Vec<T>,
    /// There were more.
    pub more: bool,
}

impl<T, const N: usize> Default for Few<T, N> {
    fn default() -> Self {
        Self { items: Vec::new(), more: false }
    }
}

struct FewVisitor<T, const N: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const N: usize> Visitor<'de> for FewVisitor<T, N> {
    type Value = Few<T, N>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut few = Few::default();
        while few.items.len() < N {
            match seq.next_element()? {
                Some(item) => few.items.push(item),
                None => return Ok(few),
            }
        }
        while seq.next_element::<IgnoredAny>()?.is_some() {
            few.more = true;
        }
        Ok(few)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Few::default())
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Few::default())
    }
    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Few::default())
    }
    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Few::default())
    }
    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Few::default())
    }
    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Few::default())
    }
    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(Few::default())
    }
}

impl<'de, T: Deserialize<'de>, const N: usize> Deserialize<'de> for Few<T, N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FewVisitor(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_elements_are_kept_and_anything_else_is_none() {
        let few = |json: &str| serde_json::from_str::<Few<u8, 2>>(json).unwrap();
        assert_eq!(few("[1,2]"), Few { items: vec![1, 2], more: false });
        assert_eq!(few("[1,2,\"x\",{}]"), Few { items: vec![1, 2], more: true });
        for other in ["null", "true", "1", "-1", "1.5", "\"x\"", "{\"a\":[1]}"] {
            assert_eq!(few(other), Few::default(), "{other}");
        }
    }
}
