//! The label of a distributed Map, which is part of the names of its runs and children.
//!
//! AWS refuses a wrong label before it reads the rest, with a message of a form of its own (recorded in
//! July 2024): the error as its checker prints it, and the whole definition behind.

use std::fmt::Write as _;

use serde_json::Value;

use super::definition::walk;

/// Spec: "Label (at most 40 characters)".
const LABEL_CHARS_MAX: usize = 40;

/// What no label may have in it beside white space and control characters, in the order of AWS's list.
const FORBIDDEN: &str = "?*<>{}[]:;,\\|^~$#%&`\"";

/// Why a definition is refused for a label; `None` where it is not.
pub(super) fn refusal(definition: &str) -> Option<String> {
    let root: Value = serde_json::from_str(definition).ok()?;
    let mut wrong = None;
    walk(&root, &mut |state, _| {
        let is_map = state.get("Type").and_then(Value::as_str) == Some("Map");
        if let Some(Value::String(label)) = state.get("Label").filter(|_| is_map) {
            wrong = wrong.take().or_else(|| problem(label));
        }
    });
    let printed = quoted(&wrong?);
    Some(format!(
        "Error=ValueError Args=[{printed}] in definition '{definition}'."
    ))
}

fn problem(label: &str) -> Option<String> {
    if label.is_empty() {
        return Some("Label cannot be empty".to_owned());
    }
    if label.chars().count() > LABEL_CHARS_MAX {
        return Some(format!("Label cannot exceed {LABEL_CHARS_MAX} characters"));
    }
    let forbidden = label.chars().find(|c| is_forbidden(*c))?;
    let printed = quoted(&forbidden.to_string());
    Some(format!("Label contains invalid character: {printed}"))
}

fn is_forbidden(c: char) -> bool {
    c.is_whitespace() || c.is_control() || FORBIDDEN.contains(c)
}

/// A text between quotes as AWS's checker prints it: single ones, unless there are single ones and no
/// double ones in it.
fn quoted(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    let mut printed = String::from(quote);
    for c in text.chars() {
        match c {
            '\t' => printed.push_str("\\t"),
            '\n' => printed.push_str("\\n"),
            '\r' => printed.push_str("\\r"),
            '\\' => printed.push_str("\\\\"),
            c if c == quote => printed.extend(['\\', c]),
            c if c != ' ' && (c.is_control() || c.is_whitespace()) => {
                let code = u32::from(c);
                let width = if code < 0x100 { 2 } else { 4 };
                let kind = if code < 0x100 { 'x' } else { 'u' };
                // Why ok: a String takes everything.
                write!(printed, "\\{kind}{code:0width$x}").ok();
            }
            c => printed.push(c),
        }
    }
    printed.push(quote);
    printed
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(label: &str) -> Option<String> {
        let processor = json!({
            "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
            "StartAt": "P", "States": {"P": {"Type": "Pass", "End": true}},
        });
        let map = json!({"Type": "Map", "ItemProcessor": processor, "Label": label, "End": true});
        let text = json!({"StartAt": "M", "States": {"M": map}}).to_string();
        let told = refusal(&text)?;
        let rest = told.strip_prefix("Error=ValueError Args=[").unwrap();
        let end = format!("] in definition '{text}'.");
        Some(rest.strip_suffix(&end).unwrap().to_owned())
    }

    #[test]
    fn a_label_of_plain_characters_is_taken() {
        for label in ["each", "Each_1-a", "ü", "a.b!(c)'d", &"x".repeat(40)] {
            assert_eq!(told(label), None, "{label}");
        }
    }

    #[test]
    fn a_wrong_label_is_told_as_aws_tells_it() {
        for (label, printed) in [
            ("", "'Label cannot be empty'"),
            ("label_ ", "\"Label contains invalid character: ' '\""),
            ("label_?", "\"Label contains invalid character: '?'\""),
            (
                "label_\\",
                "\"Label contains invalid character: '\\\\\\\\'\"",
            ),
            ("label_\"", "'Label contains invalid character: \\'\"\\''"),
            (
                "label_\0",
                "\"Label contains invalid character: '\\\\x00'\"",
            ),
            ("label_\t", "\"Label contains invalid character: '\\\\t'\""),
            (
                "label_\u{b}",
                "\"Label contains invalid character: '\\\\x0b'\"",
            ),
            (
                "label_\u{9f}",
                "\"Label contains invalid character: '\\\\x9f'\"",
            ),
        ] {
            assert_eq!(told(label).as_deref(), Some(printed), "{label:?}");
        }
        let long = told(&"x".repeat(41));
        assert_eq!(long.as_deref(), Some("'Label cannot exceed 40 characters'"));
    }
}
