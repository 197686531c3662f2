//! A TOML file that is read key by key, with everything wrong in it found at once.
//!
//! Owns the way from a text to typed values: which keys a section takes is what its reader asks it
//! for, so there is no second list of them, and what is left over is unknown. Never holds a default:
//! an absent key is `None`. What a file can make us hold is bounded by its size.

use std::{
    cell::RefCell, collections::BTreeSet, fs::File, io::Read, ops::Range, path::Path, sync::Arc,
};

use serde_json::{Map, Value};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    ConfigError,
    overrides::Overrides,
    problem::{Findings, Origin, Position, Problem, Problems, clipped, nearest, quoted},
};

/// Largest file that is read. A job with every key is some 2 KiB; 1 MiB leaves room for a blackout
/// calendar and still parses in milliseconds.
pub const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Reads a text file within [`FILE_BYTES_MAX`].
///
/// # Errors
/// If it is no regular file (a FIFO in a folder of jobs must not hold up the daemon), too large, no
/// UTF-8, or the system refuses.
pub(crate) fn read_text(path: &Path) -> Result<String, ConfigError> {
    let unreadable = |error| ConfigError::Unreadable {
        path: path.to_owned(),
        error,
    };
    let refuse = |why: String| unreadable(std::io::Error::other(why));
    if !path.metadata().map_err(unreadable)?.is_file() {
        return Err(refuse("it is no regular file".into()));
    }
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text))
        .map_err(unreadable)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(refuse(format!("it has more than {FILE_BYTES_MAX} bytes")));
    }
    Ok(text)
}

/// A text that is valid TOML, and what is found wrong in it beyond that.
pub(crate) struct Document<'t> {
    file: Arc<Path>,
    text: &'t str,
    root: Spanned<DeTable<'t>>,
    overrides: &'t Overrides,
    findings: RefCell<Findings>,
}

impl<'t> Document<'t> {
    /// Parses a text; `file` is only how it is named. What is overridden is read in the text's place.
    pub(crate) fn parse(
        file: &Path,
        text: &'t str,
        overrides: &'t Overrides,
    ) -> Result<Self, Problems> {
        let file: Arc<Path> = file.into();
        match DeTable::parse(text) {
            Ok(mut root) => {
                overrides.lay_over(root.get_mut());
                Ok(Self {
                    file,
                    text,
                    root,
                    overrides,
                    findings: RefCell::default(),
                })
            }
            Err(error) => Err(Problems::from(Problem {
                origin: origin(&file, text, error.span().map_or(0, |span| span.start)),
                message: error.message().to_owned(),
            })),
        }
    }

    /// The whole file as a section without a name.
    pub(crate) fn root(&self) -> Section<'_> {
        Section {
            document: self,
            path: String::new(),
            table: self.root.get_ref(),
            start: 0,
            asked: BTreeSet::new(),
        }
    }

    /// The value where nothing was found wrong.
    pub(crate) fn answer<T>(self, value: Option<T>) -> Result<T, Problems> {
        self.findings.into_inner().answer(value)
    }

    fn find(&self, byte: usize, message: impl FnOnce() -> String) {
        self.findings.borrow_mut().add(|| Problem {
            origin: origin(&self.file, self.text, byte),
            message: message(),
        });
    }

    /// As [`Document::find`], about the value of a key, which may be an override.
    fn find_at(&self, key: &str, byte: usize, message: impl FnOnce() -> String) {
        self.findings.borrow_mut().add(|| Problem {
            origin: self.place(key, byte),
            message: message(),
        });
    }

    fn place(&self, key: &str, byte: usize) -> Origin {
        let overridden = self.overrides.origin(key);
        overridden.unwrap_or_else(|| origin(&self.file, self.text, byte))
    }
}

/// The place of a key's value (`limit.pace`) in a text that was parsed before; of the nearest section
/// around it where the key is absent.
pub(crate) fn locate(file: &Path, text: &str, key: &str) -> Origin {
    let mut byte = 0;
    if let Ok(root) = DeTable::parse(text) {
        let mut table = Some(root.get_ref());
        for part in key.split('.') {
            let Some(value) = table.and_then(|table| table.get(part)) else {
                break;
            };
            byte = value.span().start;
            table = value.get_ref().as_table();
        }
    }
    origin(&file.into(), text, byte)
}

