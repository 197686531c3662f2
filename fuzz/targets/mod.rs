//! What is fuzzed: everything that takes bytes from somebody whom iterd does not know. A target takes any
//! bytes, and panics where iterd does or where what came out of it contradicts itself.
//!
//! Shared by the libFuzzer targets beside and by the test that replays their corpora.

mod language;
mod readers;
mod wire;

pub(crate) use self::{
    language::{definition, intrinsic, jsonata, path, template, timestamp},
    readers::reader,
    wire::{protocol, signature},
};

/// A target.
pub(crate) type Target = fn(&[u8]);

/// All of them by the names of their corpora.
pub(crate) const ALL: &[(&str, Target)] = &[
    ("definition", definition),
    ("intrinsic", intrinsic),
    ("jsonata", jsonata),
    ("path", path),
    ("protocol", protocol),
    ("reader", reader),
    ("signature", signature),
    ("template", template),
    ("timestamp", timestamp),
];

/// The bytes as text, if they are.
fn text(data: &[u8]) -> Option<&str> {
    std::str::from_utf8(data).ok()
}
