//! Which field could be the records' identity.

use std::collections::HashSet;

use serde_json::Value;

use crate::{integration::source::ID_BYTES_MAX, payload::Payload};

/// What the fields of some records look like.
pub(super) struct Ids {
    /// Fields that were different in each record, in the order of the records' fields.
    pub(super) unique: Vec<String>,
    /// The first field of the records, where there are several of them.
    first: Option<String>,
}

impl Ids {
    /// Takes out the field to propose: one that is called like an identity, else the first field of
    /// the records. None where a name is all there is: in a single record everything is unique.
    pub(super) fn take_proposed(&mut self) -> Option<String> {
        let best = self.unique.iter().enumerate().filter_map(|(at, name)| {
            let is_first = self.first.as_ref() == Some(name);
            let rank = rank(name).or(is_first.then_some(5))?;
            Some((rank, at))
        });
        let (_, at) = best.min()?;
        Some(self.unique.remove(at))
    }
}

/// How much a name sounds like an identity; less is more.
fn rank(name: &str) -> Option<u8> {
    let name = name.to_lowercase();
    let word = name
        .rsplit(['_', '-', '.', ' ', ':'])
        .next()
        .unwrap_or(&name);
    match word {
        "id" | "uuid" | "guid" if word == name => Some(0),
        "id" | "uuid" | "guid" | "key" | "pk" => Some(1),
        "number" | "no" | "nr" | "code" | "sku" | "isbn" | "ean" | "iban" => Some(2),
        "path" | "url" | "uri" | "email" | "slug" => Some(3),
        _ if name.ends_with("id") => Some(4),
        _ => None,
    }
}

/// The fields that every record has, each time with another value that can be an identity.
pub(super) fn unique(records: &[Payload]) -> Ids {
    let names = |record: &Payload| -> Vec<String> {
        let fields = record.value().as_object();
        fields.map_or_else(Vec::new, |fields| fields.keys().cloned().collect())
    };
    let mut unique = records.first().map(names).unwrap_or_default();
    let first = unique.first().filter(|_| records.len() > 1).cloned();
    // Why without "/": such a name would be read as a pointer.
    unique.retain(|name| !name.is_empty() && !name.starts_with('/') && is_unique(records, name));
    Ids { unique, first }
}

fn is_unique(records: &[Payload], name: &str) -> bool {
    let mut seen = HashSet::new();
    records.iter().all(|record| {
        let id = match record.value().get(name) {
            Some(Value::String(text)) => text.clone(),
            // Why whole ones: a measure is different in each record, too.
            Some(Value::Number(number)) if !number.is_f64() => number.to_string(),
            _ => return false,
        };
        (1..=ID_BYTES_MAX).contains(&id.len()) && seen.insert(id)
    })
}
