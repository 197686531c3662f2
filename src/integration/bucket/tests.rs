//! Buckets as folders: what is in one, and that nothing leads out of it.

use std::os::unix::fs::symlink;

use super::*;

fn buckets() -> (tempfile::TempDir, Buckets) {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("buckets/data")).unwrap();
    fs::write(dir.path().join("secret"), "secret").unwrap();
    let root = dir.path().join("buckets");
    let named = BTreeMap::new();
    let buckets = Buckets {
        root,
        named,
        elsewhere: None,
    };
    (dir, buckets)
}

/// The file of an object.
fn file(bucket: &Bucket, key: &str) -> Result<PathBuf, BucketError> {
    let spool = Spool {
        directory: Path::new("/nowhere"),
        bytes_max: 0,
        free_min: 0,
    };
    Ok(bucket.fetch(key, spool)?.1)
}

fn put(bucket: &Bucket, key: &str, text: &str) -> Result<u64, BucketError> {
    let mut writer = bucket.create(key)?;
    writer.write(text.as_bytes())?;
    writer.finish()
}

#[test]
fn an_object_is_there_once_it_is_whole() {
    let (_dir, buckets) = buckets();
    let bucket = buckets.bucket("data").unwrap();
    let mut writer = bucket.create("a/b/c.json").unwrap();
    writer.write(&vec![b'x'; PART_BYTES + 1]).unwrap();
    assert!(file(&bucket, "a/b/c.json").is_err());
    writer.write(b"y").unwrap();
    assert_eq!(writer.finish().unwrap(), PART_BYTES as u64 + 2);
    let bytes = fs::read(file(&bucket, "a/b/c.json").unwrap()).unwrap();
    assert_eq!((bytes.len(), bytes.last()), (PART_BYTES + 2, Some(&b'y')));
    assert_eq!(put(&bucket, "a/b/c.json", "new").unwrap(), 3);
    assert_eq!(
        fs::read(file(&bucket, "a/b/c.json").unwrap()).unwrap(),
        b"new"
    );
}

#[test]
fn no_key_leads_out_of_its_bucket() {
    let (dir, buckets) = buckets();
    let bucket = buckets.bucket("data").unwrap();
    let folder = dir.path().join("buckets/data");
    symlink(dir.path().join("secret"), folder.join("link")).unwrap();
    symlink(dir.path(), folder.join("up")).unwrap();
    symlink(dir.path().join("nowhere"), folder.join("dangling")).unwrap();
    let long = "k".repeat(KEY_BYTES_MAX + 1);
    for key in [
        "",
        "/",
        "..",
        "../secret",
        "a/../../secret",
        "/etc/passwd",
        "./secret",
        "link",
        "up/secret",
        "a//b",
        "a/",
        "nul\0",
        &long,
    ] {
        assert!(file(&bucket, key).is_err(), "{key}");
    }
    for key in [
        "../new",
        "/tmp/new",
        "up/new",
        "up/deep/new",
        "dangling/new",
        "a/../b",
    ] {
        assert!(put(&bucket, key, "text").is_err(), "{key}");
    }
    assert!(!dir.path().join("new").exists() && !dir.path().join("nowhere").exists());
    // A link at the very place is replaced and not followed.
    put(&bucket, "link", "mine").unwrap();
    assert_eq!(fs::read(dir.path().join("secret")).unwrap(), b"secret");
    let listed = bucket.list("", "").unwrap();
    let keys: Vec<_> = listed.iter().map(|listed| listed.key.as_str()).collect();
    assert_eq!(keys, ["link"], "nor does a listing follow links");
    let _unfinished = bucket.create("unfinished").unwrap();
    assert_eq!(bucket.list("", "").unwrap().len(), 1);
}

#[test]
fn a_bucket_is_a_folder_with_a_name_as_s3_has_them() {
    let (dir, mut buckets) = buckets();
    for name in [
        "",
        "..",
        "a",
        "a/b",
        "Data",
        "da..ta",
        "-data",
        "data-",
        "da ta",
        &"a".repeat(64),
    ] {
        let error = buckets.bucket(name).unwrap_err();
        assert!(matches!(error, BucketError::InvalidName(_)), "{name}");
    }
    let error = buckets.bucket("other").unwrap_err();
    assert!(matches!(error, BucketError::NoSuchBucket { .. }));
    buckets.named.insert("other".into(), dir.path().to_owned());
    assert!(file(&buckets.bucket("other").unwrap(), "secret").is_ok());
}

