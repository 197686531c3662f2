//! Buckets as folders: what is in one, and that nothing leads out of it.

use std::os::unix::fs::symlink;

use super::*;

fn buckets() -> (tempfile::TempDir, Buckets) {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("buckets/data")).unwrap();
    fs::write(dir.path().join("secret"), "secret").unwrap();
    let root = dir.path().join("buckets");
    let named = BTreeMap::new();
    (dir, Buckets { root, named })
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
    assert!(bucket.file("a/b/c.json").is_err());
    writer.write(b"y").unwrap();
    assert_eq!(writer.finish().unwrap(), PART_BYTES as u64 + 2);
    let bytes = fs::read(bucket.file("a/b/c.json").unwrap()).unwrap();
    assert_eq!((bytes.len(), bytes.last()), (PART_BYTES + 2, Some(&b'y')));
    assert_eq!(put(&bucket, "a/b/c.json", "new").unwrap(), 3);
    assert_eq!(
        fs::read(bucket.file("a/b/c.json").unwrap()).unwrap(),
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
        assert!(bucket.file(key).is_err(), "{key}");
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
    assert!(buckets.bucket("other").unwrap().file("secret").is_ok());
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
