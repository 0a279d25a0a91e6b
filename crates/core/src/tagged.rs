//! Lines of JSON that say first what they are.
//!
//! serde's own reader of a tagged enum keeps a whole line in memory before it looks at its tag, since the tag may come
//! last. Journals and plans have millions of lines; with the tag known to be first each is read straight into its type.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserializer;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};

/// An enum whose variants are told apart by the key `line`.
pub(crate) trait Tagged<'de>: Sized {
    /// The tags that there are.
    const TAGS: &'static [&'static str];

    /// Reads the rest of a line; `None` where no line has this tag.
    fn rest<D: Deserializer<'de>>(tag: &str, rest: D) -> Result<Option<Self>, D::Error>;
}

/// Reads a line whose first key is its tag.
pub(crate) fn read<'de, T: Tagged<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    deserializer.deserialize_map(TagFirst(PhantomData))
}

struct TagFirst<T>(PhantomData<T>);

impl<'de, T: Tagged<'de>> Visitor<'de> for TagFirst<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object that begins with the key `line`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
        if map.next_key::<String>()?.as_deref() != Some("line") {
            return Err(A::Error::custom("the first key has to be `line`"));
        }
        let tag: String = map.next_value()?;
        T::rest(&tag, MapAccessDeserializer::new(map))?.ok_or_else(|| A::Error::unknown_variant(&tag, T::TAGS))
    }
}
