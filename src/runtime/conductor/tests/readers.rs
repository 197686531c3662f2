//! Distributed Maps over what item readers find, with result writers.

use std::fs;

use serde_json::{Value, json};

use super::*;

impl World {
    fn put(&self, key: &str, text: &str) {
        let path = self.state().join("buckets/data").join(key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn get(&self, key: &str) -> Value {
        let text = fs::read_to_string(self.state().join("buckets/data").join(key)).unwrap();
        serde_json::from_str(&text).unwrap()
    }
}

/// A machine with one distributed Map: its fields beside the processor, and the processor's states.
fn maps(fields: &Value, states: &Value) -> String {
    let mut map = json!({
        "Type": "Map", "End": true,
        "ItemProcessor": {
            "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
            "StartAt": "A", "States": states,
        },
    });
    for (key, value) in fields.as_object().unwrap() {
        map[key] = value.clone();
    }
    json!({"StartAt": "M", "States": {"M": map}}).to_string()
}

fn lines(of: std::ops::Range<u32>, line: impl Fn(u32) -> String) -> String {
    let lines: Vec<String> = of.map(line).collect();
    lines.join("\n") + "\n"
}

fn pass() -> Value {
    json!({"A": {"Type": "Pass", "End": true}})
}

fn reader(config: &Value) -> Value {
    json!({
        "Resource": "arn:aws:states:::s3:getObject",
        "Parameters": {"Bucket": "data", "Key.$": "$.key"},
        "ReaderConfig": config,
    })
}

async fn run(engine: &Engine, text: &str, input: &str) -> ExecutionRow {
    let maps = program(engine, ExecutionKind::Standard, text);
    let id = id_of(&start(engine, &maps, None, input).await);
    end(engine, id).await
}

fn output(row: &ExecutionRow) -> Value {
    assert_eq!(
        row.status,
        ExecutionStatus::Succeeded,
        "{:?} {:?}",
        row.error,
        row.cause
    );
    serde_json::from_str(row.output.as_deref().unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_map_takes_its_items_from_an_object_and_each_child_knows_where_from() {
    let world = World::new();
    let engine = world.open();
    let text = lines(0..700, |n| format!("{{\"n\": {n}}}"));
    world.put("in.jsonl", &text);
    let fields = json!({
        "ItemReader": reader(&json!({"InputType": "JSONL"})),
        "ItemSelector": {"n.$": "$$.Map.Item.Value.n", "at.$": "$$.Map.Item.Index", "from.$": "$$.Map.Item.Source"},
    });
    let row = run(&engine, &maps(&fields, &pass()), r#"{"key": "in.jsonl"}"#).await;
    let output = output(&row);
    let told = output.as_array().unwrap();
    assert_eq!(told.len(), 700);
    for (n, item) in told.iter().enumerate() {
        assert_eq!(
            *item,
            json!({"n": n, "at": n, "from": "S3://data/in.jsonl"})
        );
    }
}

/// Recorded of AWS.
#[tokio::test(flavor = "multi_thread")]
async fn max_items_ends_a_run_early_and_a_negative_one_fails_it() {
    let world = World::new();
    let engine = world.open();
    world.put(
        "file.csv",
        "Col1,Col2\nValue1,Value2\nValue3,Value4\nValue5,Value6\n",
    );
    let config =
        json!({"InputType": "CSV", "CSVHeaderLocation": "FIRST_ROW", "MaxItemsPath": "$.most"});
    let text = maps(&json!({"ItemReader": reader(&config)}), &pass());
    for (most, count) in [(0, 3), (2, 2), (100_000_000, 3)] {
        let row = run(
            &engine,
            &text,
            &format!(r#"{{"key": "file.csv", "most": {most}}}"#),
        )
        .await;
        assert_eq!(output(&row).as_array().unwrap().len(), count, "{most}");
    }
    let row = run(&engine, &text, r#"{"key": "file.csv", "most": -1}"#).await;
    assert_eq!(
        (row.error.as_deref(), row.cause.as_deref()),
        (
            Some("States.ItemReaderFailed"),
            Some("field MaxItems must be positive")
        )
    );
    let page = read_history(engine.store(), row.id, 1, false, 1000).unwrap();
    let kinds: Vec<_> = page
        .records
        .iter()
        .map(|record| record.event.to_stored().kind)
        .collect();
    assert_eq!(
        kinds,
        [
            "execution_started",
            "state_entered",
            "map_started",
            "run_started",
            "run_failed",
            "map_failed",
            "execution_failed"
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_fails_is_caught_as_any_error() {
    let world = World::new();
    let engine = world.open();
    world.put("bad.jsonl", "1\n2\n{\n");
    let fields = json!({
        "ItemReader": reader(&json!({"InputType": "JSONL"})),
        "Catch": [{"ErrorEquals": ["States.ItemReaderFailed"], "Next": "Caught"}],
    });
    let mut text: Value = serde_json::from_str(&maps(&fields, &pass())).unwrap();
    text["States"]["Caught"] = json!({"Type": "Pass", "End": true});
    for (key, cause) in [
        ("bad.jsonl", "S3://data/bad.jsonl: line 3"),
        ("gone.jsonl", "The specified key does not exist"),
        ("../../iterd.db", "Access denied"),
    ] {
        let row = run(&engine, &text.to_string(), &json!({"key": key}).to_string()).await;
        let told = output(&row);
        assert_eq!(told["Error"], "States.ItemReaderFailed");
        assert!(told["Cause"].as_str().unwrap().starts_with(cause), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_are_made_over_pages_and_a_child_that_is_too_large_fails() {
    let world = World::new();
    let engine = world.open();
    let text = lines(0..1000, |n| n.to_string());
    world.put("in.jsonl", &text);
    let by = |batcher: &Value| json!({"ItemReader": reader(&json!({"InputType": "JSONL"})), "ItemBatcher": batcher});
    let text = maps(
        &by(&json!({"MaxItemsPerBatch": 3, "BatchInput": {"a": 1}})),
        &pass(),
    );
    let told = output(&run(&engine, &text, r#"{"key": "in.jsonl"}"#).await);
    let batches = told.as_array().unwrap();
    assert_eq!(batches.len(), 334);
    assert_eq!(
        batches[333],
        json!({"BatchInput": {"a": 1}, "Items": [999]})
    );
    let items: Vec<u64> = batches
        .iter()
        .flat_map(|batch| batch["Items"].as_array().unwrap())
        .map(|item| item.as_u64().unwrap())
        .collect();
    assert_eq!(items, (0..1000).collect::<Vec<_>>());

    let large = lines(0..40, |_| format!("\"{}\"", "x".repeat(10_000)));
    world.put("large.jsonl", &large);
    let text = maps(&by(&json!({"MaxInputBytesPerBatch": 100_000})), &pass());
    let row = run(&engine, &text, r#"{"key": "large.jsonl"}"#).await;
    let run_row = &engine.store().map_runs_of(row.id).unwrap()[0];
    assert_eq!(engine.store().child_counts(run_row.run).unwrap()[0].1, 5);
    let text = maps(&by(&json!({"MaxItemsPerBatch": 100})), &pass());
    let row = run(&engine, &text, r#"{"key": "large.jsonl"}"#).await;
    assert_eq!(
        row.error.as_deref(),
        Some("States.ExceedToleratedFailureThreshold")
    );
    let run_row = &engine.store().map_runs_of(row.id).unwrap()[0];
    let failures = engine
        .store()
        .failures(run_row.run, None, None, 10)
        .unwrap();
    assert_eq!(failures.rows[0].error, "States.DataLimitExceeded");
}

#[tokio::test(flavor = "multi_thread")]
async fn results_are_written_with_a_manifest_that_the_state_answers() {
    let world = World::new();
    let engine = world.open();
    world.put("in", "");
    let states = json!({
        "A": {"Type": "Choice", "Default": "Good",
            "Choices": [{"Variable": "$", "NumericEquals": 2, "Next": "Bad"}]},
        "Good": {"Type": "Pass", "Parameters": {"list.$": "States.Array($, 7)"}, "OutputPath": "$.list", "End": true},
        "Bad": {"Type": "Fail", "Error": "Two", "Cause": "it is two"},
    });
    let forms = [
        (json!({}), "[[1,7],[3,7]]"),
        (
            json!({"Transformation": "COMPACT", "OutputType": "JSON"}),
            "[[1,7],[3,7]]",
        ),
        (
            json!({"Transformation": "FLATTEN", "OutputType": "JSON"}),
            "[1,7,3,7]",
        ),
        (json!({"Transformation": "NONE", "OutputType": "JSON"}), ""),
    ];
    for (at, (config, content)) in forms.into_iter().enumerate() {
        let mut writer = json!({
            "Resource": "arn:aws:states:::s3:putObject",
            "Parameters": {"Bucket": "data", "Prefix.$": "$.prefix"},
        });
        if at > 0 {
            writer["WriterConfig"] = config;
        }
        let fields = json!({"ItemsPath": "$.items", "ToleratedFailureCount": 1, "Label": "each", "ResultWriter": writer});
        let row = run(
            &engine,
            &maps(&fields, &states),
            r#"{"items": [1, 2, 3], "prefix": "out"}"#,
        )
        .await;
        let told = output(&row);
        let run_row = engine.store().map_runs_of(row.id).unwrap().remove(0);
        let folder = format!("out/{}", run_row.uuid);
        let arn = engine.place().map_run("pay", "each", &run_row.uuid);
        assert_eq!(
            told,
            json!({"MapRunArn": arn, "ResultWriterDetails": {"Bucket": "data", "Key": format!("{folder}/manifest.json")}})
        );
        let manifest = world.get(&format!("{folder}/manifest.json"));
        assert_eq!(manifest["DestinationBucket"], "data");
        assert_eq!(manifest["ResultFiles"]["PENDING"], json!([]));
        let succeeded = &manifest["ResultFiles"]["SUCCEEDED"][0];
        assert_eq!(succeeded["Key"], format!("{folder}/SUCCEEDED_0.json"));
        let file = world.get(&format!("{folder}/SUCCEEDED_0.json"));
        if at == 0 || content.is_empty() {
            assert_eq!(
                (&file[1]["Input"], &file[1]["Output"], &file[1]["Status"]),
                (&"3".into(), &"[3,7]".into(), &"SUCCEEDED".into())
            );
        } else {
            assert_eq!(file.to_string(), content);
        }
        let failed = world.get(&format!("{folder}/FAILED_0.json"));
        assert_eq!(failed.as_array().unwrap().len(), 1);
        assert_eq!(
            (&failed[0]["Error"], &failed[0]["Input"]),
            (&"Two".into(), &"2".into())
        );
        assert_eq!(run_row.written, 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_without_a_resource_shapes_the_result_and_one_without_a_bucket_fails() {
    let world = World::new();
    let engine = world.open();
    let input = r#"{"items": [[1, 2], 3, [4]]}"#;
    let fields = json!({"ItemsPath": "$.items", "ResultWriter": {"WriterConfig": {"Transformation": "FLATTEN", "OutputType": "JSON"}}});
    let row = run(&engine, &maps(&fields, &pass()), input).await;
    assert_eq!(output(&row), json!([1, 2, 3, 4]));
    let fields = json!({"ItemsPath": "$.items", "ResultWriter": {
        "Resource": "arn:aws:states:::s3:putObject", "Parameters": {"Bucket": "nowhere"}}});
    let row = run(&engine, &maps(&fields, &pass()), input).await;
    assert_eq!(row.error.as_deref(), Some("States.ResultWriterFailed"));
    assert!(row.cause.unwrap().contains("bucket does not exist"));
}

#[tokio::test(flavor = "multi_thread")]
async fn express_children_are_redriven_with_the_items_that_they_had() {
    let world = World::new();
    let engine = world.open();
    world.put("in.jsonl", &lines(0..7, |n| format!("{{\"n\": {n}}}")));
    for batch in [json!(null), json!({"MaxItemsPerBatch": 2})] {
        let cause = |index: u64| {
            if batch.is_null() {
                return json!({"n": index}).to_string();
            }
            let items: Vec<_> = (index..7).take(2).map(|n| json!({"n": n})).collect();
            json!({"Items": items}).to_string()
        };
        let mut fields = json!({
            "ItemReader": reader(&json!({"InputType": "JSONL"})),
            "MaxConcurrency": 1,
        });
        if batch.is_object() {
            fields["ItemBatcher"] = batch.clone();
        }
        let fails =
            json!({"A": {"Type": "Fail", "Error": "No", "CausePath": "States.JsonToString($)"}});
        let text = maps(&fields, &fails).replace("STANDARD", "EXPRESS");
        let program = program(&engine, ExecutionKind::Standard, &text);
        let id = id_of(&start(&engine, &program, None, r#"{"key": "in.jsonl"}"#).await);
        for _ in 0..3 {
            assert_eq!(end(&engine, id).await.status, ExecutionStatus::Failed);
            let run = engine.store().map_runs_of(id).unwrap().remove(0).run;
            let failed = engine.store().failures(run, None, None, 9).unwrap();
            assert!(!failed.rows.is_empty());
            for row in failed.rows {
                // Who was stopped says nothing.
                assert!(
                    row.cause.is_empty() || row.cause == cause(row.index),
                    "{row:?}"
                );
            }
            engine.redrive_execution(id, None).await.unwrap();
        }
    }
}
