//! What a job's `[output]` table says: the kinds of sinks and their keys.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::csv::{FIRST_COLUMNS, LAST_COLUMNS};
use crate::integration::{
    source::check_names,
    spec::{SpecError, Table},
};

/// Where a job's results go beside the results table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkSpec {
    /// The file; relative until [`SinkSpec::resolve_paths`].
    pub path: PathBuf,
    /// The kind, with its own keys.
    pub kind: SinkKind,
}

/// The kinds of sinks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SinkKind {
    /// A JSON object in each line.
    Jsonl,
    /// A row of fields for each result.
    Csv(CsvSinkSpec),
}

/// The keys of a CSV sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CsvSinkSpec {
    /// Which fields of the results; `None`: those that the first result has.
    pub columns: Option<Vec<String>>,
    /// Between fields; one ASCII character. Default: a comma.
    pub delimiter: u8,
}

impl SinkSpec {
    /// Reads the table; unknown keys are errors that name their nearest neighbour.
    pub fn from_json(table: Value) -> Result<Self, SpecError> {
        let mut table = Table::new("output", table)?;
        let is_csv = table.kind(&[("jsonl", false), ("csv", true)])?;
        let path: PathBuf = table.require("path")?;
        if path.as_os_str().is_empty() {
            return Err(table.refuse("path", &Value::from(""), "a path is not empty"));
        }
        let kind = if is_csv {
            SinkKind::Csv(CsvSinkSpec {
                columns: take_columns(&mut table)?,
                delimiter: table.take_delimiter(true)?,
            })
        } else {
            SinkKind::Jsonl
        };
        table.finish()?;
        Ok(Self { path, kind })
    }

    /// Makes a relative path one below `base_dir`.
    pub fn resolve_paths(&mut self, base_dir: &Path) {
        self.path = base_dir.join(&self.path);
    }
}

fn take_columns(table: &mut Table) -> Result<Option<Vec<String>>, SpecError> {
    let columns: Option<Vec<String>> = table.take("columns")?;
    let Some(names) = &columns else {
        return Ok(None);
    };
    let own = FIRST_COLUMNS.iter().chain(&LAST_COLUMNS);
    let twice = own
        .clone()
        .find(|own| names.iter().any(|name| name == *own));
    let checked = match twice {
        Some(own) => Err(format!("the column {own:?} is written anyway")),
        None => check_names(names),
    };
    checked.map_err(|problem| table.refuse("columns", &Value::from(names.as_slice()), &problem))?;
    Ok(columns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_kind_takes_its_own_keys() {
        let csv = json!({"kind": "csv", "path": "a.csv", "columns": ["a", "b"], "delimiter": "\t"});
        let mut spec = SinkSpec::from_json(csv).unwrap();
        spec.resolve_paths(Path::new("/state"));
        let columns = Some(vec!["a".to_owned(), "b".to_owned()]);
        assert_eq!(
            spec,
            SinkSpec {
                path: PathBuf::from("/state/a.csv"),
                kind: SinkKind::Csv(CsvSinkSpec {
                    columns,
                    delimiter: b'\t'
                })
            }
        );
        for (table, message) in [
            (
                json!({"kind": "jsonl", "path": "a", "columns": ["a"]}),
                r#"[output] has no key "columns" for kind = "jsonl"; there are kind, path"#,
            ),
            (
                json!({"kind": "csv", "path": "a", "columns": ["a", "id"]}),
                r#"[output] columns = ["a","id"]: the column "id" is written anyway"#,
            ),
            (
                json!({"kind": "csv", "path": "a", "columns": ["a", "a"]}),
                r#"[output] columns = ["a","a"]: the name "a" stands twice"#,
            ),
            (
                json!({"kind": "csv", "path": "a", "delimiter": "\n"}),
                r#"[output] delimiter = "\n": a quote or a line end cannot delimit"#,
            ),
            (json!({"kind": "jsonl"}), "[output] lacks path = .."),
        ] {
            assert_eq!(SinkSpec::from_json(table).unwrap_err().to_string(), message);
        }
    }
}
