//! Which variables each state of a definition reads, as DescribeStateMachine tells them.
//!
//! Reads the definition's text once more and looks at its paths and expressions as text: what is stored
//! has been validated, and nothing runs by what is found here.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::definition::walk;

/// Fields whose value is a template: in it, only keys that end in `.$` hold paths.
const TEMPLATES: [&str; 6] = [
    "Arguments",
    "Assign",
    "BatchInput",
    "ItemSelector",
    "Parameters",
    "ResultSelector",
];

/// Fields that are not the state's own to evaluate: other states, plain values, a path to write to.
const NOT_READ: [&str; 6] = [
    "Branches",
    "Comment",
    "ItemProcessor",
    "Iterator",
    "Result",
    "ResultPath",
];

/// Functions of JSONata that may be named without being called, as arguments of others.
const FUNCTIONS: &str = " string length substring substringBefore substringAfter uppercase lowercase trim pad \
    contains split join match replace eval base64encode base64decode encodeUrlComponent encodeUrl \
    decodeUrlComponent decodeUrl number abs floor ceil round power sqrt random formatNumber formatBase \
    formatInteger parseInteger sum max min average boolean not exists count append sort reverse shuffle \
    distinct zip keys lookup spread merge sift each error assert type now millis fromMillis toMillis map \
    filter single reduce clone partition range hash uuid parse ";

/// The variables that each state reads, by its name; states that read none are left out.
pub(super) fn of(definition: &str) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let Ok(root) = serde_json::from_str::<Value>(definition) else {
        return found;
    };
    let language = language_of(&root).unwrap_or("JSONPath");
    walk(&root, &mut |state, keys| {
        let mut names = BTreeSet::new();
        let jsonata = language_of(state).unwrap_or(language) == "JSONata";
        read(state, jsonata, false, &mut names);
        if !names.is_empty() {
            let name = keys.last().map_or_else(String::new, ToString::to_string);
            found.insert(name, names.into_iter().collect());
        }
    });
    found
}

fn language_of(value: &Value) -> Option<&str> {
    value.get("QueryLanguage").and_then(Value::as_str)
}

