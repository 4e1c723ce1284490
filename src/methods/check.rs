//! Checks of the methods' hyperparameters. A refused value never affects a result.

use crate::error::{Error, Result};

/// Checks that `value` is above 0.
pub(super) fn above_zero(key: &str, name: &str, value: f32) -> Result<()> {
    if value > 0.0 && value.is_finite() {
        return Ok(());
    }
    Err(Error::new(format!("`{key}.{name}` is {value}; it must be above 0"))
        .hint(format!("`sempair config {key}` shows the method's settings")))
}

/// Checks that `value` is 0 or more.
pub(super) fn not_negative(key: &str, name: &str, value: f32) -> Result<()> {
    if value >= 0.0 && value.is_finite() {
        return Ok(());
    }
    Err(Error::new(format!("`{key}.{name}` is {value}; it must be 0 or more"))
        .hint(format!("`sempair config {key}` shows the method's settings")))
}

/// Checks that `value` lies between 0 and 1.
pub(super) fn a_part(key: &str, name: &str, value: f32) -> Result<()> {
    if (0.0..=1.0).contains(&value) {
        return Ok(());
    }
    Err(Error::new(format!("`{key}.{name}` is {value}; it must lie between 0 and 1"))
        .hint(format!("`sempair config {key}` shows the method's settings")))
}

/// Checks that `value` is at least `least`.
pub(super) fn at_least(key: &str, name: &str, value: usize, least: usize) -> Result<()> {
    if value >= least {
        return Ok(());
    }
    Err(Error::new(format!("`{key}.{name}` is {value}; it must be at least {least}"))
        .hint(format!("`sempair config {key}` shows the method's settings")))
}
