//! The last events of a job.

use serde_json::Value;

use super::list;
use crate::cli::{
    log,
    show::{instant, text},
};

pub(super) fn lines(answer: &Value) -> Vec<String> {
    let events = &answer["events"];
    let width = log::kind_width(events.as_array().map_or(&[][..], Vec::as_slice));
    list("last events", events, |event| {
        format!(
            "{}  {:<width$}  {}",
            instant(text(event, "at")),
            text(event, "kind"),
            log::what(event)
        )
    })
}
