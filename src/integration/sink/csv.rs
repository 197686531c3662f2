//! A result as a row of fields: `index`, `id`, the fields of the result, `version`, `attempts`.
//!
//! Which fields is settled once, by the spec or by the first result, and from then on stands in the
//! file's own header. A result that is no object is the one field `result`. Strings are written as
//! they are, null as nothing, arrays and objects as JSON. What a later result has beyond the columns
//! is not written; the results table has all of it.

use std::{
    borrow::Cow,
    collections::HashMap,
    io::{BufRead, BufReader, Read},
};

use super::{CsvSinkSpec, Row};
use crate::integration::{json_text, source::CsvFields};

/// Columns before those of the result.
pub(super) const FIRST_COLUMNS: [&str; 2] = ["index", "id"];
/// Columns behind those of the result.
pub(super) const LAST_COLUMNS: [&str; 2] = ["version", "attempts"];

/// The column of a result that is no object.
const WHOLE: &str = "result";

/// Longest header that is read back: as long as a CSV source takes.
const HEADER_BYTES_MAX: u64 = 1024 * 1024;

/// How results become rows.
#[derive(Debug)]
pub(super) struct Format {
    delimiter: u8,
    /// `None` before the first result.
    columns: Option<Vec<String>>,
    header_written: bool,
}

impl Format {
    pub(super) fn new(spec: &CsvSinkSpec) -> Self {
        Self {
            delimiter: spec.delimiter,
            columns: spec.columns.clone(),
            header_written: false,
        }
    }

    /// Takes the columns from the header of a file that is gone on with.
    pub(super) fn resume(&mut self, file: impl Read) -> Result<(), String> {
        let mut header = String::new();
        let mut lines = BufReader::new(file.take(HEADER_BYTES_MAX));
        // A quoted name may hold line ends: the header goes on as long as a quote is open.
        while header.is_empty() || header.matches('"').count() % 2 == 1 {
            match lines.read_line(&mut header) {
                Ok(0) => return Err("its header does not end".to_owned()),
                Ok(_) => {}
                Err(error) => return Err(format!("its header cannot be read: {error}")),
            }
        }
        let names: Vec<String> = CsvFields::of_line(header.trim_end_matches('\n'), self.delimiter)
            .map(Cow::into_owned)
            .collect();
        let columns = match names.as_slice() {
            [index, id, columns @ .., version, attempts]
                if [index, id] == FIRST_COLUMNS && [version, attempts] == LAST_COLUMNS =>
            {
                columns.to_vec()
            }
            _ => return Err("its first line is not the header that iterd wrote".to_owned()),
        };
        if self.columns.as_ref().is_some_and(|spec| *spec != columns) {
            return Err(format!(
                "its columns are {}, the job's are others",
                columns.join(", ")
            ));
        }
        self.columns = Some(columns);
        self.header_written = true;
        Ok(())
    }

    /// Appends the row of a result, before the first one the header.
    pub(super) fn push(&mut self, out: &mut String, row: &Row<'_>) {
        let members = json_text::members(row.result.text());
        let delimiter = char::from(self.delimiter);
        let columns = self.columns.get_or_insert_with(|| match &members {
            Some(members) => {
                let mut names: Vec<String> = Vec::new();
                for (name, _) in members {
                    if !names.contains(name) {
                        names.push(name.clone());
                    }
                }
                names
            }
            None => vec![WHOLE.to_owned()],
        });
        if !self.header_written {
            let names = FIRST_COLUMNS
                .into_iter()
                .chain(columns.iter().map(String::as_str))
                .chain(LAST_COLUMNS);
            for (n, name) in names.enumerate() {
                if n > 0 {
                    out.push(delimiter);
                }
                push_field(out, name, delimiter);
            }
            out.push('\n');
            self.header_written = true;
        }
        let members: HashMap<_, _> = match &members {
            Some(members) => members
                .iter()
                .map(|(name, text)| (name.as_str(), *text))
                .collect(),
            None => HashMap::from([(WHOLE, row.result.text())]),
        };
        json_text::push_display(out, row.index);
        out.push(delimiter);
        push_field(out, row.id.unwrap_or(""), delimiter);
        for column in columns {
            out.push(delimiter);
            if let Some(text) = members.get(column.as_str()) {
                push_value(out, text, delimiter);
            }
        }
        json_text::push_display(
            out,
            format_args!("{delimiter}{}{delimiter}{}\n", row.version, row.attempts),
        );
    }
}

