//! Parts of records that make up most of their text and are the same in many records of a ledger. They are parsed and
//! kept once.

use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;
use serde::Serializer;
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::PoisonError;
use std::sync::RwLock;

/// The largest number of different values that are kept to be shared; a ledger with more is read more slowly.
const MOST_KEPT: usize = 4096;

/// A value that records share.
#[derive(Debug, Default, PartialEq)]
pub struct Interned<T>(Arc<T>);

impl<T> Clone for Interned<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Interned<T> {
    /// Whether both are the same value in memory. If not, they may still be equal.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The address of the shared value, which is equal for clones of one value.
    pub fn address(&self) -> usize {
        Arc::as_ptr(&self.0) as usize
    }
}

impl<T> From<T> for Interned<T> {
    fn from(value: T) -> Self {
        Self(Arc::new(value))
    }
}

impl<T: FromIterator<A>, A> FromIterator<A> for Interned<T> {
    fn from_iter<I: IntoIterator<Item = A>>(items: I) -> Self {
        T::from_iter(items).into()
    }
}

impl<T> Deref for Interned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Serialize> Serialize for Interned<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Interned<T> {
    /// Makes a value that is not shared; `Kept::read` makes a shared one.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Self::from)
    }
}

/// Values by the JSON that they were parsed from: one bucket for each digest.
pub(super) struct Kept<T>(LazyLock<RwLock<HashMap<u64, Bucket<T>>>>);

/// The texts with one digest, nearly always one text, with their values.
type Bucket<T> = Vec<(String, Interned<T>)>;

impl<T: DeserializeOwned> Kept<T> {
    pub const fn new() -> Self {
        Self(LazyLock::new(RwLock::default))
    }

    /// The value of a JSON text, which is parsed only if it was not parsed before.
    pub fn read(&self, text: &str) -> serde_json::Result<Interned<T>> {
        let digest = digest(text);
        let known = |kept: &HashMap<u64, Bucket<T>>| {
            let bucket = kept.get(&digest)?;
            bucket.iter().find(|(of, _)| of == text).map(|(_, value)| value.clone())
        };
        if let Some(known) = known(&self.0.read().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(known);
        }
        let value: Interned<T> = serde_json::from_str(text)?;
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have parsed it meanwhile: all callers get the same value.
        if let Some(known) = known(&kept) {
            return Ok(known);
        }
        if kept.len() == MOST_KEPT {
            kept.clear();
        }
        kept.entry(digest).or_default().push((text.to_owned(), value.clone()));
        Ok(value)
    }
}

/// A hash of a text at several bytes per cycle: the standard hasher would take most of the time that sharing saves.
/// Equal digests do no harm, because the texts are compared.
fn digest(text: &str) -> u64 {
    let mix = |digest: u64, word: u64| (digest.rotate_left(5) ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let (words, rest) = text.as_bytes().as_chunks::<8>();
    let digest = words.iter().fold(text.len() as u64, |digest, word| mix(digest, u64::from_le_bytes(*word)));
    rest.iter().fold(digest, |digest, &byte| mix(digest, byte.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_are_kept_once_and_come_back_as_they_were() {
        static KEPT: Kept<Vec<u32>> = Kept::new();
        let [one, other] = ["[1,2]"; 2].map(|text| KEPT.read(text).unwrap());
        assert!(one.is(&other) && **one == [1, 2]);
        let apart = KEPT.read("[1, 2]").unwrap();
        assert!(apart == one && !apart.is(&one));
        assert_eq!(serde_json::to_string(&one).unwrap(), "[1,2]");
        assert!(KEPT.read("{}").is_err());
        for i in 0..=MOST_KEPT {
            assert_eq!(KEPT.read(&format!("[{i}]")).unwrap()[0], i as u32);
        }
        assert_eq!(KEPT.read("[1,2]").unwrap(), one);
    }
}
