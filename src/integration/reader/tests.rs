//! Item readers over every form of object; that pages of any length and a reader opened anew give the same.

use std::{collections::BTreeMap, fs, io::Write as _};

use flate2::{Compression, write::GzEncoder};

use super::*;

struct World {
    dir: tempfile::TempDir,
}

const BOUNDS: PageBounds = PageBounds {
    records_max: 3,
    bytes_max: 1 << 20,
    record_bytes_max: 1000,
};

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("buckets/data")).unwrap();
        fs::create_dir_all(dir.path().join("buckets/other")).unwrap();
        fs::create_dir(dir.path().join("spool")).unwrap();
        Self { dir }
    }

    fn put(&self, key: &str, bytes: impl AsRef<[u8]>) {
        self.put_in("data", key, bytes);
    }

    fn put_in(&self, bucket: &str, key: &str, bytes: impl AsRef<[u8]>) {
        let path = self.dir.path().join("buckets").join(bucket).join(key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn reader(&self, what: What) -> Result<ItemReader, ReaderError> {
        let places = Places {
            buckets: Buckets {
                root: self.dir.path().join("buckets"),
                named: BTreeMap::new(),
                elsewhere: None,
            },
            spool_dir: self.dir.path().join("spool"),
            spool_bytes_max: 1 << 20,
            free_min: 0,
        };
        let bucket = "data".to_owned();
        ItemReader::open(&ReaderSpec { bucket, what }, places)
    }

    /// Every item; read in pages, by a reader that is opened anew for each. Holds that reading from
    /// behind any item gives those that follow.
    fn items(&self, what: &What) -> Result<Vec<ReadItem>, ReaderError> {
        let (mut items, mut from): (Vec<ReadItem>, _) = (Vec::new(), Cursor::start());
        loop {
            let page = self.reader(what.clone())?.read(&from, BOUNDS)?;
            from = page.items.last().map_or(from, |item| item.end.clone());
            assert!(page.end || !page.items.is_empty());
            items.extend(page.items);
            if page.end {
                break;
            }
        }
        let mut reader = self.reader(what.clone())?;
        for (at, item) in items.iter().enumerate() {
            let page = reader.read(&item.end, BOUNDS)?;
            let behind = &items[at + 1..];
            assert_eq!(page.items, behind[..page.items.len()]);
            assert!(!page.items.is_empty() || behind.is_empty());
        }
        Ok(items)
    }

    fn texts(&self, what: &What) -> Vec<String> {
        let items = self.items(what).unwrap();
        items
            .iter()
            .map(|item| item.value.text().to_owned())
            .collect()
    }

    fn cause(&self, what: &What) -> String {
        self.items(what).unwrap_err().to_string()
    }
}

fn object(key: &str, form: Form) -> What {
    What::Object {
        key: key.to_owned(),
        form,
    }
}

fn csv(headers: Option<&[&str]>) -> Form {
    let own = |headers: &[&str]| headers.iter().map(|header| (*header).to_owned()).collect();
    Form::Csv(CsvForm {
        delimiter: b',',
        headers: headers.map(own),
    })
}

fn json(pointer: &str) -> Form {
    Form::Json {
        pointer: pointer.to_owned(),
    }
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

/// Recorded of AWS.
#[test]
fn csv_rows_become_objects_of_texts_as_aws_makes_them() {
    let world = World::new();
    let rows =
        "Value1,Value2,Value3\nValue4,Value5,Value6\n,,,\ntrue,1,'HelloWorld'\nNull,None,\n   \n";
    world.put("given.csv", rows);
    world.put("first.csv", format!("Col1,Col2,Col3\n{rows}"));
    world.put("hashed.csv", "0,True,{}\nValue4,Value5,Value6\n");
    world.put("narrow.csv", "H1,\nValue4,Value5,Value6\nNull,None,\n   \n");
    assert_eq!(
        world.texts(&object("first.csv", csv(None))),
        [
            r#"{"Col1":"Value1","Col2":"Value2","Col3":"Value3"}"#,
            r#"{"Col1":"Value4","Col2":"Value5","Col3":"Value6"}"#,
            r#"{"Col1":"","Col2":"","Col3":""}"#,
            r#"{"Col1":"true","Col2":"1","Col3":"'HelloWorld'"}"#,
            r#"{"Col1":"Null","Col2":"None","Col3":""}"#,
            r#"{"Col1":"   ","Col2":"","Col3":""}"#,
        ]
    );
    let given = world.texts(&object("given.csv", csv(Some(&["H1"]))));
    assert_eq!(given.len(), 6);
    assert_eq!(given[3], r#"{"H1":"true"}"#);
    assert_eq!(
        world.texts(&object("hashed.csv", csv(None))),
        [r#"{"0":"Value4","{}":"Value6","True":"Value5"}"#]
    );
    assert_eq!(
        world.texts(&object("narrow.csv", csv(None))),
        [
            r#"{"":"Value5","H1":"Value4"}"#,
            r#"{"":"None","H1":"Null"}"#,
            r#"{"":"","H1":"   "}"#,
        ]
    );
    let twice = csv(Some(&["H1", "H1", "H3"]));
    assert_eq!(
        world.cause(&object("given.csv", twice)),
        "CSV headers cannot contain duplicates."
    );
}

#[test]
fn csv_takes_other_delimiters_line_ends_marks_and_no_rows() {
    let world = World::new();
    world.put("a.csv", "\u{feff}a;b\r\n\"1;2\";\"x\ny\"\r\n\r\n3;4");
    let form = Form::Csv(CsvForm {
        delimiter: b';',
        headers: None,
    });
    assert_eq!(
        world.texts(&object("a.csv", form)),
        [r#"{"a":"1;2","b":"x\ny"}"#, r#"{"a":"3","b":"4"}"#]
    );
    world.put("empty.csv", "");
    world.put("header.csv", "a,b\n");
    for key in ["empty.csv", "header.csv"] {
        assert_eq!(world.texts(&object(key, csv(None))), [""; 0]);
    }
    world.put("wide.csv", format!("{}\n1\n", "a".repeat(11_000)));
    assert!(
        world
            .cause(&object("wide.csv", csv(None)))
            .contains("header row has 11001 bytes")
    );
    world.put("open.csv", "a\n1\n\"2\n3\n");
    assert!(
        world
            .cause(&object("open.csv", csv(None)))
            .contains("does not close")
    );
}

#[test]
fn json_gives_elements_or_members_from_where_the_pointer_leads() {
    let world = World::new();
    world.put(
        "a.json",
        r#"{"data": {"list": [1, {"a": "b"}, null, [2]], "map": {"x": 1, "y": {}}}}"#,
    );
    assert_eq!(
        world.texts(&object("a.json", json("/data/list"))),
        ["1", r#"{"a":"b"}"#, "null", "[2]"]
    );
    let items = world.items(&object("a.json", json("/data/map"))).unwrap();
    let told: Vec<_> = items
        .iter()
        .map(|item| (item.key.as_deref(), item.value.text(), &*item.source))
        .collect();
    assert_eq!(
        told,
        [
            (Some("x"), r#"{"key":"x","value":1}"#, "S3://data/a.json"),
            (Some("y"), r#"{"key":"y","value":{}}"#, "S3://data/a.json"),
        ]
    );
    assert!(
        world
            .cause(&object("a.json", json("/nope")))
            .contains("S3://data/a.json")
    );
    assert!(
        world
            .cause(&object("a.json", json("x")))
            .contains("ItemsPointer")
    );
    world.put("scalar.json", "7");
    world.items(&object("scalar.json", json(""))).unwrap_err();
    world.put("cut.json", "[1, 2, {\"a\":");
    world.items(&object("cut.json", json(""))).unwrap_err();
}

#[test]
fn lines_are_items_plain_or_compressed_and_a_damaged_one_is_the_readers_failure() {
    let world = World::new();
    let lines: Vec<String> = (0..10).map(|n| format!("{{\"n\": {n}}}\n")).collect();
    let lines = lines.concat();
    world.put("a.jsonl", &lines);
    world.put("a.jsonl.gz", gzip(&lines));
    for key in ["a.jsonl", "a.jsonl.gz"] {
        let texts = world.texts(&object(key, Form::Jsonl));
        assert_eq!((texts.len(), texts[9].as_str()), (10, "{\"n\":9}"));
    }
    world.put("bad.jsonl", "1\n2\n{\n");
    let cause = world.cause(&object("bad.jsonl", Form::Jsonl));
    assert!(cause.starts_with("S3://data/bad.jsonl: line 3"), "{cause}");
    world.put("large.jsonl", format!("\"{}\"\n", "x".repeat(1000)));
    let cause = world.cause(&object("large.jsonl", Form::Jsonl));
    assert!(cause.contains("1000 are allowed"), "{cause}");
    world.put("a.jsonl.zst", "");
    assert!(
        world
            .cause(&object("a.jsonl.zst", Form::Jsonl))
            .contains("Zstandard")
    );
    world.put("a.parquet", "PAR1");
    assert!(
        world
            .cause(&object("a.parquet", Form::Parquet))
            .contains("Parquet")
    );
    let cause = world.cause(&object("gone.jsonl", Form::Jsonl));
    assert!(
        cause.starts_with("The specified key does not exist"),
        "{cause}"
    );
}

#[test]
fn a_listing_gives_the_objects_themselves() {
    let world = World::new();
    for n in 0..8 {
        world.put(&format!("in/file_{n}.txt"), format!("{n}HelloWorld!"));
    }
    world.put("other", "");
    let items = world
        .items(&What::List {
            prefix: "in/file".to_owned(),
        })
        .unwrap();
    assert_eq!(items.len(), 8);
    let first = items[0].value.value();
    assert_eq!(
        (&first["Key"], &first["Size"]),
        (&"in/file_0.txt".into(), &12.into())
    );
    let members: Vec<_> = first.as_object().unwrap().keys().collect();
    assert_eq!(
        members,
        ["Etag", "LastModified", "Key", "Size", "StorageClass"]
    );
    assert_eq!(&*items[0].source, "S3://data");
    assert_eq!(
        world.texts(&What::List {
            prefix: "none".to_owned()
        }),
        [""; 0]
    );
}

#[test]
fn the_items_of_many_objects_follow_one_another() {
    let world = World::new();
    world.put("in/1.jsonl", "1\n2\n");
    world.put("in/2.jsonl", "");
    world.put("in/3.jsonl.gz", gzip("3\n4\n5\n6\n"));
    let listed = What::Listed {
        prefix: "in/".to_owned(),
        form: Form::Jsonl,
    };
    assert_eq!(world.texts(&listed), ["1", "2", "3", "4", "5", "6"]);
    let items = world.items(&listed).unwrap();
    assert_eq!(&*items[1].source, "S3://data/in/1.jsonl");
    assert_eq!(&*items[5].source, "S3://data/in/3.jsonl.gz");

    world.put_in("other", "x.jsonl", "7\n");
    world.put("athena", "s3://data/in/1.jsonl\n\"s3://other/x.jsonl\"\n");
    let athena = What::Athena {
        key: "athena".to_owned(),
        form: Form::Jsonl,
    };
    assert_eq!(world.texts(&athena), ["1", "2", "7"]);
    world.put("athena", "what is this\n");
    assert!(world.cause(&athena).contains("no manifest of Athena's"));
}

#[test]
fn a_position_stays_in_its_object_whatever_comes_and_goes_beside_it() {
    let world = World::new();
    world.put("in/b.jsonl", "1\n2\n3\n4\n5\n");
    world.put("in/c.jsonl", "6\n");
    let listed = What::Listed {
        prefix: "in/".to_owned(),
        form: Form::Jsonl,
    };
    let behind = |from: &Cursor| {
        let page = world.reader(listed.clone())?.read(from, BOUNDS)?;
        let texts = page.items.iter().map(|item| item.value.text().to_owned());
        Ok::<_, ReaderError>(texts.collect::<Vec<_>>())
    };
    let mut reader = world.reader(listed.clone()).unwrap();
    let page = reader.read(&Cursor::start(), BOUNDS).unwrap();
    let third = page.items[2].end.clone();
    assert_eq!(behind(&third).unwrap(), ["4", "5"]);
    world.put("in/a.jsonl", "0\n0\n0\n0\n0\n");
    assert_eq!(behind(&third).unwrap(), ["4", "5"]);
    // As an earlier version wrote it.
    let position = Position::parse(third.as_str()).unwrap();
    let old = Position {
        of: None,
        file: 1,
        ..position
    };
    assert_eq!(behind(&Cursor::new(old.to_string())).unwrap(), ["4", "5"]);
    world.put("in/b.jsonl", "9\n1\n2\n3\n4\n5\n");
    let told = behind(&third).unwrap_err().to_string();
    let begins = told.starts_with("S3://data/in/b.jsonl was written again");
    assert!(begins, "{told}");
    fs::remove_file(world.dir.path().join("buckets/data/in/b.jsonl")).unwrap();
    let told = behind(&third).unwrap_err().to_string();
    assert!(told.contains("\"in/b.jsonl\" is gone"), "{told}");
}

#[test]
fn an_inventory_gives_a_row_for_each_object_that_it_lists() {
    let world = World::new();
    world.put_in(
        "other",
        "data/1.csv.gz",
        gzip("\"data\",\"a%20b.txt\",\"12\"\n\"data\",\"c\",\"0\"\n"),
    );
    world.put_in("other", "data/2.csv", "\"data\",\"d\",\"5\"\n");
    world.put(
        "manifest.json",
        r#"{"sourceBucket": "data", "destinationBucket": "arn:aws:s3:::other", "version": "2016-11-30",
            "fileFormat": "CSV", "fileSchema": "Bucket, Key, Size",
            "files": [{"key": "data/1.csv.gz", "size": 1, "MD5checksum": "f"}, {"key": "data/2.csv"}]}"#,
    );
    let inventory = What::Inventory {
        key: "manifest.json".to_owned(),
    };
    let items = world.items(&inventory).unwrap();
    let sizes: Vec<_> = items
        .iter()
        .map(|item| item.value.value()["Size"].clone())
        .collect();
    assert_eq!(sizes, ["12", "0", "5"]);
    assert_eq!(items[0].value.value()["Key"], "a%20b.txt");
    world.put(
        "manifest.json",
        r#"{"fileFormat": "ORC", "fileSchema": "", "files": []}"#,
    );
    assert!(world.cause(&inventory).contains("only CSV is read"));
    world.put("manifest.json", "[]");
    assert!(
        world
            .cause(&inventory)
            .contains("no manifest of an S3 inventory")
    );
}
