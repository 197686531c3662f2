//! Pages of listings: how long they are, where they begin, and the token of the next one.

use serde_json::{Value, json};

use crate::{
    api::{Api, ApiError, page_token},
    time::Timestamp,
};

/// How many rows a page has where nobody says: Spec: "the default is 100".
const ROWS_DEFAULT: u32 = 100;

/// What was asked for: a page of what `query` tells from every other listing.
pub(super) struct Page<'a> {
    query: &'a str,
    /// Where it begins: behind this; empty at the beginning.
    pub(super) after: String,
    rows_max: u32,
    now: Timestamp,
}

impl<'a> Page<'a> {
    pub(super) fn new(
        api: &Api,
        query: &'a str,
        max_results: Option<u32>,
        next_token: Option<&str>,
    ) -> Result<Self, ApiError> {
        let now = api.now();
        let after = match next_token {
            Some(token) => page_token::read(token, query, now)?,
            None => String::new(),
        };
        Ok(Self {
            query,
            after,
            rows_max: max_results.filter(|rows| *rows > 0).unwrap_or(ROWS_DEFAULT),
            now,
        })
    }

    /// How many rows are to be read: one more than the page has, to know whether another follows.
    pub(super) const fn rows_to_read(&self) -> u32 {
        self.rows_max + 1
    }

    /// How many rows the page has at most.
    pub(super) const fn rows_max(&self) -> u32 {
        self.rows_max
    }

    /// The token of the page that begins there.
    pub(super) fn token(&self, position: &str) -> String {
        page_token::make(self.query, position, self.now)
    }

    /// The answer: the rows in `key`, with a token where more follow. `show` tells a row, `position`
    /// where the page behind it begins.
    pub(super) fn answer<T>(
        &self,
        key: &str,
        rows: &[T],
        show: impl Fn(&T) -> Value,
        position: impl Fn(&T) -> String,
    ) -> Value {
        let shown = &rows[..rows.len().min(self.rows_max as usize)];
        let list: Vec<Value> = shown.iter().map(show).collect();
        let mut answer = json!({ key: list });
        if let Some(last) = shown.last().filter(|_| shown.len() < rows.len()) {
            answer["nextToken"] = self.token(&position(last)).into();
        }
        answer
    }
}
