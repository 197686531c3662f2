//! The file of a sink: appended to, durable up to an offset, cut back to it after a crash.
//!
//! Invariant: bytes go to the place that their offset names, so writing again after an error
//! overwrites what the error left and never doubles it.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use super::{Row, SinkKind, SinkSpec, csv, jsonl};

/// Gathered before it is written: few system calls, little memory.
const WRITE_BYTES: usize = 256 * 1024;

/// Why a sink cannot be opened or written to.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The operating system refused.
    #[error("cannot write {path}: {error}")]
    Io {
        /// The file.
        path: String,
        /// Why it could not be written.
        error: io::Error,
    },
    /// The file is shorter than what was delivered into it.
    #[error(
        "{path} has {size} bytes, but {offset} were delivered into it; put it back, or export anew from the start"
    )]
    Shrunk {
        /// The file.
        path: String,
        /// What was delivered.
        offset: u64,
        /// The size found.
        size: u64,
    },
    /// The file is not the one that was delivered into.
    #[error("cannot go on with {path}: {problem}")]
    Unsuitable {
        /// The file.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// A file that results are appended to.
#[derive(Debug)]
pub struct Sink {
    path: PathBuf,
    file: File,
    format: Format,
    /// Where `buffer` belongs in the file.
    offset: u64,
    buffer: String,
}

#[derive(Debug)]
enum Format {
    Jsonl,
    Csv(csv::Format),
}

impl Sink {
    /// Opens the file, makes it if need be, and cuts off what stands behind `resume_offset`: the
    /// last one that [`Sink::sync`] answered, or 0.
    pub fn open(spec: &SinkSpec, resume_offset: u64) -> Result<Self, SinkError> {
        let failed = |error| io_error(&spec.path, error);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&spec.path)
            .map_err(failed)?;
        let size = file.metadata().map_err(failed)?.len();
        if size < resume_offset {
            return Err(SinkError::Shrunk {
                path: spec.path.display().to_string(),
                offset: resume_offset,
                size,
            });
        }
        let format = match &spec.kind {
            SinkKind::Jsonl => Format::Jsonl,
            SinkKind::Csv(csv) => {
                let mut format = csv::Format::new(csv);
                if resume_offset > 0 {
                    format
                        .resume(&file)
                        .map_err(|problem| SinkError::Unsuitable {
                            path: spec.path.display().to_string(),
                            problem,
                        })?;
                }
                Format::Csv(format)
            }
        };
        file.set_len(resume_offset).map_err(failed)?;
        sync_entry(&spec.path).map_err(failed)?;
        Ok(Self {
            path: spec.path.clone(),
            file,
            format,
            offset: resume_offset,
            buffer: String::new(),
        })
    }

    /// Appends results; they are in the file for good after the next [`Sink::sync`].
    pub fn append(&mut self, rows: &[Row<'_>]) -> Result<(), SinkError> {
        for row in rows {
            match &mut self.format {
                Format::Jsonl => jsonl::push(&mut self.buffer, row),
                Format::Csv(format) => format.push(&mut self.buffer, row),
            }
            if self.buffer.len() >= WRITE_BYTES {
                self.write()?;
            }
        }
        Ok(())
    }

    /// Brings all that was appended to the disk; answers the offset to store.
    ///
    /// After an error the sink is of no more use: open it again at the last stored offset.
    pub fn sync(&mut self) -> Result<u64, SinkError> {
        self.write()?;
        self.file
            .sync_data()
            .map_err(|error| io_error(&self.path, error))?;
        Ok(self.offset)
    }

    fn write(&mut self) -> Result<(), SinkError> {
        self.file
            .write_all_at(self.buffer.as_bytes(), self.offset)
            .map_err(|error| io_error(&self.path, error))?;
        self.offset += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

/// Makes the file's name durable; without that, a synced file may be gone after a power cut.
fn sync_entry(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => File::open(dir)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

fn io_error(path: &Path, error: io::Error) -> SinkError {
    SinkError::Io {
        path: path.display().to_string(),
        error,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{ids::VersionNumber, payload::Payload};
    use serde_json::json;

    fn append(sink: &mut Sink, indices: std::ops::Range<u64>) {
        for index in indices {
            let row = Row {
                index,
                id: Some("x\ny"),
                result: &Payload::parse(r#"{"a": 1, "b": [2]}"#).unwrap(),
                version: VersionNumber(1),
                attempts: 1,
            };
            sink.append(&[row]).unwrap();
        }
    }

    #[test]
    fn a_torn_tail_is_cut_off_and_written_again() {
        for kind in ["jsonl", "csv"] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("out");
            let spec = SinkSpec::from_json(json!({"kind": kind, "path": path})).unwrap();
            let mut sink = Sink::open(&spec, 0).unwrap();
            append(&mut sink, 0..5);
            let first = sink.sync().unwrap();
            append(&mut sink, 5..10);
            let whole = sink.sync().unwrap();
            let expected = fs::read(&path).unwrap();
            assert_eq!(expected.len() as u64, whole);

            for stored in [0, first] {
                for torn in stored..=whole {
                    fs::write(&path, &expected[..usize::try_from(torn).unwrap()]).unwrap();
                    let mut sink = Sink::open(&spec, stored).unwrap();
                    append(&mut sink, if stored == 0 { 0..10 } else { 5..10 });
                    assert_eq!(sink.sync().unwrap(), whole);
                    assert_eq!(fs::read(&path).unwrap(), expected, "{kind} torn at {torn}");
                }
            }
        }
    }

    #[test]
    fn a_file_that_lost_delivered_rows_is_refused_and_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        fs::write(&path, "12345").unwrap();
        let spec = SinkSpec::from_json(json!({"kind": "csv", "path": path})).unwrap();
        assert!(matches!(
            Sink::open(&spec, 6),
            Err(SinkError::Shrunk {
                size: 5,
                offset: 6,
                ..
            })
        ));
        assert!(matches!(
            Sink::open(&spec, 5),
            Err(SinkError::Unsuitable { .. })
        ));
        assert_eq!(fs::read(&path).unwrap(), b"12345");
    }

    #[test]
    fn a_directory_that_is_not_there_is_an_error_that_names_the_path() {
        let spec = SinkSpec::from_json(json!({"kind": "jsonl", "path": "/nowhere/out"})).unwrap();
        let message = Sink::open(&spec, 0).unwrap_err().to_string();
        assert!(
            message.starts_with("cannot write /nowhere/out: "),
            "{message}"
        );
    }
}
