//! Expressions against a scope, and what AWS says of those that give nothing.

use std::{cell::LazyCell, ops::Deref};

use serde_json::{Value, json};

use super::{super::path::Budget, *};
use crate::time::Timestamp;

fn evaluate(text: &str) -> Result<Value, EvalError> {
    let input =
        Payload::from(json!({"a": [1, 2.5, 3], "big": 9_007_199_254_740_993_i64, "o": {"k": "v"}}));
    let result = Payload::from(json!({"r": true}));
    let variable = Payload::from(json!({"n": 7}));
    let context = LazyCell::new(|| json!({"Execution": {"Name": "e"}}));
    let context: &dyn Deref<Target = Value> = &context;
    let variables = |name: &str| (name == "v").then_some(&variable);
    let mut seed = 0_u64;
    let mut random = || {
        seed += 1;
        seed
    };
    let mut scope = Scope {
        input: &input,
        result: Some(&result),
        error_output: None,
        context,
        variables: &variables,
        now: Timestamp::from_millis(1_700_000_000_123),
        random: &mut random,
        budget: Budget::of_bytes(1 << 20),
    };
    Jsonata::parse(text).unwrap().evaluate(&mut scope)
}

#[test]
fn expressions_see_states_and_variables_and_whole_numbers_stay_whole() {
    for (text, value) in [
        ("$states.input.a", json!([1, 2.5, 3])),
        ("$sum($states.input.a)", json!(6.5)),
        ("$states.input.a[0] + 1", json!(2)),
        ("$states.result.r", json!(true)),
        ("$states.input.o.k & $states.input.o.x", json!("v")),
        (
            "$states.input.*",
            json!([1, 2.5, 3, 9_007_199_254_740_992_i64, {"k": "v"}]),
        ),
        ("$states.input.a.%.o.k", json!(["v", "v", "v"])),
        ("$count($states.input.o.**)", json!(2)),
        ("$states.input.a[$ > 1].$", json!([2.5, 3])),
        ("($s := $states; $s.input.o.k)", json!("v")),
        ("$states.input{'n': $count(a)}", json!({"n": 3})),
        ("$states.input.o ~> |$|{'z': 1}|", json!({"k": "v", "z": 1})),
        ("$states.context.Execution.Name", json!("e")),
        ("$v.n * 2", json!(14)),
        ("($x := 3; $x)", json!(3)),
        ("$states.input.o ~> $keys()", json!("k")),
        ("null", json!(null)),
        ("$partition([1..5], 2)", json!([[1, 2], [3, 4], [5]])),
        ("$range(1, 9, 3)", json!([1, 4, 7])),
        ("$range(3, 1, -1)", json!([3, 2, 1])),
        (
            "$hash('input data', 'SHA-1')",
            json!("aaff4a450a104cd177d28d18d74485e8cae074b7"),
        ),
        ("$parse('{\"x\": [1, null]}')", json!({"x": [1, null]})),
        ("$parse('\"t\"')", json!("t")),
        ("$length($uuid())", json!(36)),
        ("$random(5) = $random(5)", json!(true)),
        ("$millis()", json!(1_700_000_000_123_i64)),
        ("$now()", json!("2023-11-14T22:13:20.123Z")),
        ("$now('[Y]')", json!("2023")),
        ("$count($shuffle([1..9]))", json!(9)),
        ("1e20", json!(1e20)),
    ] {
        assert_eq!(evaluate(text), Ok(value), "{text}");
    }
}

#[test]
fn an_expression_without_a_value_is_told_in_words_of_aws() {
    for (text, words) in [
        (
            "$nothing",
            "The JSONata expression '$nothing' specified for the field 'Output' returned nothing (undefined).",
        ),
        (
            "$states.input.x",
            "The JSONata expression '$states.input.x' specified for the field 'Output' returned nothing (undefined).",
        ),
        (
            "function($x){$x}",
            "The JSONata expression 'function($x){$x}' specified for the field 'Output' returned an unsupported result type.",
        ),
        (
            "$unheard(1)",
            "The JSONata expression '$unheard(1)' specified for the field 'Output' threw an error during evaluation. T1006: Attempted to invoke a non-function",
        ),
        (
            "$eval('1')",
            "The JSONata expression '$eval('1')' specified for the field 'Output' threw an error during evaluation. T1006: Attempted to invoke a non-function",
        ),
        (
            "($e := $eval; $e('1'))",
            "The JSONata expression '($e := $eval; $e('1'))' specified for the field 'Output' threw an error during evaluation. T1006: Attempted to invoke a non-function",
        ),
    ] {
        let error = evaluate(text).unwrap_err().in_key("Output");
        assert_eq!(error.to_string(), words);
    }
}

