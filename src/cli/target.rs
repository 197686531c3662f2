//! Where a command writes a file that is whole or not there: a temporary one beside it, renamed at the
//! end; or standard output.

use std::{
    fs::File,
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
};

use super::{
    exit::{FAILED, Failure},
    session::write_out,
};

/// Gathered before it is written.
const WRITE_BYTES: usize = 256 * 1024;

/// A file under way, or standard output.
pub(super) enum Target {
    /// Standard output.
    Out,
    /// A file.
    File(Unfinished),
}

/// A temporary file, removed unless it is finished.
pub(super) struct Unfinished {
    path: PathBuf,
    temporary: PathBuf,
    file: Option<BufWriter<File>>,
}

impl Target {
    /// `-` is standard output.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        if path == Path::new("-") {
            return Ok(Self::Out);
        }
        let failed = |error: std::io::Error| {
            Failure::new(FAILED, format!("cannot write {}: {error}", path.display()))
        };
        let name = path
            .file_name()
            .ok_or_else(|| failed(std::io::Error::from(std::io::ErrorKind::IsADirectory)))?;
        if path.is_dir() {
            return Err(failed(std::io::Error::from(
                std::io::ErrorKind::IsADirectory,
            )));
        }
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{:08x}", rand::random::<u32>()));
        let temporary = path.with_file_name(hidden);
        let file = File::create_new(&temporary).map_err(failed)?;
        Ok(Self::File(Unfinished {
            path: path.to_owned(),
            temporary,
            file: Some(BufWriter::with_capacity(WRITE_BYTES, file)),
        }))
    }

    pub(super) fn write(&mut self, text: &str) -> Result<(), Failure> {
        match self {
            Self::Out => write_out(text.as_bytes()),
            Self::File(unfinished) => {
                let written = unfinished
                    .file
                    .as_mut()
                    .map(|file| file.write_all(text.as_bytes()));
                written
                    .unwrap_or(Ok(()))
                    .map_err(|error| unfinished.failed(&error))
            }
        }
    }

    /// The file is whole and stands where it was asked for.
    pub(super) fn finish(self) -> Result<(), Failure> {
        let Self::File(mut unfinished) = self else {
            return Ok(());
        };
        let Some(file) = unfinished.file.take() else {
            return Ok(());
        };
        file.into_inner()
            .map_err(std::io::IntoInnerError::into_error)
            .and_then(|file| file.sync_all())
            .and_then(|()| std::fs::rename(&unfinished.temporary, &unfinished.path))
            .map_err(|error| {
                std::fs::remove_file(&unfinished.temporary).ok();
                unfinished.failed(&error)
            })
    }
}

impl Unfinished {
    fn failed(&self, error: &std::io::Error) -> Failure {
        Failure::new(
            FAILED,
            format!("cannot write {}: {error}", self.path.display()),
        )
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            // Why ok: nothing more can be done about it.
            std::fs::remove_file(&self.temporary).ok();
        }
    }
}
