//! The functions, by their calls.

use std::cell::LazyCell;

use serde_json::{Value, json};

use super::*;
use crate::{asl::path::Budget, payload::Payload, time::Timestamp};

fn call(text: &str) -> Result<Value, String> {
    let input = Payload::from(json!({
        "n": 7, "s": "text", "list": [1, 2, 2, "a"], "o": {"k": [1, "x"]}, "nothing": null,
    }));
    let context = LazyCell::new(|| json!({"Execution": {"Name": "run-1"}}));
    let mut draw = 0_u64;
    let mut random = || {
        draw = draw.wrapping_add(0x0123_4567_89ab_cdef);
        draw
    };
    let mut scope = Scope {
        input: &input,
        result: None,
        error_output: None,
        variables: &|_| None,
        now: Timestamp(0),
        context: &context,
        random: &mut random,
        budget: Budget::of_bytes(1024 * 1024),
    };
    let call = Call::parse(text).map_err(|error| error.to_string())?;
    call.evaluate(&mut scope).map_err(|error| error.to_string())
}

#[test]
fn functions_give_what_aws_gives() {
    for (text, value) in [
        ("States.Format('a {} b {}', $.s, 2)", json!("a text b 2")),
        ("States.Format('{}', $.o)", json!("{k=[1, x]}")),
        (
            "States.Format('\\{{}\\} it\\'s', $.nothing)",
            json!("{null} it's"),
        ),
        ("States.Format('{}', $$.Execution.Name)", json!("run-1")),
        ("States.Array()", json!([])),
        (
            "States.Array(1, 'two', $.o, null, true)",
            json!([1, "two", {"k": [1, "x"]}, null, true]),
        ),
        (
            "States.ArrayPartition($.list, 3)",
            json!([[1, 2, 2], ["a"]]),
        ),
        ("States.ArrayContains($.list, 'a')", json!(true)),
        ("States.ArrayContains($.list, '2')", json!(false)),
        ("States.ArrayRange(1, 9, 3)", json!([1, 4, 7])),
        ("States.ArrayRange(3, 1, -1)", json!([3, 2, 1])),
        ("States.ArrayRange(1, 3, -1)", json!([])),
        (
            "States.ArrayRange(-9223372036854775808, 9223372036854775807, 9223372036854775807)",
            json!([i64::MIN, -1, i64::MAX - 1]),
        ),
        ("States.ArrayGetItem($.list, 3)", json!("a")),
        ("States.ArrayLength($.list)", json!(4)),
        ("States.ArrayUnique($.list)", json!([1, 2, "a"])),
        (
            "States.Base64Encode('Data to encode')",
            json!("RGF0YSB0byBlbmNvZGU="),
        ),
        (
            "States.Base64Decode('RGF0YSB0byBlbmNvZGU=')",
            json!("Data to encode"),
        ),
        (
            "States.Hash('input data', 'MD5')",
            json!("812f45842bc6d66ee14572ce20db8e86"),
        ),
        (
            "States.Hash('input data', 'SHA-1')",
            json!("aaff4a450a104cd177d28d18d74485e8cae074b7"),
        ),
        (
            "States.JsonMerge($.o, States.StringToJson('{\"k\":1,\"z\":2}'), false)",
            json!({"k": 1, "z": 2}),
        ),
        ("States.StringToJson('')", json!(null)),
        ("States.StringToJson('-0')", json!(0)),
        (
            "States.StringToJson('[1, {\"a\":2}]')",
            json!([1, {"a": 2}]),
        ),
        ("States.JsonToString($.o)", json!("{\"k\":[1,\"x\"]}")),
        ("States.MathAdd($.n, -8)", json!(-1)),
        ("States.MathAdd(1.5, 1)", json!(3)),
        ("States.StringSplit('1,2;;3', ',;')", json!(["1", "2", "3"])),
        (
            "States.ArrayGetItem(States.StringSplit('a-b', '-'), States.MathAdd(2, -1))",
            json!("b"),
        ),
    ] {
        assert_eq!(call(text), Ok(value), "{text}");
    }
}

#[test]
fn random_functions_draw_from_the_step_alone() {
    assert_eq!(
        call("States.UUID()"),
        Ok(json!("01234567-89ab-4def-8246-8acf13579bde"))
    );
    let drawn = call("States.MathRandom(10, 20)").unwrap();
    assert_eq!(call("States.MathRandom(10, 20)"), Ok(drawn.clone()));
    assert!((10..20).contains(&drawn.as_i64().unwrap()));
    assert_eq!(
        call("States.MathRandom(0, 1000, 7)"),
        call("States.MathRandom(0, 1000, 7)")
    );
}

#[test]
fn a_function_refuses_arguments_that_do_not_fit() {
    for text in [
        "States.Format('{} {}', 1)",
        "States.Format('', 1)",
        "States.Format(1)",
        "States.ArrayPartition($.list, 0)",
        "States.ArrayRange(1, 5, 0)",
        "States.ArrayRange(0, 1000, 1)",
        "States.ArrayGetItem($.list, 4)",
        "States.ArrayGetItem($.list, -1)",
        "States.ArrayLength($.s)",
        "States.Base64Decode('%%%')",
        "States.Hash('a', 'SHA-3')",
        "States.JsonMerge($.o, $.o, true)",
        "States.JsonMerge($.o, $.list, false)",
        "States.StringToJson('{')",
        "States.MathAdd(9223372036854775807, 1)",
        "States.MathRandom(5, 5)",
        "States.StringSplit(1, ',')",
    ] {
        let message = call(text).unwrap_err();
        assert!(
            message.contains("had the following error"),
            "{text}: {message}"
        );
    }
    let long = "x".repeat(10_001);
    assert!(call(&format!("States.Base64Encode('{long}')")).is_err());
}

#[test]
fn what_is_no_call_is_refused_when_the_definition_is_read() {
    for text in [
        "States.Nothing()",
        "States.UUID(1)",
        "States.Array(1",
        "States.Array(1,)",
        "States.Array('a)",
        "States.Array(1) x",
        " States.Array(1)",
        "States.MathAdd(1)",
        "States.MathAdd('1', 1)",
        "States.Array(\"double\")",
        "",
    ] {
        assert!(Call::parse(text).is_err(), "{text}");
    }
    let deep = format!("{}1{}", "States.Array(".repeat(20), ")".repeat(20));
    assert!(Call::parse(&deep).is_err());
}
