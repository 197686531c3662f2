//! What is wrong with a JSON text, in the words that AWS answers with.
//!
//! Those are the words of Jackson, a reader of JSON for Java: recorded for unknown words and for names that are
//! not in double quotes, and known from the reader itself for the other common mistakes. What has no such word is
//! told in our own.

/// Characters of an unknown word that are repeated; Jackson's own bound.
const WORD_CHARS_MAX: usize = 256;

const VALUES: &str = "(JSON String, Number, Array, Object or token 'null', 'true' or 'false')";

/// The words for why the text is no JSON.
pub(super) fn told(text: &str, error: &serde_json::Error) -> String {
    let ours = error.to_string();
    let (what, _) = ours.split_once(" at line ").unwrap_or((&ours, ""));
    let place = place(text, error.line(), error.column());
    let found = text.get(place..).and_then(|rest| rest.chars().next());
    let expected = match what {
        "expected ident" | "expected value" => {
            if let Some(word) = word(text, place) {
                return format!("Unrecognized token '{word}': was expecting {VALUES}");
            }
            "expected a valid value ".to_owned() + VALUES
        }
        "key must be a string" => "was expecting double-quote to start field name".to_owned(),
        "expected `:`" => "was expecting a colon to separate field name and value".to_owned(),
        "expected `,` or `}`" => "was expecting comma to separate Object entries".to_owned(),
        "expected `,` or `]`" => "was expecting comma to separate Array entries".to_owned(),
        "EOF while parsing an object" => return unended("close marker for Object"),
        "EOF while parsing a list" => return unended("close marker for Array"),
        "EOF while parsing a string" => {
            return "Unexpected end-of-input: was expecting closing quote for a string value"
                .to_owned();
        }
        _ => return ours,
    };
    match found {
        Some(found) => {
            let code = u32::from(found);
            format!("Unexpected character ('{found}' (code {code})): {expected}")
        }
        None => ours,
    }
}

fn unended(expected: &str) -> String {
    format!("Unexpected end-of-input: expected {expected}")
}

/// Where in the text the reader stopped: the byte that it could not do with.
fn place(text: &str, line: usize, column: usize) -> usize {
    let lines = text.split_inclusive('\n').take(line.saturating_sub(1));
    let mut place = lines.map(str::len).sum::<usize>() + column.saturating_sub(1);
    place = place.min(text.len());
    while !text.is_char_boundary(place) {
        place -= 1;
    }
    place
}

/// The word that the byte is in, if it is in one.
fn word(text: &str, place: usize) -> Option<&str> {
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$');
    let start = text[..place]
        .char_indices()
        .rev()
        .take(WORD_CHARS_MAX)
        .take_while(|(_, c)| is_part(*c))
        .last()
        .map_or(place, |(start, _)| start);
    let rest = &text[start..];
    let end = rest
        .char_indices()
        .take(WORD_CHARS_MAX)
        .take_while(|(_, c)| is_part(*c))
        .last()
        .map(|(at, c)| at + c.len_utf8())?;
    let first = rest.chars().next()?;
    (!first.is_ascii_digit()).then(|| &rest[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::Payload;

    #[test]
    fn mistakes_are_told_in_the_words_of_aws() {
        for (text, words) in [
            (
                "not some json",
                "Unrecognized token 'not': was expecting (JSON String, Number, Array, Object or token 'null', 'true' or 'false')",
            ),
            (
                "{\n  \"a\": tru }",
                "Unrecognized token 'tru': was expecting (JSON String, Number, Array, Object or token 'null', 'true' or 'false')",
            ),
            (
                "{'not': 'json'",
                "Unexpected character (''' (code 39)): was expecting double-quote to start field name",
            ),
            (
                "{\"a\": 'b'}",
                "Unexpected character (''' (code 39)): expected a valid value (JSON String, Number, Array, Object or token 'null', 'true' or 'false')",
            ),
            (
                "{\"a\" 1}",
                "Unexpected character ('1' (code 49)): was expecting a colon to separate field name and value",
            ),
            (
                "{\"a\": 1 \"b\": 2}",
                "Unexpected character ('\"' (code 34)): was expecting comma to separate Object entries",
            ),
            (
                "[1 2]",
                "Unexpected character ('2' (code 50)): was expecting comma to separate Array entries",
            ),
            (
                "{\"a\": 1",
                "Unexpected end-of-input: expected close marker for Object",
            ),
            (
                "[1,\n2",
                "Unexpected end-of-input: expected close marker for Array",
            ),
        ] {
            let error = Payload::parse(text).unwrap_err();
            assert_eq!(told(text, &error), words, "{text}: {error}");
        }
    }

    #[test]
    fn whatever_the_text_is_there_are_words_for_it() {
        let good = r#"{"a": [1, "ü\u00e9", {"b": null}], "ñ": tru}"#;
        for (end, _) in good.char_indices() {
            for text in [good[..end].to_owned(), format!("{}🦀", &good[..end])] {
                if let Err(error) = Payload::parse(&*text) {
                    assert!(!told(&text, &error).is_empty(), "{text}");
                }
            }
        }
        let long = "x".repeat(100_000);
        let error = Payload::parse(&*long).unwrap_err();
        assert!(told(&long, &error).len() < 1000);
    }
}
