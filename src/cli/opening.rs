//! How a run begins or goes on: flags that `run` and `start` have in common.

use clap::Args;
use serde_json::Value;

use super::exit::{Failure, USAGE};
use crate::runtime::{ItemName, Opening};

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// Begin anew after a finished run
    #[arg(long)]
    pub(super) again: bool,
    /// Try the first N records, then pause; the same run goes on with the rest when it is resumed
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), conflicts_with = "sample")]
    first: Option<u64>,
    /// Try N records spread over the whole dataset before all others, then pause; only a new run
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    sample: Option<u32>,
    /// Begin at this record, its id or its place ('#17'); what lies before is left out; only a new run
    #[arg(long, value_name = "ITEM")]
    from: Option<String>,
}

impl Flags {
    /// For an engine in this process.
    pub(super) fn opening(&self) -> Result<Opening, Failure> {
        let from = self.from.as_deref().map(ItemName::parse).transpose();
        Ok(Opening {
            first: self.first,
            sample: self.sample,
            from: from.map_err(|problem| Failure::new(USAGE, format!("--from: {problem}")))?,
        })
    }

    /// For an operation.
    pub(super) fn add_to(&self, input: &mut Value) {
        input["again"] = self.again.into();
        input["first"] = self.first.into();
        input["sample"] = self.sample.into();
        input["from"] = self.from.as_deref().into();
    }
}
