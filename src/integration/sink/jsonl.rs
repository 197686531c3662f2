//! A result as a line of JSON, in the shape of `iterd results --json`.

use super::Row;
use crate::integration::json_text::{push_display, push_string};

/// Appends the line of a result, with its line end.
pub(super) fn push(out: &mut String, row: &Row<'_>) {
    push_display(out, format_args!("{{\"index\":{}", row.index));
    if let Some(id) = row.id {
        out.push_str(",\"id\":");
        push_string(out, id);
    }
    out.push_str(",\"result\":");
    push_one_line(out, row.result.text());
    let Row {
        version, attempts, ..
    } = row;
    push_display(
        out,
        format_args!(",\"version\":{version},\"attempts\":{attempts}}}\n"),
    );
}

/// Appends JSON without its line ends, which are nothing but spacing: within strings they are escaped.
pub(super) fn push_one_line(out: &mut String, json: &str) {
    for (n, part) in json.split(['\n', '\r']).enumerate() {
        if n > 0 {
            out.push(' ');
        }
        out.push_str(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ids::VersionNumber, payload::Payload};

    #[test]
    fn a_line_is_one_line_whatever_the_result_looks_like() {
        let result = Payload::parse("{\n  \"a\": [1.50,\r\n 2]\n}").unwrap();
        let row = Row {
            index: 16,
            id: Some("C-\"1042\"\n"),
            result: &result,
            version: VersionNumber(3),
            attempts: 1,
        };
        let mut out = String::new();
        push(&mut out, &row);
        push(&mut out, &Row { id: None, ..row });
        let mut lines = out.lines();
        assert_eq!(
            lines.next(),
            Some(
                r#"{"index":16,"id":"C-\"1042\"\n","result":{   "a": [1.50,   2] },"version":3,"attempts":1}"#
            )
        );
        assert!(
            lines
                .next()
                .unwrap()
                .starts_with(r#"{"index":16,"result":"#)
        );
        assert_eq!(lines.next(), None);
    }
}