#[test]
fn a_listing_is_in_the_order_of_keys_and_goes_on_behind_one() {
    let (_dir, buckets) = buckets();
    let bucket = buckets.bucket("data").unwrap();
    for key in ["b/2", "a", "b/1", "ba", "b", "c/d/e"]
        .iter()
        .filter(|key| **key != "b")
    {
        put(&bucket, key, key).unwrap();
    }
    let keys = |prefix: &str, after: &str| -> Vec<String> {
        let listed = bucket.list(prefix, after).unwrap();
        listed.into_iter().map(|listed| listed.key).collect()
    };
    assert_eq!(keys("", ""), ["a", "b/1", "b/2", "ba", "c/d/e"]);
    assert_eq!(keys("b", ""), ["b/1", "b/2", "ba"]);
    assert_eq!(keys("b/", "b/1"), ["b/2"]);
    assert_eq!(keys("c/d", ""), ["c/d/e"]);
    for none in ["x", "x/y", "../", "/", "a//"] {
        assert_eq!(keys(none, ""), [""; 0], "{none}");
    }
}

#[test]
fn a_page_tells_what_is_between_delimiters_once() {
    let (_dir, buckets) = buckets();
    let bucket = buckets.bucket("data").unwrap();
    for key in ["a", "b/1", "b/2", "b/c/3", "d", "e/1"] {
        put(&bucket, key, key).unwrap();
    }
    let pages = |prefix: &str, delimiter: &str, keys_max: usize| {
        let mut wanted = Wanted {
            prefix: prefix.to_owned(),
            delimiter: delimiter.to_owned(),
            after: String::new(),
            keys_max,
        };
        let mut told = Vec::new();
        loop {
            let page = bucket.page(&wanted).unwrap();
            assert!(page.objects.len() + page.prefixes.len() <= keys_max);
            told.extend(page.objects.into_iter().map(|object| object.key));
            told.extend(page.prefixes);
            let Some(next) = page.next else {
                told.sort_unstable();
                return told;
            };
            wanted.after = next;
        }
    };
    for keys_max in 1..8 {
        assert_eq!(pages("", "/", keys_max), ["a", "b/", "d", "e/"]);
        assert_eq!(pages("b/", "/", keys_max), ["b/1", "b/2", "b/c/"]);
        assert_eq!(pages("b/", "", keys_max), ["b/1", "b/2", "b/c/3"]);
        assert_eq!(pages("x", "/", keys_max), [""; 0]);
    }
    let none = Wanted::default();
    assert_eq!(bucket.page(&none).unwrap(), Page::default());
}

#[test]
fn a_page_ends_also_where_more_is_below_a_prefix_than_is_listed_at_a_time() {
    let (dir, buckets) = buckets();
    let folder = dir.path().join("buckets/data");
    for folder in ["in", "out"] {
        fs::create_dir(dir.path().join("buckets/data").join(folder)).unwrap();
    }
    for number in 0..=LISTED_MAX {
        File::create_new(folder.join(format!("in/{number:05}"))).unwrap();
    }
    fs::write(folder.join("out/1"), "").unwrap();
    let wanted = Wanted {
        delimiter: "/".to_owned(),
        keys_max: PAGE_MAX,
        ..Wanted::default()
    };
    let bucket = buckets.bucket("data").unwrap();
    let page = bucket.page(&wanted).unwrap();
    assert_eq!(page.prefixes, ["in/", "out/"]);
    assert_eq!((page.objects.len(), page.next), (0, None));
    assert_eq!(bucket.list("", "").unwrap().len(), LISTED_MAX);
    assert_eq!(bucket.list("", "in/65534").unwrap().len(), 3);
}

#[test]
fn folders_are_looked_into_only_where_wanted_keys_can_be() {
    let (dir, buckets) = buckets();
    let bucket = buckets.bucket("data").unwrap();
    let keys = ["a-b", "a/1", "a/2/3", "a/2/4", "a/2-", "a0", "b/c/d", "e"];
    for key in keys {
        put(&bucket, key, key).unwrap();
    }
    fs::create_dir_all(dir.path().join("buckets/data/a/none/at/all")).unwrap();
    let mut sorted = keys;
    sorted.sort_unstable();
    let folder = bucket.folder("").unwrap();
    for keys_max in 1..10 {
        for (skipped, after) in sorted.iter().enumerate() {
            let mut walk = folder.walk("", after, keys_max);
            let mut told = Vec::new();
            while let Some(object) = walk.next().unwrap() {
                told.push(object.key);
            }
            assert_eq!(told, sorted[skipped + 1..], "behind {after}, {keys_max}");
        }
    }
    let mut walk = folder.walk("", "a-", 1);
    fs::remove_dir_all(dir.path().join("buckets/data/a")).unwrap();
    assert_eq!(walk.next().unwrap().unwrap().key, "a-b");
    assert_eq!(
        walk.next().unwrap().unwrap().key,
        "a0",
        "what goes is passed over"
    );
}

