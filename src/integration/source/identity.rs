//! A record's own identity: the value of one of its fields, as text.

use compact_str::CompactString;

use super::Pointer;

/// Longest identity of a record, in bytes. Identities are kept with every result and shown in one
/// line; the longest in common use (URLs, paths, composed keys) stay below.
pub const ID_BYTES_MAX: usize = 512;

/// The identity of a record of this (valid) JSON text, where a field is named for it: a string as it
/// is, a number as it is written.
///
/// The error says what is wrong with the field, for people.
pub(super) fn identity(
    text: &str,
    field: Option<&Pointer>,
) -> Result<Option<CompactString>, String> {
    field.map(|field| field_text(text, field)).transpose()
}

fn field_text(text: &str, field: &Pointer) -> Result<CompactString, String> {
    let value = field
        .find(text)
        .ok_or_else(|| format!("it has no field {field}, which the job names as its id"))?;
    if value.starts_with('"') {
        let id: CompactString = serde_json::from_str(value)
            .map_err(|error| format!("its id {field} is no string: {error}"))?;
        bounded(id, field)
    } else if value.starts_with(|c: char| c == '-' || c.is_ascii_digit()) {
        bounded(CompactString::from(value), field)
    } else {
        Err(format!("its id {field} is neither a string nor a number"))
    }
}

/// The identity, unless it is empty or too long.
pub(super) fn bounded(id: CompactString, field: &Pointer) -> Result<CompactString, String> {
    match id.len() {
        0 => Err(format!("its id {field} is empty")),
        1..=ID_BYTES_MAX => Ok(id),
        bytes => Err(format!(
            "its id {field} has {bytes} bytes, {ID_BYTES_MAX} are allowed"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_a_string_as_it_is_or_a_number_as_it_is_written() {
        let long = format!(r#"{{"id":"{}"}}"#, "x".repeat(513));
        for (text, field, id) in [
            (r#"{"id":"C-1042"}"#, "id", Ok("C-1042")),
            (r#"{"id":"a\n\u00e9"}"#, "id", Ok("a\né")),
            (
                r#"{"id":12345678901234567890123}"#,
                "id",
                Ok("12345678901234567890123"),
            ),
            (r#"{"id":-1.50}"#, "id", Ok("-1.50")),
            (r#"{"a":{"b":[0,"x"]}}"#, "/a/b/1", Ok("x")),
            (
                r#"{"a/b":1}"#,
                "id",
                Err("it has no field id, which the job names as its id"),
            ),
            (
                "7",
                "id",
                Err("it has no field id, which the job names as its id"),
            ),
            (
                r#"{"id":null}"#,
                "id",
                Err("its id id is neither a string nor a number"),
            ),
            (
                r#"{"id":true}"#,
                "id",
                Err("its id id is neither a string nor a number"),
            ),
            (
                r#"{"id":[1]}"#,
                "id",
                Err("its id id is neither a string nor a number"),
            ),
            (r#"{"id":""}"#, "id", Err("its id id is empty")),
            (&long, "id", Err("its id id has 513 bytes, 512 are allowed")),
        ] {
            let field = Pointer::parse_field(field).unwrap();
            let expected = id.map(CompactString::from).map_err(str::to_owned);
            assert_eq!(field_text(text, &field), expected, "{text}");
        }
    }
}