/// Each key of a text with what it says there, as it is written; tables and inline tables one key
/// after the other. Of a text that is no TOML: none.
pub(crate) fn written(text: &str) -> Vec<(String, Range<usize>)> {
    fn within(table: &DeTable<'_>, path: &str, keys: &mut Vec<(String, Range<usize>)>) {
        for (key, value) in table {
            let key = match path {
                "" => key.get_ref().to_string(),
                path => format!("{path}.{}", key.get_ref()),
            };
            match value.get_ref().as_table() {
                // Invariant: no deeper than the parser goes (80).
                Some(table) => within(table, &key, keys),
                None => keys.push((key, value.span())),
            }
        }
    }
    let mut keys = Vec::new();
    if let Ok(root) = DeTable::parse(text) {
        within(root.get_ref(), "", &mut keys);
    }
    keys.sort_by_key(|(_, span)| span.start);
    keys
}

pub(crate) fn origin(file: &Arc<Path>, text: &str, byte: usize) -> Origin {
    Origin::File {
        file: Arc::clone(file),
        position: Position::of(text, byte),
    }
}

/// A table of the file, asked for one key after the other and then [finished](Section::finish).
pub(crate) struct Section<'d> {
    document: &'d Document<'d>,
    path: String,
    table: &'d DeTable<'d>,
    start: usize,
    asked: BTreeSet<&'static str>,
}

