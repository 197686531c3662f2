//! Map as a run of its own.

use super::*;

fn distributed(fields: &str) -> String {
    format!(
        r#"{{"StartAt":"M","States":{{"M":{{"Type":"Map",{fields}
            "ItemProcessor":{{"ProcessorConfig":{{"Mode":"DISTRIBUTED","ExecutionType":"STANDARD"}},
                "StartAt":"Work","States":{{"Work":{{"Type":"Task","Resource":"iterd:work","End":true}}}}}},
            "End":true}}}}}}"#
    )
}

fn request(world: &mut World, input: Value) -> Arc<RunRequest> {
    let effects = deeds(world.start(input));
    let [Effect::StartRun { request, .. }] = &effects[..] else {
        panic!("{effects:?}");
    };
    let again = RunRequest::from_text(&world.machine, &request.to_text()).unwrap();
    assert_eq!(
        again, **request,
        "what is stored gives the same request back"
    );
    Arc::clone(request)
}

#[test]
fn a_run_is_asked_for_with_everything_resolved() {
    let mut world = World::new(&distributed(
        r#""Label":"far","MaxConcurrencyPath":"$.n","ToleratedFailureCount":3,"ToleratedFailurePercentagePath":"$.p",
        "ItemReader":{"Resource":"iterd:csv","Parameters":{"path.$":"$.file"},"ReaderConfig":{"InputType":"CSV","MaxItems":10}},
        "ItemBatcher":{"MaxItemsPerBatchPath":"$.n","BatchInput":{"f.$":"$.file"}},
        "ResultWriter":{"Resource":"iterd:out","Parameters":{"to.$":"$.file"}},"#,
    ));
    let request = request(&mut world, json!({"n": 4, "p": 2.5, "file": "x.csv"}));
    assert_eq!(request.max_concurrency, 4);
    assert_eq!(request.tolerance.count, Some(3));
    assert_eq!(request.tolerance.percentage, Some(2.5));
    let Source::Reader {
        parameters,
        max_items,
    } = &request.source
    else {
        panic!("{request:?}");
    };
    assert_eq!(parameters, &Some(json!({"path": "x.csv"}).into()));
    assert_eq!(*max_items, Some(10));
    let batch = request.batch.as_ref().unwrap();
    assert_eq!((batch.max_items, batch.max_bytes), (Some(4), None));
    assert_eq!(
        *request
            .batch_input(&[json!(1).into(), json!(2).into()])
            .value(),
        json!({"BatchInput": {"f": "x.csv"}, "Items": [1, 2]})
    );
    let write_to = request.write_to.as_ref().unwrap();
    assert_eq!(write_to.parameters, Some(json!({"to": "x.csv"}).into()));
    let distributed = request.distributed().unwrap();
    assert_eq!(distributed.label.as_deref(), Some("far"));
    let child = Machine::new(Arc::clone(&distributed.processor), Options::default());
    assert_eq!(&**request.state_name(), "M");
    assert!(world.machine.processor("M", Options::default()).is_some());
    assert_eq!(child.definition().states().len(), 1);
}

#[test]
fn a_childs_input_is_the_item_verbatim_or_what_the_selector_makes_of_it() {
    let mut random = || 0;
    let null = Payload::from(Value::Null);
    let mut context = StepContext {
        now: Timestamp(0),
        random: &mut random,
        token: &no_token,
        context: Context {
            execution_id: "arn:e",
            execution_name: "e",
            role_arn: None,
            started: Timestamp(0),
            redrive_count: 0,
            redriven: None,
            input: &null,
            machine_id: "arn:m",
            machine_name: "m",
            version_arn: None,
            alias_arn: None,
            item: None,
        },
    };
    let item = MapItem {
        index: 7,
        value: Payload::parse("[ 1 ]").unwrap(),
        key: Some("k".into()),
        source: None,
    };
    let mut world = World::new(&distributed(""));
    let plain = request(&mut world, json!([[1]]));
    let input = plain.child_input(&item, &mut context, 1000).unwrap();
    assert_eq!(input.text(), "[ 1 ]");
    let mut world = World::new(&distributed(
        r#""ItemsPath":"$.items","ItemSelector":{"v.$":"$$.Map.Item.Value","i.$":"$$.Map.Item.Index","k.$":"$$.Map.Item.Key","c.$":"$.c"},"#,
    ));
    let selecting = request(&mut world, json!({"items": [[1]], "c": 2}));
    let input = selecting.child_input(&item, &mut context, 1000).unwrap();
    assert_eq!(*input.value(), json!({"v": [1], "i": 7, "k": "k", "c": 2}));
    let mut world = World::new(&distributed(r#""ItemSelector":{"v.$":"$.no"},"#));
    let failing = request(&mut world, json!([]));
    let failure = failing.child_input(&item, &mut context, 1000).unwrap_err();
    assert_eq!(failure.error, "States.Runtime");
}

#[test]
fn a_runs_result_is_the_states_and_its_failure_is_retried_as_a_new_run() {
    let mut world = World::new(&distributed(
        r#""ResultPath":"$.r","Retry":[{"ErrorEquals":["States.ItemReaderFailed"],"MaxAttempts":1}],"ItemsPath":"$.items","#,
    ));
    request(&mut world, json!({"items": [1]}));
    let ended = |generation: u32, outcome: Result<Value, Failure>| Input::RunEnded {
        frame: FrameId(0),
        generation: Generation(generation),
        outcome: outcome.map(Payload::from),
    };
    let effects = deeds(world.step(ended(
        1,
        Err(Failure::new("States.ItemReaderFailed", "gone")),
    )));
    assert!(matches!(effects[..], [Effect::Wake { .. }]), "{effects:?}");
    let effects = deeds(world.woken(0, 2));
    let [
        Effect::StartRun {
            generation: Generation(3),
            ..
        },
    ] = &effects[..]
    else {
        panic!("{effects:?}");
    };
    assert!(
        world.step(ended(1, Ok(json!("old")))).is_empty(),
        "the first run is over"
    );
    let effects = world.step(ended(3, Ok(json!(["new"]))));
    let Some(Effect::Ended { outcome }) = effects.last() else {
        panic!("{effects:?}");
    };
    assert_eq!(*outcome, succeeded(json!({"items": [1], "r": ["new"]})));
}

#[test]
fn numbers_out_of_range_fail_the_state() {
    for (fields, input, cause) in [
        (
            r#""ToleratedFailureCountPath":"$.n","#,
            json!({"i": [], "n": -1}),
            "ToleratedFailureCount cannot be negative.",
        ),
        (
            r#""ToleratedFailurePercentagePath":"$.n","#,
            json!({"i": [], "n": 100.1}),
            "ToleratedFailurePercentage must be between 0 and 100.",
        ),
        (
            r#""ToleratedFailurePercentagePath":"$.n","#,
            json!({"i": [], "n": "x"}),
            "The ToleratedFailurePercentagePath field refers to value \"x\" which is not a valid float: $.n",
        ),
        (
            "",
            json!({"i": 1}),
            "Reference path \"$.i\" must point to array.",
        ),
    ] {
        let mut world = World::new(&distributed(&format!(r#"{fields}"ItemsPath":"$.i","#)));
        let effects = world.start(input);
        let Some(Effect::Ended { outcome }) = effects.last() else {
            panic!("{effects:?}");
        };
        assert!(error_of(outcome).1.ends_with(cause), "{outcome:?}");
    }
}
