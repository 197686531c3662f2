//! A condition alone: what stands between the parentheses of `[?(...)]`, asked of one value.

use std::fmt;

use serde_json::Value;

use super::{Budget, Exhausted, PathError, filter::Filter, parse};

/// A compiled condition. Within it both `@` and `$` are the value that it is asked of.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    text: Box<str>,
    filter: Filter,
}

impl Condition {
    /// Compiles a condition, as in `@.km > 5000 && @.version == 2`.
    ///
    /// # Errors
    /// What is wrong, and at which byte of the text.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        Ok(Self {
            filter: parse::condition(text)?,
            text: text.into(),
        })
    }

    /// Whether it holds of the value.
    ///
    /// # Errors
    /// The budget is used up.
    pub fn holds(&self, value: &Value, budget: &mut Budget) -> Result<bool, Exhausted> {
        self.filter.passes(value, value, budget)
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, value: &str) -> bool {
        let value = serde_json::from_str(value).unwrap();
        let mut budget = Budget::of_bytes(1 << 20);
        let condition = Condition::parse(text).unwrap();
        condition.holds(&value, &mut budget).unwrap()
    }

    #[test]
    fn a_condition_is_asked_of_one_value() {
        let far = r#"{"index":7,"version":2,"result":{"km":6000,"tags":["a","b"]}}"#;
        for (text, holds) in [
            ("@.result.km > 5000 && @.version == 2", true),
            (" (@.result.km > 5000) ", true),
            ("@.result.km > 5000 && @.version == 3", false),
            ("!(@.result.km > 7000)", true),
            ("$.index == 7", true),
            ("@.result.error", false),
            ("@.result.tags[1] == 'b'", true),
        ] {
            assert_eq!(check(text, far), holds, "{text}");
        }
        assert!(!check("@.result.km > 5000", "3"));
    }

    #[test]
    fn what_is_wrong_is_pointed_at() {
        for (text, offset) in [
            ("@.km >", 6),
            ("@.km > 5 and @.a", 9),
            ("km > 5", 0),
            ("", 0),
            ("(@.km > 5", 9),
        ] {
            let error = Condition::parse(text).unwrap_err();
            assert_eq!(error.offset, offset, "{text}: {error}");
        }
    }
}
