//! `kill -9` of the daemon while a Map goes through an object: each item is a child once, and the files of
//! its results have each once.

use std::{
    fs::{self, File},
    io::{BufWriter, Write as _},
    time::Duration,
};

use iterd::{
    ids::ExecutionId,
    store::{ExecutionStatus, Store},
};
use serde_json::{Value, json};

use crate::{
    bed::{Bed, scale},
    executions::{engine, program, start},
};

/// A machine with a Map over an object, whose children wait twice.
fn machine(config: &Value, fields: &Value) -> String {
    let mut map = json!({
        "Type": "Map", "MaxConcurrency": 100, "End": true,
        "ItemReader": {
            "Resource": "arn:aws:states:::s3:getObject",
            "ReaderConfig": config,
            "Parameters": {"Bucket": "data", "Key.$": "$.key"},
        },
        "ItemProcessor": {
            "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
            "StartAt": "Wait", "States": {
                "Wait": {"Type": "Wait", "Seconds": 0, "Next": "Again"},
                "Again": {"Type": "Wait", "Seconds": 0, "Next": "Done"},
                "Done": {"Type": "Pass", "End": true}},
        },
        "ResultWriter": {
            "Resource": "arn:aws:states:::s3:putObject",
            "Parameters": {"Bucket": "data", "Prefix": "out"},
            "WriterConfig": {"Transformation": "COMPACT", "OutputType": "JSON"},
        },
    });
    for (key, value) in fields.as_object().unwrap() {
        map[key] = value.clone();
    }
    json!({"StartAt": "M", "States": {"M": map}}).to_string()
}

/// The results of a Map, by the manifest that its execution answers.
fn results(bed: &Bed, store: &Store, id: ExecutionId) -> Vec<Value> {
    let row = store.execution(id).unwrap().unwrap();
    assert_eq!(row.status, ExecutionStatus::Succeeded, "{:?}", row.cause);
    let output: Value = serde_json::from_str(row.output.as_deref().unwrap()).unwrap();
    let read = |key: &Value| -> Value {
        let path = bed.path("state/buckets/data").join(key.as_str().unwrap());
        serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
    };
    let manifest = read(&output["ResultWriterDetails"]["Key"]);
    assert_eq!(manifest["ResultFiles"]["FAILED"], json!([]));
    let files = manifest["ResultFiles"]["SUCCEEDED"].as_array().unwrap();
    files
        .iter()
        .flat_map(|file| read(&file["Key"]).as_array().unwrap().clone())
        .collect()
}

#[test]
fn a_map_over_an_object_is_as_if_nobody_had_killed_the_daemon() {
    let records: u32 = scale(3000, 30_000);
    let kills: u32 = scale(8, 40);
    let bed = Bed::new();
    let state = bed.path("state");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (rows, batches) = {
        let engine = engine(&state);
        let folder = state.join("buckets/data");
        fs::create_dir_all(&folder).unwrap();
        let mut csv = BufWriter::new(File::create(folder.join("in.csv")).unwrap());
        let mut lines = BufWriter::new(File::create(folder.join("in.jsonl")).unwrap());
        writeln!(csv, "n,note").unwrap();
        for n in 0..records {
            writeln!(csv, "{n},\"the {n}. record\"").unwrap();
            writeln!(lines, "{{\"n\": {n}}}").unwrap();
        }
        csv.into_inner().unwrap();
        lines.into_inner().unwrap();
        let text = machine(
            &json!({"InputType": "CSV", "CSVHeaderLocation": "FIRST_ROW"}),
            &json!({}),
        );
        let rows = program(&engine, "rows", &text);
        let text = machine(
            &json!({"InputType": "JSONL"}),
            &json!({"ItemBatcher": {"MaxItemsPerBatch": 7}}),
        );
        let batches = program(&engine, "batches", &text);
        runtime.block_on(async {
            engine.conduct();
            let rows = start(&engine, &rows, r#"{"key": "in.csv"}"#).await;
            let batches = start(&engine, &batches, r#"{"key": "in.jsonl"}"#).await;
            engine.shut_down(Duration::from_secs(5)).await;
            (rows, batches)
        })
    };
    drop(runtime);
    let running = "SELECT count(*) FROM executions WHERE status = 'running'";
    let ended = "SELECT count(*) FROM executions WHERE status <> 'running'";
    // Why a third: all kills together leave the most of the children to the daemon that may live.
    let step = i64::from(records / kills / 3);
    for kill in 0..kills {
        let mut daemon = bed.daemon(&["serve", "--listen", "127.0.0.1:0"]);
        if kill % 4 == 3 {
            // On its way up, while it takes in what the one before had left.
            daemon.ends_within(Duration::from_micros(rand::random_range(0..40_000)));
        } else {
            let enough = bed.value::<i64>(ended).unwrap() + rand::random_range(1..=step);
            daemon.until("some children", || bed.value(ended) >= Some(enough));
            let left = bed.value::<i64>(running);
            assert!(left > Some(0), "the kill came too late");
        }
        daemon.kill();
    }
    let mut daemon = bed.daemon(&["serve", "--listen", "127.0.0.1:0"]);
    daemon.until("the maps to end", || bed.value(running) == Some(0));
    daemon.kill();
    let store = Store::open_read_only(&state).unwrap();
    let told: Vec<Value> = results(&bed, &store, rows);
    let expected = |n: u32| json!({"n": n.to_string(), "note": format!("the {n}. record")});
    assert_eq!(told, (0..records).map(expected).collect::<Vec<_>>());
    let told = results(&bed, &store, batches);
    let items: Vec<_> = told
        .iter()
        .flat_map(|batch| batch["Items"].as_array().unwrap().clone())
        .collect();
    assert_eq!(
        items,
        (0..records).map(|n| json!({"n": n})).collect::<Vec<_>>()
    );
    for (machine, children) in [("rows", records), ("batches", records.div_ceil(7))] {
        let count = format!(
            "SELECT count(*) FROM executions WHERE run IS NOT NULL AND machine LIKE '{machine}/%'"
        );
        assert_eq!(bed.value(&count), Some(i64::from(children)), "one each");
    }
    assert_eq!(bed.value("SELECT count(*) FROM timers"), Some(0));
}
