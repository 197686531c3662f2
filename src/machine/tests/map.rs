//! Map within the execution.

use super::*;

/// A machine of one inline Map over a task, with further fields of the Map.
fn map(fields: &str) -> String {
    format!(
        r#"{{"StartAt":"M","States":{{"M":{{"Type":"Map",{fields}
            "ItemProcessor":{{"StartAt":"Work","States":{{
                "Work":{{"Type":"Task","Resource":"iterd:work","End":true}}}}}},
            "End":true}}}}}}"#
    )
}

fn invoked(effects: &[Effect]) -> Vec<(u32, Value)> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Invoke { frame, payload, .. } => Some((frame.0, payload.value().clone())),
            _ => None,
        })
        .collect()
}

#[test]
fn results_stand_in_the_order_of_the_items_whatever_ends_first() {
    let mut world = World::new(&map(r#""MaxConcurrency":2,"#));
    let effects = world.start(json!(["a", "b", "c"]));
    assert_eq!(invoked(&effects), [(1, json!("a")), (2, json!("b"))]);
    let effects = world.done(2, 1, json!("B"));
    assert_eq!(invoked(&effects), [(3, json!("c"))]);
    assert!(invoked(&world.done(3, 1, json!("C"))).is_empty());
    let effects = world.done(1, 1, json!("A"));
    let Some(Effect::Ended { outcome }) = effects.last() else {
        panic!("{effects:?}");
    };
    assert_eq!(*outcome, succeeded(json!(["A", "B", "C"])));
}

#[test]
fn items_are_selected_and_results_placed() {
    let inner = r#""ItemProcessor":{"StartAt":"P","States":{"P":{"Type":"Pass","End":true}}},"End":true}}}"#;
    let run = |fields: &str, input: Value| {
        let definition =
            format!(r#"{{"StartAt":"M","States":{{"M":{{"Type":"Map",{fields}{inner}"#);
        World::new(&definition).run(input, echo)
    };
    let input = json!({"items": [1, 2], "x": "y"});
    for (fields, output) in [
        (r#""ItemsPath":"$.items","#, json!([1, 2])),
        (
            r#""ItemsPath":"$.items","ItemSelector":{"v.$":"$$.Map.Item.Value","i.$":"$$.Map.Item.Index","x.$":"$.x"},"#,
            json!([{"v": 1, "i": 0, "x": "y"}, {"v": 2, "i": 1, "x": "y"}]),
        ),
        (
            r#""InputPath":"$.items","Parameters":{"all.$":"$"},"ResultPath":"$.r","OutputPath":"$.r","#,
            json!([{"all": [1, 2]}, {"all": [1, 2]}]),
        ),
        (
            r#""ItemsPath":"$.items","ResultSelector":{"first.$":"$[0]"},"#,
            json!({"first": 1}),
        ),
    ] {
        assert_eq!(run(fields, input.clone()), succeeded(output), "{fields}");
    }
    assert_eq!(run("", json!([])), succeeded(json!([])));
    for (fields, input, cause) in [
        (
            r#""ItemsPath":"$.x","#,
            input.clone(),
            "Reference path \"$.x\" must point to array.",
        ),
        ("", json!({}), "Reference path \"$\" must point to array."),
        (
            r#""ItemsPath":"$.i","MaxConcurrencyPath":"$.m","#,
            json!({"i": [1], "m": "NoNumber"}),
            "The MaxConcurrencyPath field refers to value \"NoNumber\" which is not a valid integer: $.m",
        ),
    ] {
        let outcome = run(fields, input);
        assert!(error_of(&outcome).1.ends_with(cause), "{outcome:?}");
    }
}

#[test]
fn iterations_nest_and_know_their_item() {
    let definition = r#"{"StartAt":"Outer","States":{"Outer":{"Type":"Map","End":true,
        "ItemProcessor":{"StartAt":"Inner","States":{"Inner":{"Type":"Map","End":true,
            "ItemProcessor":{"StartAt":"P","States":{"P":{"Type":"Pass",
                "Parameters":{"v.$":"$","i.$":"$$.Map.Item.Index"},"End":true}}}}}}}}}"#;
    assert_eq!(
        World::new(definition).run(json!([["a"], [], ["b", "c"]]), echo),
        succeeded(json!([[{"v": "a", "i": 0}], [], [{"v": "b", "i": 0}, {"v": "c", "i": 1}]]))
    );
}

#[test]
fn one_failure_fails_the_map_and_drops_the_others() {
    let mut world = World::new(&map(""));
    world.start(json!([1, 2, 3]));
    world.done(1, 1, json!("one"));
    let effects = world.failed(3, 1, Failure::new("Boom", "c"));
    assert!(effects.contains(&Effect::Cancel {
        frame: FrameId(2),
        generation: Generation(1)
    }));
    let Some(Effect::Ended { outcome }) = effects.last() else {
        panic!("{effects:?}");
    };
    assert_eq!(error_of(outcome), ("Boom", "c"));
    let aborted = Event::MapIterationAborted {
        name: "M".into(),
        index: 1,
    };
    assert!(events(&effects).contains(&&aborted));
    assert!(world.done(2, 1, json!("late")).is_empty());
}

#[test]
fn a_map_is_retried_as_a_whole_and_its_error_can_be_caught() {
    let definition = map(
        r#""Retry":[{"ErrorEquals":["Boom"],"MaxAttempts":1}],"Catch":[{"ErrorEquals":["Boom"],"Next":"Caught"}],"#,
    )
    .replace("{\"M\":", r#"{"Caught":{"Type":"Pass","OutputPath":"$.Error","End":true},"M":"#);
    let mut world = World::new(&definition);
    world.start(json!([1, 2]));
    world.done(1, 1, json!("one"));
    let effects = deeds(world.failed(2, 1, Failure::new("Boom", "")));
    assert!(matches!(
        effects[..],
        [Effect::Wake {
            frame: FrameId(0),
            ..
        }]
    ));
    assert_eq!(
        world.rows.len(),
        2,
        "head and Map; nothing of the first attempt"
    );
    let effects = world.woken(0, 1);
    assert_eq!(invoked(&effects), [(3, json!(1)), (4, json!(2))]);
    let effects = world.failed(4, 1, Failure::new("Boom", ""));
    let Some(Effect::Ended { outcome }) = effects.last() else {
        panic!("{effects:?}");
    };
    assert_eq!(*outcome, succeeded(json!("Boom")));
}

#[test]
fn forty_iterations_at_most_are_under_way() {
    let mut world = World::new(&map(""));
    let items: Vec<u32> = (0..100).collect();
    assert_eq!(invoked(&world.start(json!(items))).len(), 40);
    assert_eq!(invoked(&world.done(1, 1, json!(1))).len(), 1);
}

#[test]
fn a_step_of_a_large_map_writes_a_handful_of_rows() {
    let options = Options {
        payload_bytes_max: 1024 * 1024,
        records: false,
        redrivable: false,
    };
    let mut world = World::with(&map(r#""MaxConcurrency":1,"#), options);
    let items: Vec<u32> = (0..10_000).collect();
    world.start(json!(items));
    assert_eq!(world.written, 4, "head, Map, its items, an iteration");
    for frame in 1..50 {
        world.done(frame, 1, json!({"done": frame}));
        assert_eq!(world.written, 4, "head, Map, a result, an iteration");
    }
    let longest = world
        .rows
        .iter()
        .filter(|(key, _)| key.part == Part::Frame && key.frame == FrameId(0))
        .map(|(_, body)| body.len());
    assert!(
        longest.max().unwrap() < 300,
        "the items are not in the Map's row"
    );
}

#[test]
fn results_of_a_step_share_rows_of_a_bounded_size() {
    let definition = r#"{"StartAt":"M","States":{"M":{"Type":"Map","End":true,"ItemProcessor":
        {"StartAt":"P","States":{"P":{"Type":"Pass","End":true}}}}}}"#;
    let options = Options {
        payload_bytes_max: 16 << 20,
        ..Options::default()
    };
    let mut world = World::with(definition, options);
    let items: Vec<String> = (0..1000).map(|n| format!("{n:01000}")).collect();
    world.start(json!(items));
    let results = |world: &World| -> Vec<(RowKey, String)> {
        let rows = world.rows.iter();
        let rows = rows.filter(|(key, _)| key.part == Part::Result);
        rows.map(|(key, body)| (*key, body.clone())).collect()
    };
    while results(&world).len() < 3 {
        world.step(Input::Continue);
    }
    assert!(results(&world).iter().all(|(_, body)| body.len() < 70_000));
    // Format 1 had a row for each result.
    let mut rows: Vec<Row> = Vec::new();
    for (key, body) in &world.rows {
        let mut stored: Value = serde_json::from_str(body).unwrap();
        stored["v"] = json!(1);
        let Some(Value::Array(outputs)) = stored.get_mut("outputs").map(Value::take) else {
            let (key, body) = (*key, stored.to_string());
            rows.push(Row { key, body });
            continue;
        };
        for output in outputs {
            let index = u32::try_from(output[0].as_u64().unwrap()).unwrap();
            let body = json!({"v": 1, "output": output[1]}).to_string();
            let key = RowKey { index, ..*key };
            rows.push(Row { key, body });
        }
    }
    assert!(rows.len() > 100, "{}", rows.len());
    let restored = Execution::restore(&world.machine, &world.input, rows).unwrap();
    assert_eq!(restored, world.execution);
}

#[test]
fn what_a_map_iterates_over_is_written_once_wherever_it_stands() {
    let definition = map("").replacen(
        r#""States":{"#,
        r#""States":{"First":{"Type":"Pass","InputPath":"$.list","Next":"M"},"#,
        1,
    );
    let definition = definition.replacen(r#""StartAt":"M""#, r#""StartAt":"First""#, 1);
    let mut world = World::new(&definition);
    let items: Vec<String> = (0..50).map(|n| format!("{n:01000}")).collect();
    world.start(json!({"list": items}));
    let longest = |world: &World, part: Part| {
        let rows = world.rows.iter();
        let of_top = rows.filter(|(key, _)| key.part == part && key.frame == FrameId(0));
        of_top.map(|(_, body)| body.len()).max().unwrap()
    };
    assert!(longest(&world, Part::Items) > 50_000);
    assert!(longest(&world, Part::Frame) < 400);
    world.done(1, 1, json!(1));
    assert!(longest(&world, Part::Frame) < 400);
    // Format 1 had it in the frame's row; going on from there must not lose it.
    let key = |part| RowKey {
        frame: FrameId(0),
        part,
        index: 0,
    };
    let read =
        |world: &World, part| -> Value { serde_json::from_str(&world.rows[&key(part)]).unwrap() };
    let (mut frame, mut row) = (read(&world, Part::Frame), read(&world, Part::Items));
    frame["data"] = row["data"].take();
    for old in [&mut frame, &mut row] {
        let fields = old.as_object_mut().unwrap();
        fields.insert("v".to_owned(), json!(1));
        fields.remove("data_in_items");
        fields.retain(|_, value| !value.is_null());
    }
    world.rows.insert(key(Part::Frame), frame.to_string());
    world.rows.insert(key(Part::Items), row.to_string());
    let rows = world.rows.iter().map(|(key, body)| Row {
        key: *key,
        body: body.clone(),
    });
    world.execution = Execution::restore(&world.machine, &world.input, rows).unwrap();
    world.done(2, 1, json!(2));
    assert!(longest(&world, Part::Frame) < 400);
    assert_eq!(read(&world, Part::Items)["data"], json!(items));
}

#[test]
fn results_of_a_map_that_is_over_are_none_of_the_next() {
    let each = |next: &str, first: &str, state: &str| {
        format!(
            r#"{{"Type":"Map",{next},"ItemProcessor":{{"StartAt":"{first}","States":{{"{first}":{state}}}}}}}"#
        )
    };
    let pass = r#"{"Type":"Pass","End":true}"#;
    let definition = format!(
        r#"{{"StartAt":"M1","States":{{"M1":{},"M2":{}}}}}"#,
        each(r#""Next":"M2""#, "One", pass),
        each(
            r#""End":true"#,
            "Two",
            r#"{"Type":"Choice","Default":"Done","Choices":[{"Variable":"$.last","IsPresent":true,"Next":"Work"}]},
               "Done":{"Type":"Pass","End":true},"Work":{"Type":"Task","Resource":"arn:aws:states:us-east-1:000000000000:activity:a","End":true}"#
        ),
    );
    let options = Options {
        payload_bytes_max: 2000,
        ..Options::default()
    };
    let mut world = World::with(&definition, options);
    let text = "x".repeat(150);
    let mut items = vec![json!({"text": text}); 9];
    items.push(json!({"last": text}));
    world.start(json!(items));
    // Each result is stored once: together they are below the bound, twice they would not be.
    let effects = world.done(20, 1, json!({"last": text}));
    let ended = effects.iter().any(|effect| {
        matches!(
            effect,
            Effect::Ended {
                outcome: Outcome::Succeeded { .. }
            }
        )
    });
    assert!(ended, "{effects:?}");
}

#[test]
fn results_together_stay_within_the_limit() {
    let options = Options {
        payload_bytes_max: 1000,
        ..Options::default()
    };
    let outcome =
        World::with(&map(""), options).run(json!([1, 2, 3]), |_, _, _| Ok(json!("x".repeat(400))));
    assert_eq!(error_of(&outcome).0, "States.DataLimitExceeded");
}