/// Appends a JSON text as a field.
pub(super) fn push_value(out: &mut String, json: &str, delimiter: char) {
    if json == "null" {
        return;
    }
    if json.starts_with('"') {
        // Invariant: the text comes from a payload, so a string reads as one.
        let text: String = serde_json::from_str(json).unwrap_or_default();
        push_field(out, &text, delimiter);
    } else {
        push_field(out, json, delimiter);
    }
}

/// Appends a field, in quotes where it needs them.
pub(super) fn push_field(out: &mut String, text: &str, delimiter: char) {
    if !text.contains([delimiter, '"', '\n', '\r']) {
        out.push_str(text);
        return;
    }
    out.push('"');
    for (n, part) in text.split('"').enumerate() {
        if n > 0 {
            out.push_str("\"\"");
        }
        out.push_str(part);
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ids::VersionNumber, payload::Payload};
    use proptest::prelude::*;

    fn format(columns: Option<&[&str]>) -> Format {
        let columns = columns.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
        Format::new(&CsvSinkSpec {
            columns,
            delimiter: b',',
        })
    }

    fn rows(format: &mut Format, results: &[&str]) -> String {
        let mut out = String::new();
        for (index, result) in (0..).zip(results) {
            let row = Row {
                index,
                id: None,
                result: &Payload::parse(*result).unwrap(),
                version: VersionNumber(1),
                attempts: 2,
            };
            format.push(&mut out, &row);
        }
        out
    }

    #[test]
    fn the_first_result_settles_the_columns() {
        assert_eq!(
            rows(
                &mut format(None),
                &[
                    r#"{"b": 1.50, "a": "x", "b": 2}"#,
                    r#"{"a": [1, "y"], "c": 3}"#,
                    r#"{"a": null, "b": true}"#,
                    "7"
                ]
            ),
            "index,id,b,a,version,attempts\n0,,2,x,1,2\n1,,,\"[1, \"\"y\"\"]\",1,2\n2,,true,,1,2\n3,,,,1,2\n"
        );
        assert_eq!(
            rows(
                &mut format(None),
                &["12345678901234567890123", "\"a\\n,\\\"b\\\"\""]
            ),
            "index,id,result,version,attempts\n0,,12345678901234567890123,1,2\n1,,\"a\n,\"\"b\"\"\",1,2\n"
        );
        assert_eq!(
            rows(&mut format(Some(&["x", "y"])), &[r#"{"y": 1}"#]),
            "index,id,x,y,version,attempts\n0,,,1,1,2\n"
        );
    }

    #[test]
    fn the_columns_of_a_file_are_gone_on_with() {
        let mut resumed = format(None);
        resumed
            .resume("index,id,\"a\nb\",c,version,attempts\n1,..".as_bytes())
            .unwrap();
        assert_eq!(
            rows(&mut resumed, &[r#"{"c": 1, "a\nb": 2}"#]),
            "0,,2,1,1,2\n"
        );
        for text in ["", "index,id\n", "a,b,c,d,e\n", "\"index"] {
            assert!(format(None).resume(text.as_bytes()).is_err(), "{text}");
        }
        let header = "index,id,a,version,attempts\n";
        assert!(format(Some(&["b"])).resume(header.as_bytes()).is_err());
        assert!(format(Some(&["a"])).resume(header.as_bytes()).is_ok());
    }

    proptest! {
        /// Quoting is exact: another reader finds every field as it was.
        #[test]
        fn any_text_reads_back_as_one_field(texts in prop::collection::vec(any::<String>(), 1..5)) {
            let result: serde_json::Map<_, _> = (0..)
                .zip(&texts)
                .map(|(n, text): (u32, _)| (n.to_string(), text.as_str().into()))
                .collect();
            let text = rows(&mut format(None), &[&serde_json::Value::from(result).to_string()]);
            let mut reader = ::csv::Reader::from_reader(text.as_bytes());
            let record = reader.records().next().unwrap().unwrap();
            let read: Vec<_> = record.iter().skip(2).take(texts.len()).collect();
            prop_assert_eq!(read, texts);
        }
    }
}
