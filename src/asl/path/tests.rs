//! Paths: what they find, what they refuse, what they may cost.

use serde_json::{Value, json};

use super::*;

fn data() -> Value {
    json!({
        "foo-bar": 1,
        "a": {"b": {"c": [10, 20, {"d": "x"}]}},
        "users": [
            {"name": "anna", "age": 31, "tags": ["x"]},
            {"name": "ben", "age": 17},
            {"name": "cleo", "age": 31.0, "boss": null},
        ],
        "wanted": "ben",
        "with space": true,
        "list": [0, 1, 2, 3, 4],
    })
}

fn find(path: &str, data: &Value) -> Result<Value, String> {
    let path = Path::parse(path).map_err(|error| error.to_string())?;
    let mut budget = Budget::of_bytes(1024 * 1024);
    path.find(data, &mut budget)
        .and_then(|found| Ok(found.into_value(&mut budget)?))
        .map_err(|failure| failure.to_string())
}

#[test]
fn paths_find_what_jayway_finds() {
    let data = data();
    for (path, found) in [
        ("$.foo-bar", json!(1)),
        ("$['foo-bar']", json!(1)),
        ("$[\"with space\"]", json!(true)),
        ("$.a.b.c[2].d", json!("x")),
        ("$.a['b'].c[-1].d", json!("x")),
        ("$.list[-2]", json!(3)),
        ("$.list[1:3]", json!([1, 2])),
        ("$.list[-2:]", json!([3, 4])),
        ("$.list[:2]", json!([0, 1])),
        ("$.list[:]", json!([0, 1, 2, 3, 4])),
        ("$.list[3:1]", json!([])),
        ("$.list[0,2,9]", json!([0, 2])),
        ("$.list[*]", json!([0, 1, 2, 3, 4])),
        ("$.users[*].name", json!(["anna", "ben", "cleo"])),
        ("$.users.*.age", json!([31, 17, 31.0])),
        ("$..name", json!(["anna", "ben", "cleo"])),
        ("$..c[0]", json!([10])),
        (
            "$['foo-bar','wanted','nope']",
            json!({"foo-bar": 1, "wanted": "ben"}),
        ),
        (
            "$.users[*]['name','age']",
            json!([
                {"name": "anna", "age": 31}, {"name": "ben", "age": 17}, {"name": "cleo", "age": 31.0}
            ]),
        ),
        ("$.users[?(@.age > 18)].name", json!(["anna", "cleo"])),
        ("$.users[?(@.age == 31)].name", json!(["anna", "cleo"])),
        (
            "$.users[?(@.age >= 17 && @.name != 'anna')].name",
            json!(["ben", "cleo"]),
        ),
        (
            "$.users[?(@.name == 'anna' || !(@.age > 18))].name",
            json!(["anna", "ben"]),
        ),
        ("$.users[?(@.tags)].name", json!(["anna"])),
        ("$.users[?(@.boss == null)].name", json!(["cleo"])),
        ("$.users[?(@.name == $.wanted)].age", json!([17])),
        (
            "$.users[?(@.name in ['ben', \"cleo\"])].name",
            json!(["ben", "cleo"]),
        ),
        (
            "$.users[?(@.name nin ['ben'])].name",
            json!(["anna", "cleo"]),
        ),
        ("$.users[?(@.tags[?(@ == 'x')])].name", json!(["anna"])),
        ("$..[?(@.d == 'x')]", json!([{"d": "x"}])),
        ("$.nothing[*]", json!([])),
        ("$.nothing.here[1:]", json!([])),
        ("$.foo-bar[*]", json!([])),
    ] {
        assert_eq!(find(path, &data), Ok(found), "{path}");
    }
    assert_eq!(find("$", &data), Ok(data.clone()));
}

