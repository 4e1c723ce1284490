//! The settings of records. Most records of a ledger have the same ones, and these are most of their text: they are read
//! and kept once.

use crate::harness::record::Setting;
use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;
use serde::Serializer;
use serde::de::Error;
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

/// So many different lists of settings are kept to be shared; a ledger with more is read more slowly.
const MOST_KEPT: usize = 256;

/// A list of settings, shared among the records that have the same.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SharedSettings(Arc<[Setting]>);

impl Deref for SharedSettings {
    type Target = [Setting];

    fn deref(&self) -> &[Setting] {
        &self.0
    }
}

impl FromIterator<Setting> for SharedSettings {
    fn from_iter<I: IntoIterator<Item = Setting>>(settings: I) -> Self {
        Self(settings.into_iter().collect())
    }
}

impl Serialize for SharedSettings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SharedSettings {
    /// Only what serde_json reads: equal texts are read once.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        static KEPT: Mutex<Option<HashMap<String, SharedSettings>>> = Mutex::new(None);
        let text = Box::<RawValue>::deserialize(deserializer)?;
        let lock = || KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = lock().get_or_insert_default().get(text.get()) {
            return Ok(known.clone());
        }
        let settings: Vec<Setting> = serde_json::from_str(text.get()).map_err(D::Error::custom)?;
        let settings: Self = settings.into_iter().collect();
        let mut kept = lock();
        let kept = kept.get_or_insert_default();
        if kept.len() == MOST_KEPT {
            kept.clear();
        }
        kept.insert(text.get().to_owned(), settings.clone());
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_settings_are_kept_once_and_come_back_as_they_were() {
        let text =
            r#"[{"key":"rate","value":0.125,"origin":"--set"},{"key":"sets","value":["a","b"],"origin":"x.toml:3"}]"#;
        let [one, other]: [SharedSettings; 2] = [0, 1].map(|_| serde_json::from_str(text).unwrap());
        assert!(Arc::ptr_eq(&one.0, &other.0));
        assert_eq!(serde_json::to_string(&one).unwrap(), text);
        let by_value: SharedSettings = serde_json::from_value(serde_json::to_value(&one).unwrap()).unwrap();
        assert_eq!(by_value, one);
        assert!(serde_json::from_str::<SharedSettings>(r#"[{"key":1}]"#).is_err());
        assert!(serde_json::from_str::<SharedSettings>("{}").is_err());
        for i in 0..=MOST_KEPT {
            let many = format!(r#"[{{"key":"{i}","value":null,"origin":""}}]"#);
            assert_eq!(serde_json::from_str::<SharedSettings>(&many).unwrap()[0].key, i.to_string());
        }
    }
}