#[test]
fn keys_may_look_like_anything_that_is_written_elsewhere() {
    let (_dir, buckets) = buckets();
    let bucket = buckets.bucket("data").unwrap();
    let mut first = bucket.create("x#y").unwrap();
    first.write(&vec![b'1'; PART_BYTES + 1]).unwrap();
    put(&bucket, "x#y#1", "mine").unwrap();
    first.finish().unwrap();
    let keys: Vec<_> = bucket
        .list("", "")
        .unwrap()
        .into_iter()
        .map(|it| it.key)
        .collect();
    assert_eq!(keys, ["x#y", "x#y#1"]);
    assert_eq!(fs::read(file(&bucket, "x#y#1").unwrap()).unwrap(), b"mine");
    let staged = format!("{}/k", staged::STAGING);
    assert!(matches!(
        bucket.create(&staged),
        Err(BucketError::Denied { .. })
    ));
}

#[test]
fn what_a_killed_process_left_goes_at_the_next_start_and_with_the_bucket() {
    let (dir, buckets) = buckets();
    let bucket = buckets.bucket("data").unwrap();
    let staging = dir.path().join("buckets/data").join(staged::STAGING);
    let count = || fs::read_dir(&staging).unwrap().count();
    let mut writer = bucket.create("k").unwrap();
    writer.write(b"text").unwrap();
    fs::write(staging.join("left over"), "x").unwrap();
    assert_eq!(count(), 2);
    buckets.sweep();
    assert_eq!(count(), 1, "what is written stays");
    writer.finish().unwrap();
    drop(bucket.create("k").unwrap());
    assert_eq!(count(), 0, "what is dropped leaves nothing");
    fs::write(staging.join("left over"), "x").unwrap();
    bucket.remove("k").unwrap();
    buckets.remove("data").unwrap();
}

#[test]
fn a_bucket_that_is_not_there_keeps_no_other_from_being_swept() {
    let (dir, mut buckets) = buckets();
    let named = dir.path().join("elsewhere/data");
    fs::create_dir_all(named.join(staged::STAGING)).unwrap();
    fs::write(named.join(staged::STAGING).join("left over"), "x").unwrap();
    buckets
        .named
        .insert("away".to_owned(), dir.path().join("away"));
    // What is no folder is no error of those behind it.
    let broken = dir.path().join("buckets/broken");
    fs::create_dir(&broken).unwrap();
    symlink("/nowhere", broken.join(staged::STAGING)).unwrap();
    buckets.named.insert("named".to_owned(), named.clone());
    buckets.sweep();
    assert_eq!(fs::read_dir(&named).unwrap().count(), 0);
}

