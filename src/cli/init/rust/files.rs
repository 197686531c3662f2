//! What is done with each file.
//!
//! What `handle` returns is the file's result or its failure, which is tried again later where it says
//! that this could help. A record looks like this:
//!
//!     {{record}}

mod protocol;

use std::{fs::File, io::Read as _};

use protocol::{Call, Failure};
use serde_json::{Value, json};

fn main() -> std::io::Result<()> {
    protocol::serve(handle)
}

/// Tells how much is in a file. Replace it by what you need.
fn handle(item: &Value, _call: &Call) -> Result<Value, Failure> {
    let path = item["path"].as_str().unwrap_or_default();
    let (bytes, lines) = measure(path).map_err(|error| Failure {
        error: "Unreadable",
        cause: format!("{path}: {error}"),
        retry: true,
        retry_after_s: None,
    })?;
    if bytes == 0 {
        return Err(Failure {
            error: "Unusable",
            cause: "the file is empty".to_owned(),
            retry: false,
            retry_after_s: None,
        });
    }
    Ok(json!({ "bytes": bytes, "lines": lines }))
}

/// Bytes and lines of a file.
fn measure(path: &str) -> std::io::Result<(usize, usize)> {
    let mut file = File::open(path)?;
    let mut block = vec![0; 1 << 20];
    let (mut bytes, mut lines) = (0, 0);
    loop {
        let read = file.read(&mut block)?;
        if read == 0 {
            return Ok((bytes, lines));
        }
        bytes += read;
        lines += block[..read].iter().filter(|byte| **byte == b'\n').count();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first files of the source.
    const SAMPLE: &str = include_str!("../../sample.jsonl");

    fn call() -> Call {
        Call {
            attempt: 1,
            key: "test".to_owned(),
            index: 0,
            id: None,
        }
    }

    #[test]
    fn the_files_of_the_sample_are_read_or_given_up_on() {
        assert!(!SAMPLE.is_empty());
        for line in SAMPLE.lines() {
            let item: Value = serde_json::from_str(line).unwrap();
            match handle(&item, &call()) {
                Ok(result) => assert_eq!(result["bytes"], item["size"], "{line}"),
                Err(failure) => assert_eq!((failure.error, &item["size"]), ("Unusable", &json!(0))),
            }
        }
    }

    #[test]
    fn bytes_and_lines_are_counted() {
        let path = std::env::temp_dir().join(format!("handler-{}", std::process::id()));
        std::fs::write(&path, "one\ntwo\n").unwrap();
        let measured = measure(path.to_str().unwrap());
        std::fs::remove_file(&path).unwrap();
        assert_eq!(measured.unwrap(), (8, 2));
    }

    #[test]
    fn a_file_that_is_not_there_may_come_yet() {
        let failure = handle(&json!({ "path": "/no/such/file" }), &call()).unwrap_err();
        assert_eq!((failure.error, failure.retry), ("Unreadable", true));
    }
}
