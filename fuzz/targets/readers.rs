//! Item readers: objects of any content.

use std::{collections::BTreeMap, fs};

use iterd::{
    ids::Cursor,
    integration::{
        bucket::Buckets,
        reader::{CsvForm, Form, ItemReader, Places, ReadItem, ReaderSpec, What},
        source::PageBounds,
    },
};

/// Items that are looked at.
const ITEMS_MAX: usize = 1000;

/// The first byte says how the others are read. However long the pages are, the items are the same.
pub(crate) fn reader(data: &[u8]) {
    let Some((first, content)) = data.split_first() else {
        return;
    };
    let csv = |delimiter, headers: Option<&[&str]>| {
        let own = |headers: &[&str]| headers.iter().map(|name| (*name).to_owned()).collect();
        Form::Csv(CsvForm {
            delimiter,
            headers: headers.map(own),
        })
    };
    let key = if first & 8 == 0 {
        "object"
    } else {
        "object.gz"
    }
    .to_owned();
    let object = |form| What::Object {
        key: key.clone(),
        form,
    };
    let what = match first % 8 {
        0 => object(csv(b',', None)),
        1 => object(csv(b' ', Some(&["a", "b"]))),
        2 => object(Form::Json {
            pointer: String::new(),
        }),
        3 => object(Form::Json {
            pointer: "/a/0".to_owned(),
        }),
        4 => object(Form::Jsonl),
        5 => What::Inventory { key },
        6 => What::Athena {
            key,
            form: Form::Jsonl,
        },
        _ => What::Listed {
            prefix: "o".to_owned(),
            form: Form::Jsonl,
        },
    };
    let Ok(folder) = tempfile::tempdir() else {
        return;
    };
    let bucket = folder.path().join("buckets/data");
    let made = fs::create_dir_all(&bucket)
        .and_then(|()| fs::create_dir(folder.path().join("spool")))
        .and_then(|()| fs::write(bucket.join("object"), content))
        .and_then(|()| fs::write(bucket.join("object.gz"), content));
    if made.is_err() {
        return;
    }
    let places = Places {
        buckets: Buckets {
            root: folder.path().join("buckets"),
            named: BTreeMap::new(),
            elsewhere: None,
        },
        spool_dir: folder.path().join("spool"),
        spool_bytes_max: 1 << 20,
        free_min: 0,
    };
    let spec = ReaderSpec {
        bucket: "data".to_owned(),
        what,
    };
    let (by_many, whole) = items(&spec, &places, 64);
    let (one_by_one, _) = items(&spec, &places, 1);
    if whole {
        assert_eq!(by_many, one_by_one);
    } else {
        // What precedes damage comes in pages, or not at all.
        assert!(
            one_by_one.starts_with(&by_many),
            "{by_many:?} {one_by_one:?}"
        );
    }
}

fn items(spec: &ReaderSpec, places: &Places, records_max: usize) -> (Vec<ReadItem>, bool) {
    let bounds = PageBounds {
        records_max,
        bytes_max: 1 << 20,
        record_bytes_max: 4096,
    };
    let mut items = Vec::new();
    let mut from = Cursor::start();
    let Ok(mut reader) = ItemReader::open(spec, places.clone()) else {
        return (items, false);
    };
    while items.len() < ITEMS_MAX {
        let Ok(page) = reader.read(&from, bounds) else {
            return (items, false);
        };
        assert!(page.end || !page.items.is_empty(), "a page makes progress");
        from = page.items.last().map_or(from, |item| item.end.clone());
        items.extend(page.items);
        if page.end {
            break;
        }
    }
    items.truncate(ITEMS_MAX);
    (items, true)
}
