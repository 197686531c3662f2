//! Results and records as text, for whoever writes them somewhere that is no sink: an export.
//!
//! Records are written as their source has them, so that what is written can be a source again: rows of
//! CSV with the same columns, delimiter and quoting, or the record's own JSON text in a line.

use super::{CsvSinkSpec, Row, csv, jsonl};
use crate::integration::{
    json_text,
    source::{SourceKind, SourceSpec},
};

/// The column of a record that is no object.
const WHOLE: &str = "item";

/// Results as text.
#[derive(Debug)]
pub struct ResultText(ResultForm);

#[derive(Debug)]
enum ResultForm {
    Jsonl,
    Csv(csv::Format),
}

impl ResultText {
    /// A JSON object in each line.
    #[must_use]
    pub const fn jsonl() -> Self {
        Self(ResultForm::Jsonl)
    }

    /// A row for each result, behind a header; the first result says which columns there are.
    #[must_use]
    pub fn csv() -> Self {
        let spec = CsvSinkSpec {
            columns: None,
            delimiter: b',',
        };
        Self(ResultForm::Csv(csv::Format::new(&spec)))
    }

    /// Appends a result.
    pub fn push(&mut self, out: &mut String, row: &Row<'_>) {
        match &mut self.0 {
            ResultForm::Jsonl => jsonl::push(out, row),
            ResultForm::Csv(format) => format.push(out, row),
        }
    }
}

/// Records as text.
#[derive(Debug)]
pub struct RecordText(RecordForm);

#[derive(Debug)]
enum RecordForm {
    Jsonl,
    Csv {
        delimiter: char,
        quote: bool,
        /// Whether the columns' names are written before the first record.
        header: bool,
        /// `None` before the first record, which says what they are.
        columns: Option<Vec<String>>,
    },
}

impl RecordText {
    /// A JSON text in each line.
    #[must_use]
    pub const fn jsonl() -> Self {
        Self(RecordForm::Jsonl)
    }

    /// Rows with commas, behind a header.
    #[must_use]
    pub const fn csv() -> Self {
        Self(RecordForm::Csv {
            delimiter: ',',
            quote: true,
            header: true,
            columns: None,
        })
    }

    /// As the source has its records: rows as its rows are, lines of JSON where it has no rows.
    #[must_use]
    pub fn of_source(spec: &SourceSpec) -> Self {
        match &spec.kind {
            SourceKind::Csv(csv) => Self(RecordForm::Csv {
                delimiter: char::from(csv.delimiter),
                quote: csv.quote,
                // Why: columns that the job names stand in no file, and the next job names them too.
                header: csv.headers.is_none(),
                columns: csv.headers.clone(),
            }),
            SourceKind::Json(_)
            | SourceKind::Jsonl
            | SourceKind::Directory(_)
            | SourceKind::Sql(_)
            | SourceKind::Queue(_) => Self::jsonl(),
        }
    }

    /// The word for it: `csv` or `jsonl`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self.0 {
            RecordForm::Jsonl => "jsonl",
            RecordForm::Csv { .. } => "csv",
        }
    }

    /// Appends a record by its JSON text.
    pub fn push(&mut self, out: &mut String, record: &str) {
        let (delimiter, quote, header, columns) = match &mut self.0 {
            RecordForm::Jsonl => {
                jsonl::push_one_line(out, record);
                out.push('\n');
                return;
            }
            RecordForm::Csv {
                delimiter,
                quote,
                header,
                columns,
            } => (*delimiter, *quote, header, columns),
        };
        let members = json_text::members(record);
        let columns = columns.get_or_insert_with(|| match &members {
            Some(members) => members.iter().map(|(name, _)| name.clone()).collect(),
            None => vec![WHOLE.to_owned()],
        });
        let mut line = |fields: &mut dyn Iterator<Item = Field<'_>>| {
            for (n, field) in fields.enumerate() {
                if n > 0 {
                    out.push(delimiter);
                }
                match field {
                    Field::Text(text) if quote => csv::push_field(out, text, delimiter),
                    Field::Text(text) => out.push_str(text),
                    Field::Json(json) if quote => csv::push_value(out, json, delimiter),
                    Field::Json(json) => match serde_json::from_str::<String>(json) {
                        Ok(text) => out.push_str(&text),
                        Err(_) => out.push_str(json),
                    },
                    Field::None => {}
                }
            }
            out.push('\n');
        };
        if std::mem::take(header) {
            line(&mut columns.iter().map(|name| Field::Text(name)));
        }
        let field = |name: &String| match &members {
            Some(members) => members
                .iter()
                .find(|(member, _)| member == name)
                .map_or(Field::None, |(_, json)| Field::Json(json)),
            None if name == WHOLE => Field::Json(record),
            None => Field::None,
        };
        line(&mut columns.iter().map(field));
    }
}

enum Field<'a> {
    Text(&'a str),
    Json(&'a str),
    None,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        ids::Cursor,
        integration::source::{OpenContext, PageBounds, open},
    };

    /// Reads a source, writes its records as it has them, reads that: the same records.
    fn check(table: &serde_json::Value, rows: &str, written: &str) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("in");
        std::fs::write(&path, rows).unwrap();
        let mut table = table.clone();
        table["path"] = path.display().to_string().into();
        let spec = SourceSpec::from_json(table).unwrap();
        let read = || -> Vec<String> {
            let mut progress = |_| std::ops::ControlFlow::Continue(());
            let mut context = OpenContext {
                spool_dir: folder.path(),
                spool_bytes_max: 0,
                progress: &mut progress,
            };
            let bounds = PageBounds {
                records_max: 99,
                bytes_max: 1 << 20,
                record_bytes_max: 1 << 20,
            };
            let mut source = open(&spec, &mut context).unwrap();
            let page = source.read(&Cursor::start(), bounds).unwrap();
            let records = page.records.into_iter();
            records
                .map(|record| record.item.unwrap().text().to_owned())
                .collect()
        };
        let records = read();
        let (mut text, mut out) = (RecordText::of_source(&spec), String::new());
        for record in &records {
            text.push(&mut out, record);
        }
        assert_eq!(out, written);
        std::fs::write(&path, &out).unwrap();
        assert_eq!(read(), records);
    }

    #[test]
    fn records_are_written_so_that_their_source_reads_them_again() {
        check(
            &json!({"kind": "csv"}),
            "id,a b\r\n1,\"x, \"\"y\"\"\"\r\n2\r\n",
            "id,a b\n1,\"x, \"\"y\"\"\"\n2,\n",
        );
        check(
            &json!({"kind": "csv", "delimiter": ";", "quote": false, "headers": ["a", "b"]}),
            "1;say \"x\"\n2;,\n",
            "1;say \"x\"\n2;,\n",
        );
        check(
            &json!({"kind": "jsonl"}),
            "{\"a\": 1.50, \"b\":[1]}\n7\n",
            "{\"a\": 1.50, \"b\":[1]}\n7\n",
        );
    }
}
