//! Compressed files, decompressed once: a compressed text has no positions to go back to.
//!
//! Owns the files in the spool directory. They are named after the path, size and time of what they
//! came from, so a changed source gets a new one, and a known one is used again after a restart.
//! Crash: a file bears its name only once it is whole and on disk; what a crash leaves is overwritten.

use std::{
    fs::{self, File},
    io::{BufReader, Read, Seek, Write},
    os::unix::fs::MetadataExt,
    path::Path,
    sync::Mutex,
};

use flate2::bufread::MultiGzDecoder;
use sha2::{Digest, Sha256};

use super::{
    Extent, OpenContext, Progress, SourceError, SourceSpec, fingerprint::hex, window::Window,
};

/// Copied between two calls of the progress callback: some ten milliseconds of work.
const COPY_BYTES: usize = 4 * 1024 * 1024;

/// One at a time, so that two runs over one file decompress it once.
static SPOOLING: Mutex<()> = Mutex::new(());

/// Opens the bytes of a source, decompressed where it is compressed.
pub(in crate::integration) fn open(
    spec: &SourceSpec,
    context: &mut OpenContext<'_>,
) -> Result<Window, SourceError> {
    if !spec.gzip {
        return Window::open(&spec.path, &spec.path);
    }
    // Why: nothing is kept under the lock but the order, so a panic of its holder spoils nothing.
    let _alone = SPOOLING
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let name = SpoolName::of(&spec.path)?;
    let spooled = context.spool_dir.join(&name.file);
    if !spooled.exists() {
        decompress(&spec.path, &spooled, context)?;
        remove_superseded(context.spool_dir, &name)
            .map_err(|error| SourceError::io(context.spool_dir, error))?;
    }
    Window::open(&spec.path, &spooled)
}

struct SpoolName {
    /// What all spools of one path begin with.
    prefix: String,
    file: String,
}

impl SpoolName {
    fn of(path: &Path) -> Result<Self, SourceError> {
        let known = fs::canonicalize(path)
            .and_then(|path| Ok((fs::metadata(&path)?, path)))
            .map_err(|error| SourceError::io(path, error));
        let (metadata, real) = known?;
        let prefix = short_hash(real.as_os_str().as_encoded_bytes());
        let version = format!(
            "{}:{}:{}:{}",
            metadata.len(),
            metadata.mtime(),
            metadata.mtime_nsec(),
            metadata.ino()
        );
        Ok(Self {
            file: format!("{prefix}-{}.plain", short_hash(version.as_bytes())),
            prefix,
        })
    }
}

/// 128 bits of SHA-256: names that nobody can make collide by accident.
fn short_hash(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes)[..16])
}

fn decompress(
    path: &Path,
    spooled: &Path,
    context: &mut OpenContext<'_>,
) -> Result<(), SourceError> {
    let partial = spooled.with_extension("partial");
    let written = copy(path, &partial, context).and_then(|()| {
        let renamed = fs::rename(&partial, spooled).and_then(|()| sync_dir(context.spool_dir));
        renamed.map_err(|error| SourceError::io(spooled, error))
    });
    if written.is_err() {
        // The error that matters is the first one; a partial file left behind is overwritten later.
        drop(fs::remove_file(&partial));
    }
    written
}

fn copy(path: &Path, partial: &Path, context: &mut OpenContext<'_>) -> Result<(), SourceError> {
    let unread = |error| SourceError::io(path, error);
    let unwritten = |error| SourceError::io(partial, error);
    let file = File::open(path).map_err(unread)?;
    let bytes_total = file.metadata().map_err(unread)?.len();
    let mut decoder = MultiGzDecoder::new(BufReader::with_capacity(256 * 1024, file));
    let mut out = File::create(partial).map_err(unwritten)?;
    let mut buffer = vec![0; COPY_BYTES];
    let mut written = 0_u64;
    loop {
        let mut filled = 0;
        while filled < buffer.len() {
            match decoder.read(&mut buffer[filled..]).map_err(unread)? {
                0 => break,
                read => filled += read,
            }
        }
        written += filled as u64;
        if written > context.spool_bytes_max {
            return Err(SourceError::SpoolTooLarge {
                path: path.display().to_string(),
                bytes_max: context.spool_bytes_max,
            });
        }
        out.write_all(&buffer[..filled]).map_err(unwritten)?;
        let bytes = decoder
            .get_mut()
            .get_mut()
            .stream_position()
            .map_err(unread)?;
        let progress = Progress {
            records: 0,
            extent: Some(Extent { bytes, bytes_total }),
        };
        if (context.progress)(progress).is_break() {
            return Err(SourceError::interrupted(path));
        }
        if filled < buffer.len() {
            return out.sync_all().map_err(unwritten);
        }
    }
}

