//! JSON: a value in each line, or one text with the records somewhere in it.

use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::Value;

use super::Found;

/// What a text of JSON is; none where it is none. `lines`: its name says that it has a value a line.
pub(super) fn look(text: &str, lines: bool) -> Option<Found> {
    let text = text.trim_start();
    let mut rows = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let is_value = |line: &str| serde_json::from_str::<IgnoredAny>(line).is_ok();
    let first = rows.next()?;
    let second = rows.next();
    let is_record = first.starts_with(['{', '[']) && is_value(first);
    if lines && (is_value(first) || second.is_some_and(is_value)) {
        return Some(Found::new("jsonl", "a JSON value in each line"));
    }
    if is_record && second.is_some_and(|second| second.starts_with(['{', '['])) {
        return Some(Found::new("jsonl", "a JSON value in each line"));
    }
    if !text.starts_with(['{', '[']) {
        return None;
    }
    let mut search = Search::default();
    // Why ok: it ends with an error where it has found something, or where the beginning is cut off.
    search
        .deserialize(&mut serde_json::Deserializer::from_str(text))
        .ok();
    match search.array {
        Some(pointer) if pointer.is_empty() => Some(Found::new("json", "a JSON array")),
        Some(pointer) => {
            let because = format!("JSON, with an array of records at {pointer}");
            Some(Found::new("json", because).with("pointer", pointer))
        }
        None if search.members > 0 => Some(Found::new("json", "a JSON object of records by name")),
        None => None,
    }
}

/// Looks for the first array of objects, else of anything.
#[derive(Default)]
struct Search {
    path: Vec<String>,
    /// Where it is, as a JSON pointer.
    array: Option<String>,
    /// Members of the outermost object that are objects themselves.
    members: usize,
}

impl Search {
    fn pointer(&self) -> String {
        let escaped = self
            .path
            .iter()
            .map(|name| name.replace('~', "~0").replace('/', "~1"));
        escaped.flat_map(|name| ["/".to_owned(), name]).collect()
    }

    fn deserialize<'de, D: Deserializer<'de>>(&mut self, deserializer: D) -> Result<(), D::Error> {
        Seed(self).deserialize(deserializer)
    }
}

struct Seed<'a>(&'a mut Search);

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        if self.0.path.len() == 1 {
            self.0.members += 1;
        }
        while let Some(name) = map.next_key::<String>()? {
            self.0.path.push(name);
            map.next_value_seed(Seed(&mut *self.0))?;
            self.0.path.pop();
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let first: Option<Value> = list.next_element()?;
        // Why the outermost in any case: there is nothing else to find.
        if first.is_some_and(|first| first.is_object()) || self.0.path.is_empty() {
            self.0.array = Some(self.0.pointer());
            return Err(A::Error::custom("found"));
        }
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}
