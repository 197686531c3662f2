//! What an item reader is told, once its parameters are known.

/// Objects that one run reads; a list of more is refused, since it is held while the run goes.
pub const FILES_MAX: usize = 100_000;

/// Where items are read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReaderSpec {
    /// The bucket.
    pub bucket: String,
    /// What of it.
    pub what: What,
}

/// What of a bucket is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// The items in one object.
    Object {
        /// Its key.
        key: String,
        /// How it is taken apart.
        form: Form,
    },
    /// The objects themselves, as a listing tells them.
    List {
        /// What their keys begin with.
        prefix: String,
    },
    /// The items in all of these objects.
    Listed {
        /// What their keys begin with.
        prefix: String,
        /// How each is taken apart.
        form: Form,
    },
    /// The rows of an S3 inventory.
    Inventory {
        /// The key of its manifest.
        key: String,
    },
    /// The items in what Athena's UNLOAD has written.
    Athena {
        /// The key of its manifest.
        key: String,
        /// How each object is taken apart.
        form: Form,
    },
}

/// How an object is taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    /// Rows of fields.
    Csv(CsvForm),
    /// The elements of an array or the members of an object.
    Json {
        /// To the array or object; RFC 6901.
        pointer: String,
    },
    /// A line for each.
    Jsonl,
    /// Apache Parquet, which is refused.
    Parquet,
}

/// How rows are taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CsvForm {
    /// Between fields; ASCII.
    pub delimiter: u8,
    /// The names of the columns; `None`: the first row has them.
    pub headers: Option<Vec<String>>,
}
