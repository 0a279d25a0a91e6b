//! A value, or the reason why there is none.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A figure that was measured, or the reason why it could not be. Never a zero for "unknown".
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Measured<T> {
    /// The figure; `null` when it could not be had.
    pub value: Option<T>,
    /// Why there is no figure; `null` when there is one.
    pub reason: Option<String>,
}

impl<T> Measured<T> {
    /// A figure.
    pub fn known(value: T) -> Self {
        Self { value: Some(value), reason: None }
    }

    /// No figure, and why.
    pub fn unknown(reason: impl Into<String>) -> Self {
        Self { value: None, reason: Some(reason.into()) }
    }

    /// The same with the figure converted.
    pub fn map<U>(self, convert: impl FnOnce(T) -> U) -> Measured<U> {
        Measured { value: self.value.map(convert), reason: self.reason }
    }
}