/// Gathers what a value reads. The depth is that of the JSON, which its parser bounds.
fn read(value: &Value, jsonata: bool, in_template: bool, names: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                let reads = in_template || !NOT_READ.contains(&key.as_str());
                if reads
                    && !jsonata
                    && let Value::String(text) = member
                {
                    let path = if in_template {
                        key.ends_with(".$")
                    } else {
                        key.ends_with(".$") || key.ends_with("Path") || key == "Variable"
                    };
                    if path {
                        in_path(text, names);
                    }
                } else if reads {
                    let in_template = in_template || TEMPLATES.contains(&key.as_str());
                    read(member, jsonata, in_template, names);
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                read(item, jsonata, in_template, names);
            }
        }
        Value::String(text) if jsonata => {
            let inner = text
                .strip_prefix("{%")
                .and_then(|text| text.strip_suffix("%}"));
            if let Some(expression) = inner {
                in_expression(expression, names);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// `$name` in a path or in the arguments of a function; `$.name` and `$$.name` are no variables.
fn in_path(text: &str, names: &mut BTreeSet<String>) {
    let mut rest = text;
    while let Some((place, found)) = rest.char_indices().find(|(_, c)| "$'".contains(*c)) {
        rest = &rest[place + 1..];
        if found == '\'' {
            rest = behind_quoted(rest, '\'');
        } else if let Some(context) = rest.strip_prefix('$') {
            rest = context;
        } else {
            let (name, behind) = name_at(rest);
            if !name.is_empty() {
                names.insert(name.to_owned());
            }
            rest = behind;
        }
    }
}

/// `$name` in a JSONata expression that is neither called, nor a function, nor bound in the expression.
fn in_expression(text: &str, names: &mut BTreeSet<String>) {
    let (mut used, mut bound) = (BTreeSet::new(), BTreeSet::new());
    let mut rest = text;
    let mut parameters = false;
    while let Some(c) = rest.chars().next() {
        let behind = &rest[c.len_utf8()..];
        match c {
            '"' | '\'' | '`' => rest = behind_quoted(behind, c),
            '/' if behind.starts_with('*') => {
                rest = behind.split_once("*/").map_or("", |(_, behind)| behind);
            }
            '$' => {
                let (name, after) = name_at(behind);
                let next = after.trim_start();
                if parameters || next.starts_with(":=") {
                    bound.insert(name);
                } else if !name.is_empty()
                    && name != "states"
                    && !next.starts_with('(')
                    && !FUNCTIONS.contains(&format!(" {name} "))
                {
                    used.insert(name);
                }
                rest = if name.is_empty() { behind } else { after };
            }
            ')' => {
                parameters = false;
                rest = behind;
            }
            'f' | 'λ' => {
                let opened = rest
                    .strip_prefix("function")
                    .or_else(|| rest.strip_prefix('λ'))
                    .and_then(|behind| behind.trim_start().strip_prefix('('));
                parameters |= opened.is_some();
                rest = opened.unwrap_or(behind);
            }
            _ => rest = behind,
        }
    }
    names.extend(used.difference(&bound).map(|name| (*name).to_owned()));
}

/// What comes behind a quoted text whose opening quote is gone.
fn behind_quoted(text: &str, quote: char) -> &str {
    let mut escaped = false;
    for (place, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return &text[place + c.len_utf8()..],
            _ => {}
        }
    }
    ""
}

/// The name at the beginning of a text, and what comes behind it.
fn name_at(text: &str) -> (&str, &str) {
    let is_name = |(place, c): (usize, char)| {
        c == '_' || c.is_alphabetic() || (place > 0 && c.is_alphanumeric())
    };
    let end = text
        .char_indices()
        .find(|found| !is_name(*found))
        .map_or(text.len(), |(place, _)| place);
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn reads(state: &Value) -> Vec<String> {
        let text = json!({"StartAt": "S", "States": {"S": state}}).to_string();
        of(&text).remove("S").unwrap_or_default()
    }

    #[test]
    fn a_path_reads_the_variable_that_it_begins_with() {
        let wait = json!({"Type": "Wait", "SecondsPath": "$waitTime"});
        assert_eq!(reads(&wait), ["waitTime"]);
        let pass = json!({"Type": "Pass", "InputPath": "$a.b[0]", "OutputPath": "$b", "ResultPath": "$.c"});
        assert_eq!(reads(&pass), ["a", "b"]);
        let input =
            json!({"Type": "Pass", "InputPath": "$.a", "Parameters": {"id.$": "$$.Execution.Id"}});
        assert_eq!(reads(&input), [] as [&str; 0]);
    }

    #[test]
    fn a_template_reads_only_where_its_keys_say_so() {
        let pass = json!({"Type": "Pass", "Assign": {
            "sum.$": "States.MathAdd(States.MathAdd($y, $.n), $bias)",
            "text.$": "States.Format('it costs $price {}', $amount)",
            "plain": "$nothing", "inputPath": "$nothing", "deep": [{"x.$": "$z"}],
        }});
        assert_eq!(reads(&pass), ["amount", "bias", "y", "z"]);
    }

    #[test]
    fn a_choice_and_a_map_read_what_their_fields_name() {
        let choice = json!({"Type": "Choice", "Choices": [
            {"And": [{"Variable": "$a", "IsPresent": true}, {"Variable": "$.b", "StringEqualsPath": "$c"}], "Next": "S"},
        ]});
        assert_eq!(reads(&choice), ["a", "c"]);
        let map = json!({"Type": "Map", "ItemsPath": "$list",
            "ItemReader": {"ReaderConfig": {"MaxItemsPath": "$max"}, "Parameters": {"Bucket.$": "$bucket", "Key": "$key"}},
            "ItemProcessor": {"States": {"Inner": {"Type": "Pass", "InputPath": "$inner"}}}});
        let text = json!({"States": {"S": map}}).to_string();
        let found = of(&text);
        assert_eq!(found["S"], ["bucket", "list", "max"]);
        assert_eq!(found["Inner"], ["inner"]);
    }

    #[test]
    fn an_expression_reads_what_it_neither_calls_nor_binds() {
        for (expression, expected) in [
            ("{% $states.input.x %}", &[][..]),
            ("{% $not($states.input.done) and $flag %}", &["flag"]),
            (
                "{% ($local := $outer; $local + $map($list, function($v, $i) { $v * $factor })) %}",
                &["factor", "list", "outer"],
            ),
            (
                "{% $map(names, $uppercase) & \"$quoted\" & `$name` /* $comment */ %}",
                &[],
            ),
            ("{% items[$ > $limit] %}", &["limit"]),
            ("$plain", &[]),
        ] {
            let pass = json!({"Type": "Pass", "QueryLanguage": "JSONata", "Output": expression});
            assert_eq!(reads(&pass), expected, "{expression}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_too_odd(text in r#"([a-zλü$'"`/*(){}%.:=~ \\]|function)*"#) {
            let pass = json!({"Type": "Pass", "InputPath": text, "QueryLanguage": "JSONPath"});
            reads(&pass);
            let pass = json!({"Type": "Pass", "Output": format!("{{%{text}%}}"), "QueryLanguage": "JSONata"});
            for name in reads(&pass) {
                proptest::prop_assert!(text.contains(&format!("${name}")), "{name}");
            }
        }
    }

    #[test]
    fn the_language_is_the_machines_unless_a_state_has_its_own() {
        let text = json!({"QueryLanguage": "JSONata", "States": {
            "A": {"Type": "Pass", "Output": {"deep": ["{% $a %}"]}},
            "B": {"Type": "Pass", "QueryLanguage": "JSONPath", "InputPath": "$b"},
        }});
        let found = of(&text.to_string());
        assert_eq!(found["A"], ["a"]);
        assert_eq!(found["B"], ["b"]);
    }
}