impl<'d> Section<'d> {
    /// What a key says, where it is written and `read` takes it; `read` answers what is wrong.
    pub(crate) fn read<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&DeValue<'_>) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.value(key)?;
        self.taken(key, value, read)
    }

    /// The same, for a key that must be written; `mend` shows how.
    pub(crate) fn required<T>(
        &mut self,
        key: &'static str,
        mend: &str,
        read: impl FnOnce(&DeValue<'_>) -> Result<T, String>,
    ) -> Option<T> {
        if self.value(key).is_none() {
            let whole = self.dotted(key);
            self.report(|| format!("{whole} is missing; {mend}"));
        }
        self.read(key, read)
    }

    /// What each element of a list says; at most `count_max` of them.
    pub(crate) fn list<T>(
        &mut self,
        key: &'static str,
        count_max: usize,
        read: impl Fn(&DeValue<'_>) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let value = self.value(key)?;
        let array = self.taken(key, value, |value| match value.as_array() {
            None => Err(expected("a list", value)),
            Some(array) if array.len() > count_max => Err(format!(
                "has {} elements; it takes {count_max} at most",
                array.len()
            )),
            Some(_) => Ok(()),
        });
        array?;
        value
            .get_ref()
            .as_array()?
            .iter()
            .map(|element| self.taken(key, element, &read))
            // Why: collected before it is summed up, so that every wrong element is reported.
            .collect::<Vec<_>>()
            .into_iter()
            .collect()
    }

    /// A table within this one, to be read key by key.
    pub(crate) fn section(&mut self, key: &'static str) -> Option<Section<'d>> {
        let value = self.value(key)?;
        let table = value.get_ref().as_table();
        if table.is_none() {
            self.taken(key, value, |value| Err::<(), _>(expected("a table", value)));
        }
        self.within(key, value)
    }

    /// The tables within this one, whatever their names; what is no table is reported.
    pub(crate) fn sections(&self) -> Vec<(String, Section<'d>)> {
        let mut sections = Vec::new();
        for (key, value) in self.table {
            match self.within(key.get_ref(), value) {
                Some(section) => sections.push((key.get_ref().to_string(), section)),
                None => {
                    self.taken(key.get_ref(), value, |value| {
                        Err::<(), _>(expected("a table", value))
                    });
                }
            }
        }
        sections
    }

    /// A table within this one as JSON, for a reader that knows its keys.
    pub(crate) fn opaque(&mut self, key: &'static str) -> Option<Map<String, Value>> {
        let value = self.value(key)?;
        self.taken(key, value, |value| match json(value)? {
            Value::Object(map) => Ok(map),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => Err(expected("a table", value)),
        })
    }

    /// Whether a key is written.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Where a key's value stands; of the section itself where the key is absent.
    pub(crate) fn origin(&self, key: &str) -> Origin {
        self.document.place(&self.dotted(key), self.byte(key))
    }

    /// Reports something about the section as a whole.
    pub(crate) fn report(&self, message: impl FnOnce() -> String) {
        self.document.find(self.start, message);
    }

    /// Reports something about a key that depends on others.
    pub(crate) fn report_key(&self, key: &str, message: impl FnOnce() -> String) {
        let dotted = self.dotted(key);
        self.document.find_at(&dotted, self.byte(key), || {
            format!("{dotted}: {}", message())
        });
    }

    /// How many keys it has.
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// Where it stands.
    pub(crate) fn whole(&self) -> Origin {
        self.document.place(&self.path, self.start)
    }

    /// Reports each key that nobody asked for.
    pub(crate) fn finish(self) {
        self.report_unasked(|_| true);
    }

    /// As [`Section::finish`], for a section that holds tables beside its keys, whatever their names.
    pub(crate) fn finish_but_tables(self) -> Vec<(String, Section<'d>)> {
        self.report_unasked(|value| value.as_table().is_none());
        let others = self.table.iter();
        others
            .filter(|(key, _)| !self.asked.contains::<str>(key.get_ref()))
            .filter_map(|(key, value)| {
                let name: &str = key.get_ref();
                Some((name.to_owned(), self.within(name, value)?))
            })
            .collect()
    }

    fn report_unasked(&self, counts: impl Fn(&DeValue<'_>) -> bool) {
        for (key, value) in self.table {
            let written: &str = key.get_ref();
            if self.asked.contains(written) || !counts(value.get_ref()) {
                continue;
            }
            self.document.find(key.span().start, || {
                let place = match self.path.as_str() {
                    "" => String::new(),
                    path => format!(" in [{path}]"),
                };
                let names = self.asked.iter().copied();
                let mend = nearest(written, names, "it takes");
                format!("unknown key {}{place}{mend}", quoted(written))
            });
        }
    }

    fn value(&mut self, key: &'static str) -> Option<&'d Spanned<DeValue<'d>>> {
        self.asked.insert(key);
        self.table.get(key)
    }

    fn taken<T>(
        &self,
        key: &str,
        value: &Spanned<DeValue<'_>>,
        read: impl FnOnce(&DeValue<'_>) -> Result<T, String>,
    ) -> Option<T> {
        let byte = value.span().start;
        match read(value.get_ref()) {
            Ok(taken) => Some(taken),
            Err(why) => {
                let dotted = self.dotted(key);
                self.document
                    .find_at(&dotted, byte, || format!("{dotted}: {why}"));
                None
            }
        }
    }

    fn within(&self, key: &str, value: &'d Spanned<DeValue<'d>>) -> Option<Section<'d>> {
        Some(Section {
            document: self.document,
            path: self.dotted(key),
            table: value.get_ref().as_table()?,
            start: value.span().start,
            asked: BTreeSet::new(),
        })
    }

    fn dotted(&self, key: &str) -> String {
        // Why: a key of a user's own (a limiter's name) may be anything that TOML can quote.
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let key = if key.chars().all(plain) && key.len() <= 80 {
            key.to_owned()
        } else {
            quoted(key)
        };
        match self.path.as_str() {
            "" => key,
            path => format!("{path}.{key}"),
        }
    }

    fn byte(&self, key: &str) -> usize {
        self.table
            .get(key)
            .map_or(self.start, |value| value.span().start)
    }
}

/// `expected a list, found a text`.
pub(crate) fn expected(what: &str, found: &DeValue<'_>) -> String {
    let found = match found {
        DeValue::String(text) => format!("the text {}", quoted(text)),
        DeValue::Integer(number) => format!("the number {}", clipped(&number.to_string())),
        DeValue::Float(number) => format!("the number {}", clipped(number.as_str())),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(_) => "a date".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    };
    format!("expected {what}, found {found}")
}

/// A TOML value as JSON; dates become text. Its depth is the parser's limit (80).
pub(crate) fn json(value: &DeValue<'_>) -> Result<Value, String> {
    let no_json = || expected("what JSON can say", value);
    Ok(match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_err(|_| no_json())?
            .into(),
        DeValue::Float(number) => {
            let number: f64 = number.as_str().parse().map_err(|_| no_json())?;
            serde_json::Number::from_f64(number)
                .ok_or_else(no_json)?
                .into()
        }
        DeValue::Boolean(flag) => Value::Bool(*flag),
        DeValue::Datetime(date) => Value::String(date.to_string()),
        DeValue::Array(array) => array
            .iter()
            .map(|element| json(element.get_ref()))
            .collect::<Result<_, _>>()?,
        DeValue::Table(table) => table
            .iter()
            .map(|(key, value)| Ok((key.get_ref().to_string(), json(value.get_ref())?)))
            .collect::<Result<Map<_, _>, String>>()?
            .into(),
    })
}
