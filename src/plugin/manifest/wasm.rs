//! What a manifest says of a handler that is a WebAssembly component: the table `[wasm]`, and the keys
//! that go with it.
//!
//! Parsed and checked in every build, so that a folder can be checked anywhere; only a build with the
//! feature `wasm` runs it.

use std::path::{Component, Path};

use serde::{Deserialize, Serialize};

use super::{HostKind, Manifest, ManifestError, invalid};

/// The keys of the table.
pub(super) const KEYS: &[&str] = &["memory_bytes_max", "instance"];

/// Bounds of `memory_bytes_max`: below the first no engine of a language starts; the second is what a
/// 32-bit memory can have.
const MEMORY_BYTES: std::ops::RangeInclusive<u64> = 1 << 20..=1 << 32;

/// The table `[wasm]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Wasm {
    /// Memory that one instance may have, all its memories and tables together, 1 MiB to 4 GiB;
    /// default 256 MiB.
    pub memory_bytes_max: u64,
    /// Whether an instance is kept for the next item.
    pub instance: Instance,
}

impl Default for Wasm {
    fn default() -> Self {
        Self {
            // Why so much: an engine of JavaScript or Python takes 20 to 60 MiB before its first item.
            memory_bytes_max: 256 << 20,
            instance: Instance::default(),
        }
    }
}

/// Whether an instance is kept for the next item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Instance {
    /// It is: what the handler keeps in memory is there for the next item.
    #[default]
    Reused,
    /// Each item has an instance of its own, which has seen nothing.
    Fresh,
}

impl Manifest {
    /// The keys that a component needs, has bounds for, or would ignore.
    pub(super) fn check_wasm(&self) -> Result<(), ManifestError> {
        if self.host != HostKind::Wasm {
            return match self.wasm {
                Some(_) => invalid("wasm", format!("means nothing to host = \"{}\"", self.host)),
                None => Ok(()),
            };
        }
        let Some(file) = self.component() else {
            let given = self.handler.as_ref().map_or_else(
                || "is missing".to_owned(),
                |handler| format!("is {handler:?}"),
            );
            return invalid(
                "handler",
                format!("{given}; write \"handler.wasm\", a component in this folder"),
            );
        };
        let inside = Path::new(file)
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        if !inside {
            return invalid(
                "handler",
                format!("is {file:?}; the component is a file of this folder"),
            );
        }
        if self.in_flight.get() > 1 {
            return invalid(
                "in_flight",
                "means nothing to host = \"wasm\", whose instances work on one item at a time; raise `workers`"
                    .to_owned(),
            );
        }
        if self.limits.memory_bytes.is_some() {
            return invalid(
                "limits",
                "has memory_bytes, the address space, of which a component reserves gigabytes that it never uses; write [wasm] memory_bytes_max"
                    .to_owned(),
            );
        }
        let bytes = self.wasm.unwrap_or_default().memory_bytes_max;
        if !MEMORY_BYTES.contains(&bytes) {
            let (least, most) = (MEMORY_BYTES.start(), MEMORY_BYTES.end());
            return invalid(
                "wasm",
                format!("has memory_bytes_max = {bytes}; between {least} and {most}"),
            );
        }
        Ok(())
    }

    /// The component's file within the folder, if this plugin is one.
    #[must_use]
    pub(in crate::plugin) fn component(&self) -> Option<&str> {
        let is_component =
            |file: &&str| Path::new(file).extension().is_some_and(|end| end == "wasm");
        (self.host == HostKind::Wasm)
            .then(|| self.handler.as_deref().filter(is_component))
            .flatten()
    }
}
