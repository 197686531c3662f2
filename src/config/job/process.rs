//! `[process]`: which plugin handles the records of a job, how many at a time, and for how long.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use toml::de::DeValue;

use super::super::{
    document::Section,
    values::{duration, name, one_of, or_word, text, whole_u32},
};

/// Most items of a job at a time. A slot costs a frame, a payload and a file descriptor or two; ten
/// thousand of them are what AWS takes as MaxConcurrency of a Distributed Map.
const CONCURRENCY_MAX: u32 = 10_000;

/// How long a handler may take where nobody says: longer than any call of an API, short enough that
/// a hanging handler shows on the same day.
const TIMEOUT: Duration = Duration::from_mins(5);

/// Longest and shortest timeout. Spec: `TimeoutSeconds` is at most 99,999,999.
const TIMEOUT_MIN: Duration = Duration::from_millis(1);
const TIMEOUT_MAX: Duration = Duration::from_secs(99_999_999);

/// `[process]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Whose handler.
    pub plugin: PluginRef,
    /// Items at a time, from 1 to 10,000.
    pub concurrency: u32,
    /// Whether an item that backs off keeps its slot.
    pub order: Order,
    /// From the hand-over to the worker; `None`: as long as it takes (`"never"`).
    pub timeout: Option<Duration>,
    /// What becomes of an item whose worker or daemon went away.
    pub on_interrupt: OnInterrupt,
}

/// How a job names its plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PluginRef {
    /// By the name it was deployed under.
    Name(String),
    /// By its folder.
    Folder(PathBuf),
}

/// Whether an item that backs off keeps its slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// It gives the slot back; others overtake it.
    Relaxed,
    /// It keeps the slot, as on AWS; with one slot this is the serial loop.
    Strict,
}

/// What becomes of an item that was in flight when its worker or the daemon went away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnInterrupt {
    /// It is handed over again.
    Retry,
    /// It is held until somebody decides.
    Hold,
}

impl Process {
    pub(super) fn read(mut section: Section<'_>, base_dir: &Path) -> Option<Self> {
        const ORDERS: [(&str, Order); 2] = [("relaxed", Order::Relaxed), ("strict", Order::Strict)];
        const ON_INTERRUPT: [(&str, OnInterrupt); 2] =
            [("retry", OnInterrupt::Retry), ("hold", OnInterrupt::Hold)];
        let mend = "write a plugin's name, or its folder as in plugin = \"./enrich\"";
        let plugin = section.required("plugin", mend, |value| plugin(value, base_dir));
        let concurrency =
            section.read("concurrency", |value| whole_u32(value, 1..=CONCURRENCY_MAX));
        let order = section.read("order", |value| one_of(value, &ORDERS));
        let timeout = section.read("timeout", |value| {
            or_word(value, "never", |value| {
                duration(value, TIMEOUT_MIN..=TIMEOUT_MAX)
            })
        });
        let on_interrupt = section.read("on_interrupt", |value| one_of(value, &ON_INTERRUPT));
        section.finish();
        Some(Self {
            plugin: plugin?,
            concurrency: concurrency.unwrap_or(1),
            order: order.unwrap_or(Order::Relaxed),
            timeout: timeout.unwrap_or(Some(TIMEOUT)),
            on_interrupt: on_interrupt.unwrap_or(OnInterrupt::Retry),
        })
    }
}

/// What looks like a path is a folder, anything else a name.
fn plugin(value: &DeValue<'_>, base_dir: &Path) -> Result<PluginRef, String> {
    let written = text(value)?;
    if written.contains('/') || written.starts_with('.') {
        // Why by components: "./enrich" then shows without its dot in messages.
        let folder = base_dir.join(written);
        Ok(PluginRef::Folder(folder.components().collect()))
    } else {
        name(value).map(PluginRef::Name)
    }
}
