//! Failures grouped by error, the most frequent first.

use serde_json::Value;

use super::list;
use crate::{
    cli::show::{count, number, plain, text},
    payload::gist,
};

pub(super) fn lines(answer: &Value) -> Vec<String> {
    list("failures", &answer["errors"], |group| {
        let items = count(number(group, "items"));
        format!(
            "{items} × {}: {}",
            plain(text(group, "error")),
            plain(gist(text(group, "cause")))
        )
    })
}
