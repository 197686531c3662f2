//! Buckets, with AWS's own clients: folders of this machine, and buckets elsewhere that distributed Maps
//! read and write, through a `kill -9`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    bed::{Bed, Daemon},
    services::{Moto, python},
};

fn serve(bed: &Bed) -> Daemon {
    let before = bed.words().matches(" serving ").count();
    let mut daemon = bed.daemon(&["serve", "--listen", "127.0.0.1:0"]);
    daemon.until("the daemon", || {
        bed.words().matches(" serving ").count() > before
    });
    daemon
}

/// What a shell would have after `iterd env`, with buckets at moto's where they are.
fn variables(bed: &Bed, moto: Option<&Moto>) -> BTreeMap<String, String> {
    let told: Value = serde_json::from_str(&bed.ask(&["env", "--json"])).unwrap();
    let texts = told.as_object().unwrap().iter();
    let mut variables: BTreeMap<String, String> = texts
        .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
        .collect();
    let own = variables.contains_key("AWS_ENDPOINT_URL_S3");
    assert_eq!(own, moto.is_none(), "{variables:?}");
    if let Some(moto) = moto {
        variables.insert("AWS_ENDPOINT_URL_S3".to_owned(), moto.place.clone());
        variables.insert("IS_ELSEWHERE".to_owned(), "1".to_owned());
    }
    variables
}

fn ask(bed: &Bed, variables: &BTreeMap<String, String>, arguments: &[&str]) -> String {
    let output = python("buckets.py")
        .args(arguments)
        .envs(variables)
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    let fine = output.status.success();
    assert!(fine, "{arguments:?}: {words}\n{}", bed.words());
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn a_folder_answers_clients_of_s3() {
    let bed = Bed::new();
    let _daemon = serve(&bed);
    ask(&bed, &variables(&bed, None), &["clients"]);
    assert!(!bed.words().contains("ERROR"), "{}", bed.words());
}

fn maps_read_and_write(elsewhere: bool) {
    let bed = Bed::new();
    let moto = elsewhere.then(Moto::start);
    if let Some(moto) = &moto {
        let settings = format!("[services.s3]\nendpoint = \"{}\"\n", moto.place);
        bed.write("iterd.toml", settings);
    }
    let mut daemon = serve(&bed);
    let execution = ask(&bed, &variables(&bed, moto.as_ref()), &["reading"]);
    let begun = "SELECT count(*) FROM executions";
    daemon.until("some children", || bed.value::<i64>(begun) >= Some(100));
    daemon.kill();
    let _daemon = serve(&bed);
    let variables = variables(&bed, moto.as_ref());
    let told = ask(&bed, &variables, &["written", &execution]);
    let (rows, keys, noted): (Vec<Value>, Vec<String>, bool) = serde_json::from_str(&told).unwrap();
    assert!(noted);
    let expected = (0..400).map(|n| json!({"id": n.to_string(), "name": format!("name {n}")}));
    assert_eq!(rows, expected.collect::<Vec<_>>());
    assert_eq!(keys, ["in/other name.txt", "in/rows.csv"]);
}

#[test]
fn maps_read_and_write_buckets_that_are_folders() {
    maps_read_and_write(false);
}

#[test]
fn maps_read_and_write_buckets_elsewhere() {
    maps_read_and_write(true);
}