#[test]
fn a_definite_path_that_finds_nothing_is_an_error_in_the_words_of_aws() {
    let data = data();
    for (path, message) in [
        ("$.nope", "No results for path: $['nope']"),
        ("$.a.nope", "No results for path: $['a']['nope']"),
        ("$.no.such.path", "Missing property in path $['no']"),
        ("$.list[9]", "No results for path: $['list'][9]"),
        ("$.wanted.x", "No results for path: $['wanted']['x']"),
    ] {
        assert_eq!(find(path, &data), Err(message.to_owned()), "{path}");
    }
}

#[test]
fn what_is_no_path_is_refused_with_its_place() {
    for (path, message) in [
        ("", "a path starts with '$' at character 1"),
        ("a.b", "a path starts with '$' at character 1"),
        ("$.", "expected a name at character 3"),
        ("$.a b", "unexpected text after the path at character 4"),
        (
            "$[",
            "expected an index, a quoted name, '*' or '?(' at character 3",
        ),
        ("$['a'", "expected ']' at character 6"),
        (
            "$['a",
            "the quote that begins here has no end at character 3",
        ),
        (
            "$[?(@.a ==)]",
            "expected a path, a quoted text, a number, true, false or null at character 11",
        ),
        (
            "$.a.length()",
            "functions are not part of the supported paths at character 11",
        ),
        (
            "$[?(@.a == $var)]",
            "variables cannot stand in a filter at character 13",
        ),
        ("@.a", "a path starts with '$' at character 1"),
    ] {
        assert_eq!(
            Path::parse(path).unwrap_err().to_string(),
            message,
            "{path}"
        );
    }
    let deep = format!("$[?({}@.a{})]", "(".repeat(99), ")".repeat(99));
    assert!(Path::parse(&deep).is_err());
}

#[test]
fn results_are_written_where_a_reference_path_says() {
    let write = |path: &str, target: Value| {
        let path = ReferencePath::parse(path).map_err(|error| error.to_string())?;
        path.write(target, json!("new"))
            .map_err(|error| error.to_string())
    };
    for (path, target, written) in [
        ("$", json!({"a": 1}), json!("new")),
        ("$.a", json!({"a": 1, "b": 2}), json!({"a": "new", "b": 2})),
        ("$.x.y", json!({"a": 1}), json!({"a": 1, "x": {"y": "new"}})),
        ("$['x y'].z", json!({}), json!({"x y": {"z": "new"}})),
        ("$.a[1]", json!({"a": [1, 2]}), json!({"a": [1, "new"]})),
        ("$.a[0].b", json!({"a": [{}]}), json!({"a": [{"b": "new"}]})),
    ] {
        assert_eq!(write(path, target), Ok(written), "{path}");
    }
    for (path, target) in [
        ("$.a", json!([1])),
        ("$.a", json!("text")),
        ("$.a.b", json!({"a": 1})),
        ("$.a[5]", json!({"a": [1]})),
        ("$.a[0]", json!({})),
    ] {
        assert!(write(path, target).is_err(), "{path}");
    }
    for path in [
        "$.a[*]",
        "$..a",
        "$.a[1:2]",
        "$.a[?(@.b)]",
        "$$.Execution",
        "$.a[-1]",
    ] {
        assert!(ReferencePath::parse(path).is_err(), "{path}");
    }
}

#[test]
fn an_evaluation_ends_however_greedy_the_path() {
    let mut nested = json!(1);
    for _ in 0..100 {
        nested = json!([nested, 1]);
    }
    let many = json!(vec![nested; 200]);
    let failure = find("$..*..*..*..*", &many).unwrap_err();
    assert_eq!(failure, Exhausted.to_string());
    let wide = json!({"a": "x".repeat(100_000)});
    let path = format!("$[{}'a']", "'a',".repeat(50));
    let path = Path::parse(&path).unwrap();
    let mut budget = Budget::of_bytes(1024 * 1024);
    assert_eq!(
        path.find(&wide, &mut budget),
        Err(PathFailure::Exhausted(Exhausted))
    );
}