#[test]
fn an_expression_without_end_ends() {
    for text in [
        "($f := function($n){$f($n + 1)}; $f(0))",
        "($f := function($n){1 + $f($n + 1)}; $f(0))",
        "[1..10000000]",
        "$reduce([1..60], function($a, $i){$append($a, $a)}, [1])",
        "$reduce([1..60], function($a, $i){[$a, $a]}, 1)",
        "$length($reduce([1..60], function($a, $i){$a & $a}, 'x'))",
        "$length($string($reduce([1..60], function($a, $i){[$a, $a]}, 1)))",
        "$string($reduce([1..60], function($a, $i){{'l': $a, 'r': $a}}, 1)) = 'x'",
        "$count($reduce([1..60], function($a, $i){{'l': $a, 'r': $a}}, 1).**)",
        "($a := $reduce([1..40], function($a, $i){[[$a, $a]]}, 1); $b := $reduce([1..40], function($a, $i){[[$a, $a]]}, 1); $a = $b)",
        "$length($pad('x', 1000000000))",
        "$length($join($map([1..100000], function($x){'x'}), $pad('', 100000, 'y')))",
        "$length($replace($pad('', 100000, 'a'), 'a', $pad('', 100000, 'y')))",
        "$not($reduce([1..60], function($a, $i){[$a, $a]}, 0))",
        "$length($map([1..100000], function($x){'x'}) ~> $join($pad('', 100000, 'y')))",
        "($j := $join(?, $pad('', 100000, 'y')); $length($j($map([1..100000], function($x){'x'}))))",
        "$length($pad('', 100000, 'a') ~> $replace('a', $pad('', 100000, 'y')))",
        "$length($replace($pad('', 262000, 'A'), /.*[^A-Z]|[A-Z]/, ''))",
        "($r := /.*[^A-Z]|[A-Z]/; $count($match($pad('', 262000, 'A'), $r)))",
        "$count($pad('', 262000, 'A') ~> $split(/.*[^A-Z]|[A-Z]/))",
        "($s := $split(?, /.*[^A-Z]|[A-Z]/); $count($s($pad('', 262000, 'A'))))",
    ] {
        let begun = std::time::Instant::now();
        assert!(evaluate(text).is_err(), "{text}");
        assert!(
            begun.elapsed() < std::time::Duration::from_secs(30),
            "{text}"
        );
    }
}

#[test]
fn what_is_measured_is_what_it_was() {
    for (text, value) in [
        ("$join(['a', 'b'], '-')", json!("a-b")),
        ("['a', 'b'] ~> $join('-')", json!("a-b")),
        (
            "($j := $join(?, '+'); $j(['a', $join(['b', 'c'], $join(['<', '>'], '='))]))",
            json!("a+b<=>c"),
        ),
        ("$join('a', ',')", json!("a")),
        ("$replace('abcab', 'ab', 'x')", json!("xcx")),
        ("$replace('abcab', /a(b)/, '$1', 1)", json!("bcab")),
        (
            "$replace('265USD', /([0-9]+)USD/, function($m){'$' & $m.groups[0]})",
            json!("$265"),
        ),
        (
            "($f := function($m){$uppercase($m.match)}; $replace('abc', /b/, $f))",
            json!("aBc"),
        ),
        ("$match('ab12', /[0-9]/).match", json!(["1", "2"])),
        ("$split('a, b,c', /,\\s*/)", json!(["a", "b", "c"])),
        ("$split('a b c', ' ', 2)", json!(["a", "b"])),
        ("'a b' ~> $split(' ') ~> $join('+')", json!("a+b")),
        ("$contains('abc', /B/i)", json!(true)),
        (
            "$map(['a1', 'b'], $contains(?, /[0-9]/))",
            json!([true, false]),
        ),
        (
            "['x', 'y'].$split('a' & $ & 'b', $)",
            json!(["a", "b", "a", "b"]),
        ),
        ("$count($split($pad('', 100000, 'a,'), /,/))", json!(50001)),
    ] {
        assert_eq!(evaluate(text).unwrap(), value, "{text}");
    }
    let nested = (0..40).fold("'x'".to_owned(), |inner, _| format!("$join(a, {inner})"));
    assert!(
        Jsonata::parse(&nested).is_ok(),
        "and is no longer than it was"
    );
}

#[test]
fn an_expression_names_what_it_reads() {
    let names = |text: &str| {
        let expression = Jsonata::parse(text).unwrap();
        let names: Vec<_> = expression.variables().map(str::to_owned).collect();
        (names.join(" "), expression.uses_context())
    };
    assert_eq!(names("$a + $b.c"), ("a b".into(), false));
    assert_eq!(names("($x := $a; $x)"), ("a".into(), false));
    assert_eq!(
        names("$map($a, function($v){$v & $w})"),
        ("a w".into(), false)
    );
    assert_eq!(names("$states.context.State.Name"), (String::new(), true));
    assert_eq!(names("$states.input.a"), (String::new(), false));
    assert_eq!(names("$states"), (String::new(), true));
}

#[test]
fn a_text_is_an_expression_in_braces_or_broken_or_a_text_like_any_other() {
    for (text, expression, broken) in [
        ("{% 1 %}", true, false),
        ("{%1%}", true, false),
        (" {% 1 %} ", false, false),
        ("{% 1 %} ", false, true),
        (" {% 1 %}", false, true),
        ("{% 1", false, true),
        ("1 %}", false, true),
        ("1", false, false),
    ] {
        let found = (within(text).is_some(), is_broken(text));
        assert_eq!(found, (expression, broken), "{text:?}");
    }
}