#[test]
fn who_sweeps_takes_nothing_from_who_writes() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("staging");
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                drop(staged::sweep(&folder));
            }
        });
        for number in 0..500 {
            let placed = staged::Staged::create(&folder)
                .and_then(|staged| staged.place(&dir.path().join(number.to_string())));
            if let Err(error) = placed {
                done.store(true, std::sync::atomic::Ordering::Relaxed);
                panic!("{number}: {error}");
            }
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn a_folder_that_cannot_be_written_is_named_with_its_mend() {
    let (_dir, buckets) = buckets();
    let bucket = buckets.bucket("data").unwrap();
    let folder = bucket.folder("k").unwrap();
    for errno in [
        rustix::io::Errno::ACCESS,
        rustix::io::Errno::ROFS,
        rustix::io::Errno::XDEV,
    ] {
        let refused = folder.not_written("k", &errno.into()).to_string();
        let root = bucket.root().unwrap().display().to_string();
        assert!(refused.contains(&root) && refused.contains("[buckets.data]"));
    }
    let refused = folder.not_written("k", &rustix::io::Errno::IO.into());
    assert!(matches!(refused, BucketError::Io { .. }));
}

#[test]
fn what_a_folder_cannot_take_is_refused_for_good_before_the_body() {
    let (dir, buckets) = buckets();
    let bucket = buckets.bucket("data").unwrap();
    put(&bucket, "a", "text").unwrap();
    put(&bucket, "d/e", "text").unwrap();
    for taken in ["a/b", "a/b/c", "d"] {
        let refused = bucket.create(taken).unwrap_err();
        assert!(matches!(refused, BucketError::Taken { .. }), "{refused}");
    }
    let (fits, long) = ("k".repeat(255), "k".repeat(256));
    put(&bucket, &fits, "text").unwrap();
    let refused = bucket.create(&long).unwrap_err();
    assert!(matches!(refused, BucketError::KeyTooLong { .. }));
    for none in [long.as_str(), "a/b/c", "d"] {
        assert!(matches!(
            bucket.object(none),
            Err(BucketError::NoSuchKey { .. })
        ));
        bucket.remove(none).unwrap();
    }
    // A folder that somebody made and that nothing is in is in nobody's way.
    fs::create_dir(dir.path().join("buckets/data/empty")).unwrap();
    put(&bucket, "empty", "text").unwrap();
}

#[test]
fn what_is_removed_leaves_no_folders_and_an_empty_bucket_can_go() {
    let (_dir, buckets) = buckets();
    let bucket = buckets.bucket("data").unwrap();
    put(&bucket, "a/b/c", "text").unwrap();
    let refused = buckets.remove("data").unwrap_err();
    assert!(matches!(refused, BucketError::BucketNotEmpty(_)));
    for key in ["a/b/c", "a/b/c", "a/b", "none/at/all"] {
        bucket.remove(key).unwrap();
    }
    assert!(bucket.remove("../data").is_err());
    buckets.remove("data").unwrap();
    assert!(buckets.bucket("data").is_err());
    buckets.create("data").unwrap();
    buckets.create("data").unwrap();
    assert_eq!(buckets.folders().unwrap().len(), 1);
}

#[test]
fn an_upload_is_an_object_once_its_parts_are_there_as_told() {
    let (dir, buckets) = buckets();
    let bucket = buckets.bucket("data").unwrap();
    let root = dir.path().join("uploads");
    fs::create_dir(&root).unwrap();
    let uploads = Uploads { root };
    let part = |id: &str, number: u32, text: &str| {
        let mut part = uploads.part("data", "k", id, number)?;
        part.write(text.as_bytes()).unwrap();
        Ok::<_, UploadError>((number, part.finish().unwrap()))
    };
    let id = uploads.begin(&bucket, "k").unwrap();
    let second = part(&id, 2, "second").unwrap();
    let first = part(&id, 1, "first").unwrap();
    let again = part(&id, 1, "First").unwrap();
    let complete = |parts: &[(u32, String)]| uploads.complete(&bucket, "k", &id, parts);
    let order = complete(&[second.clone(), again.clone()]);
    assert!(matches!(order, Err(UploadError::Order)));
    let stale = complete(&[first, second.clone()]);
    assert!(matches!(stale, Err(UploadError::Part(1))));
    assert!(file(&bucket, "k").is_err());
    let begun = uploads.begun("data").unwrap();
    let told: Vec<_> = begun
        .iter()
        .map(|it| (it.key.as_str(), it.id.as_str()))
        .collect();
    assert_eq!(told, [("k", id.as_str())]);
    assert_eq!(uploads.begun("other").unwrap(), []);
    let alone = File::open(uploads.root.join(&id).join("about.json")).unwrap();
    alone.lock().unwrap();
    let busy = complete(&[again.clone(), second.clone()]);
    assert!(matches!(busy, Err(UploadError::Busy)));
    drop(alone);
    complete(&[again, second]).unwrap();
    fs::create_dir(uploads.root.join("fresh")).unwrap();
    assert_eq!(uploads.sweep().unwrap(), 1);
    fs::remove_dir(uploads.root.join("fresh")).unwrap();
    let whole = fs::read(file(&bucket, "k").unwrap()).unwrap();
    assert_eq!(whole, b"Firstsecond");
    for strange in [id.as_str(), "", "../buckets/data", &"0".repeat(32)] {
        assert!(matches!(part(strange, 1, ""), Err(UploadError::Unknown)));
    }
    let id = uploads.begin(&bucket, "n").unwrap();
    put(&bucket, "n/m", "in the way").unwrap();
    let mut only = uploads.part("data", "n", &id, 1).unwrap();
    only.write(b"text").unwrap();
    let told = [(1, only.finish().unwrap())];
    let refused = uploads.complete(&bucket, "n", &id, &told).unwrap_err();
    let taken = matches!(refused, UploadError::Bucket(BucketError::Taken { .. }));
    assert!(taken, "{refused}");
    let staging = dir.path().join("buckets/data").join(staged::STAGING);
    assert_eq!(fs::read_dir(staging).unwrap().count(), 0);
    uploads.abort("data", "n", &id).unwrap();
    let id = uploads.begin(&bucket, "k").unwrap();
    assert!(matches!(part(&id, 0, ""), Err(UploadError::Number(0))));
    assert!(uploads.parts("other", "k", &id).is_err());
    uploads.abort("data", "k", &id).unwrap();
    assert!(matches!(part(&id, 1, ""), Err(UploadError::Unknown)));
    assert_eq!(fs::read_dir(&uploads.root).unwrap().count(), 0);
}
