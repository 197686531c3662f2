//! A file is told by its beginning, with what the source itself reads of it.

use std::io::Write as _;

use serde_json::json;

use super::*;

/// Under a name of its own, beside variables of the other.
fn look(path: &Path, scratch: &Path) -> Result<Guess, SourceError> {
    guess(path, scratch)
}

/// What is guessed of a file of that name and content.
fn guessed(name: &str, content: &[u8]) -> Result<Guess, SourceError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, content).unwrap();
    look(&path, folder.path())
}

fn check(name: &str, content: &str, keys: &Value, id: Option<&str>, records: usize) {
    let guess = guessed(name, content.as_bytes()).unwrap();
    assert_eq!(Value::Object(guess.keys), *keys, "{content:?}");
    assert_eq!(guess.id.as_deref(), id, "{content:?}");
    assert_eq!(
        (guess.looked_at, guess.malformed),
        (records, 0),
        "{content:?}"
    );
}

#[test]
fn a_text_is_told_by_what_stands_in_it_whatever_it_is_called() {
    check(
        "a.csv",
        "id,name\n1,ada\n2,bob\n",
        &json!({"kind": "csv"}),
        Some("id"),
        2,
    );
    check(
        "a.dat",
        "customer id;name;amount\n7;\"x, y\";1,5\n8;z;2,5\n",
        &json!({"kind": "csv", "delimiter": ";"}),
        Some("customer id"),
        2,
    );
    check(
        "a.tsv",
        "name\tcity\nada\tParis\nada\tRome\n",
        &json!({"kind": "csv", "delimiter": "\t"}),
        None,
        2,
    );
    check(
        "a.txt",
        "0041;LATIN A;Lu\n0042;LATIN B;Lu\n",
        &json!({"kind": "csv", "delimiter": ";", "headers": ["column1", "column2", "column3"]}),
        Some("column1"),
        2,
    );
    check(
        "a.csv",
        "word\none\ntwo",
        &json!({"kind": "csv"}),
        Some("word"),
        2,
    );
    check(
        "a.jsonl",
        "{\"a\": 1, \"uuid\": \"x\"}\n",
        &json!({"kind": "jsonl"}),
        Some("uuid"),
        1,
    );
    check(
        "a.log",
        "{\"a\": 1}\n{\"a\": 1}\n",
        &json!({"kind": "jsonl"}),
        None,
        2,
    );
    check("a.jsonl", "17\n18\n", &json!({"kind": "jsonl"}), None, 2);
    check(
        "a.json",
        "[\n{\"id\": 1},\n{\"id\": 2}]\n",
        &json!({"kind": "json"}),
        Some("id"),
        2,
    );
    check("a.json", "[1, 2, 3]", &json!({"kind": "json"}), None, 3);
    check(
        "a.json",
        "{\"next\": null, \"tags\": [\"x\"], \"data\": {\"a/b\": [{\"key\": \"k\"}]}}",
        &json!({"kind": "json", "pointer": "/data/a~1b"}),
        Some("key"),
        1,
    );
    check(
        "a.json",
        "{\"ada\": {\"n\": 1}, \"bob\": {\"n\": 2}}",
        &json!({"kind": "json"}),
        Some("key"),
        2,
    );
}

#[test]
fn an_identity_is_in_each_record_and_different() {
    let rows = "a_id,b_id,amount\n1,7,1\n2,7,2\n";
    let guess = guessed("a.csv", rows.as_bytes()).unwrap();
    assert_eq!(
        (guess.id.as_deref(), guess.other_ids),
        (Some("a_id"), vec!["amount".to_owned()])
    );
    let rows = "{\"id\": 1}\n{\"id\": null}\n";
    assert_eq!(guessed("a.jsonl", rows.as_bytes()).unwrap().id, None);
}

#[test]
fn what_is_compressed_is_told_by_its_beginning() {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    for n in 0..200_000 {
        writeln!(packed, "{{\"id\": {n}, \"text\": \"row\"}}").unwrap();
    }
    let packed = packed.finish().unwrap();
    let guess = guessed("a.jsonl.gz", &packed).unwrap();
    assert_eq!(Value::Object(guess.keys), json!({"kind": "jsonl"}));
    assert_eq!(guess.id.as_deref(), Some("id"));
    assert!(
        !guess.whole && guess.looked_at == RECORDS_MAX,
        "{}",
        guess.looked_at
    );
    let keys = guessed("packed", &packed).unwrap().keys;
    assert_eq!(
        Value::Object(keys),
        json!({"kind": "jsonl", "compression": "gzip"})
    );
}

#[test]
fn a_directory_and_a_database_are_what_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let scratch = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("b.png"), "x").unwrap();
    let guess = look(folder.path(), scratch.path()).unwrap();
    assert_eq!(Value::Object(guess.keys), json!({"kind": "directory"}));
    assert_eq!(guess.id.as_deref(), Some("path"));
    let path = folder.path().join("data.db");
    let database = rusqlite::Connection::open(&path).unwrap();
    database
        .execute_batch(
            "CREATE TABLE small (n INTEGER PRIMARY KEY); INSERT INTO small VALUES (1);
             CREATE TABLE \"big table\" (code TEXT, n); INSERT INTO \"big table\" VALUES ('a', 1), ('b', 1);",
        )
        .unwrap();
    let guess = look(&path, scratch.path()).unwrap();
    assert_eq!(
        Value::Object(guess.keys),
        json!({
            "kind": "sql", "key": "row_number",
            "query": "SELECT rowid AS row_number, * FROM \"big table\"",
        })
    );
    assert_eq!((guess.id.as_deref(), guess.looked_at), (Some("code"), 2));
    assert!(
        guess.because.contains("it also has small"),
        "{}",
        guess.because
    );
}

#[test]
fn what_cannot_be_a_source_is_refused_with_the_mend() {
    for (content, mend) in [
        (&b"PAR1\x00\x01"[..], "duckdb"),
        (b"\xff\xfea\x00", "iconv"),
        (b"\x7fELF\x00", "by hand"),
        (b" \n", "is empty"),
    ] {
        let error = guessed("a.csv", content).unwrap_err().to_string();
        assert!(error.contains(mend), "{error}");
    }
    let error = guessed("a.json", b"17").unwrap_err().to_string();
    assert!(error.contains("no array or object"), "{error}");
}