fn sync_dir(dir: &Path) -> std::io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Removes what other versions of the file were decompressed to. A source that is still open goes on
/// reading its own.
fn remove_superseded(dir: &Path, kept: &SpoolName) -> std::io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(&kept.prefix) && *name != kept.file {
            fs::remove_file(dir.join(&*name))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{ops::ControlFlow, path::PathBuf};

    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use serde_json::json;

    fn gzip(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    struct Setup {
        dir: tempfile::TempDir,
        spec: SourceSpec,
        spool: PathBuf,
    }

    impl Setup {
        fn new(bytes: &[u8]) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("a.jsonl.gz");
            fs::write(&path, bytes).unwrap();
            let spool = dir.path().join("spool");
            fs::create_dir(&spool).unwrap();
            let spec = SourceSpec::from_json(json!({"kind": "jsonl", "path": path})).unwrap();
            Self { dir, spec, spool }
        }

        /// The decompressed text, and how often the callback was called.
        fn read(
            &self,
            bytes_max: u64,
            flow: ControlFlow<()>,
        ) -> Result<(String, u32), SourceError> {
            let mut calls = 0;
            let mut progress = |_| {
                calls += 1;
                flow
            };
            let mut window = open(
                &self.spec,
                &mut OpenContext {
                    spool_dir: &self.spool,
                    spool_bytes_max: bytes_max,
                    progress: &mut progress,
                },
            )?;
            let all = window.delimit(1 << 20, |_| None)?;
            let bytes = window.bytes(&all).unwrap().to_vec();
            Ok((String::from_utf8(bytes).unwrap(), calls))
        }

        fn spooled(&self) -> usize {
            fs::read_dir(&self.spool).unwrap().count()
        }
    }

    #[test]
    fn all_members_are_decompressed_once_and_used_again() {
        let setup = Setup::new(&[gzip("1\n2\n"), gzip(""), gzip("3\n")].concat());
        let go_on = ControlFlow::Continue(());
        assert_eq!(setup.read(100, go_on).unwrap(), ("1\n2\n3\n".to_owned(), 1));
        assert_eq!(setup.read(100, go_on).unwrap(), ("1\n2\n3\n".to_owned(), 0));

        fs::write(&setup.spec.path, gzip("4444444\n")).unwrap();
        assert_eq!(setup.read(100, go_on).unwrap(), ("4444444\n".to_owned(), 1));
        assert_eq!(setup.spooled(), 1);
        drop(setup.dir);
    }

    #[test]
    fn a_spool_that_is_damaged_too_large_or_given_up_leaves_nothing() {
        let whole = gzip(&"text that is compressed\n".repeat(1000));
        let go_on = ControlFlow::Continue(());
        let error = Setup::new(&whole).read(1000, go_on).unwrap_err();
        assert!(matches!(
            error,
            SourceError::SpoolTooLarge {
                bytes_max: 1000,
                ..
            }
        ));

        for bytes in [
            &whole[..whole.len() / 2],
            &whole[..whole.len() - 1],
            b"plain",
        ] {
            let setup = Setup::new(bytes);
            assert!(matches!(
                setup.read(1 << 20, go_on),
                Err(SourceError::Io { .. })
            ));
            assert_eq!(setup.spooled(), 0);
        }
        let setup = Setup::new(&whole);
        assert!(matches!(
            setup.read(1 << 20, ControlFlow::Break(())),
            Err(SourceError::Interrupted { .. })
        ));
        assert_eq!(setup.spooled(), 0);
        assert!(setup.read(1 << 20, go_on).is_ok());
    }

    #[test]
    fn what_a_crash_left_behind_is_overwritten() {
        let setup = Setup::new(&gzip("1\n"));
        let name = SpoolName::of(&setup.spec.path).unwrap().file;
        let partial = setup.spool.join(name).with_extension("partial");
        fs::write(partial, "half of something longer").unwrap();
        let read = setup.read(100, ControlFlow::Continue(())).unwrap();
        assert_eq!(read.0, "1\n");
        assert_eq!(setup.spooled(), 1);
    }
}
