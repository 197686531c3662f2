//! What only a distributed Map has: its processor as a definition of its own, reader, batches,
//! writer, tolerance, label.

use std::sync::Arc;

use super::Reader as DefinitionReader;
use crate::asl::{
    definition::{Definition, Dialect, QueryLanguage, Setting},
    diagnostic::quote,
    fields::{Fields, wrong_kind},
    template::Template,
    text::Node,
};

/// Longest label, in characters: AWS's bound; it becomes part of resource names.
const LABEL_CHARS_MAX: usize = 40;

/// Most items that anything here may be told to take: AWS's bound.
pub(super) const ITEMS_MAX: u64 = 100_000_000;

/// Largest batch in bytes: AWS's bound on a child's input. Jobs may raise the limit on payloads, so
/// it holds for definitions only.
const BATCH_BYTES_MAX: u64 = 256 * 1024;

/// What only a distributed Map has.
#[derive(Debug, PartialEq)]
pub struct Distributed {
    /// What each child runs.
    pub processor: Arc<Definition>,
    /// The type of the children.
    pub execution_type: ExecutionType,
    /// Where items are read from; `None`: from the state's input.
    pub reader: Option<Reader>,
    /// How items are put together.
    pub batcher: Option<Batcher>,
    /// Where results are written to; `None`: they are the state's result.
    pub writer: Option<Writer>,
    /// Children that may fail.
    pub tolerated_failure_count: Option<Setting<u64>>,
    /// Percentage of items that may fail.
    pub tolerated_failure_percentage: Option<Setting<f64>>,
    /// The run's part in resource names; 1 to 40 characters.
    pub label: Option<Arc<str>>,
}

/// The type of a distributed Map's children.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExecutionType {
    /// Durable at every step, with a history.
    Standard,
    /// At least once, without.
    Express,
}

/// `ItemReader`
#[derive(Debug, PartialEq)]
pub struct Reader {
    /// What reads: S3's `getObject` or `listObjectsV2`, or another that the runtime knows.
    pub resource: Arc<str>,
    /// What it is told.
    pub parameters: Option<Template>,
    /// How the bytes are taken apart.
    pub config: ReaderConfig,
}

/// `ReaderConfig`
#[derive(Debug, Default, PartialEq)]
pub struct ReaderConfig {
    /// The form of the data.
    pub input_type: Option<InputType>,
    /// What is done with listed objects.
    pub transformation: Option<ReaderTransformation>,
    /// Whose manifest it is.
    pub manifest_type: Option<ManifestType>,
    /// Between fields; a comma unless said otherwise.
    pub csv_delimiter: Option<char>,
    /// Where the names of the columns are.
    pub csv_headers: Option<CsvHeaders>,
    /// RFC 6901 pointer to the items of a JSON file.
    pub items_pointer: Option<Box<str>>,
    /// How many items are taken at most.
    pub max_items: Option<Setting<u64>>,
}

/// `InputType`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputType {
    /// Comma-separated values.
    Csv,
    /// One JSON document.
    Json,
    /// JSON Lines.
    Jsonl,
    /// Apache Parquet.
    Parquet,
    /// An S3 inventory or another manifest of files.
    Manifest,
}

/// `Transformation` of a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReaderTransformation {
    /// `NONE`
    None,
    /// `LOAD_AND_FLATTEN`: what is in the listed objects, not the list.
    LoadAndFlatten,
}

/// `ManifestType`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ManifestType {
    /// `ATHENA_DATA`
    AthenaData,
    /// `S3_INVENTORY`
    S3Inventory,
}

/// `CSVHeaderLocation` with `CSVHeaders`
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CsvHeaders {
    /// The first row has them.
    FirstRow,
    /// These.
    Given(Box<[Box<str>]>),
}

/// `ItemBatcher`
#[derive(Debug, PartialEq)]
pub struct Batcher {
    /// Items in a batch at most.
    pub max_items: Option<Setting<u64>>,
    /// Bytes of a batch's JSON at most.
    pub max_bytes: Option<Setting<u64>>,
    /// Given to each child beside its items.
    pub input: Option<Template>,
}

/// `ResultWriter`
#[derive(Debug, PartialEq)]
pub struct Writer {
    /// What writes: S3's `putObject`, or another that the runtime knows.
    pub resource: Option<Arc<str>>,
    /// What it is told.
    pub parameters: Option<Template>,
    /// What is done with the results.
    pub transformation: Option<WriterTransformation>,
    /// The form of the files.
    pub output_type: Option<OutputType>,
}

/// `Transformation` of a writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriterTransformation {
    /// `NONE`: results with their executions' data.
    None,
    /// `COMPACT`: results alone.
    Compact,
    /// `FLATTEN`: the items of results that are arrays.
    Flatten,
}

/// `OutputType`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputType {
    /// One array.
    Json,
    /// A line for each.
    Jsonl,
}

/// The fields that only distributed Maps have.
pub(super) const FIELDS: &[&str] = &[
    "ItemReader",
    "ItemBatcher",
    "ResultWriter",
    "ToleratedFailureCount",
    "ToleratedFailureCountPath",
    "ToleratedFailurePercentage",
    "ToleratedFailurePercentagePath",
    "Label",
];

/// Reads them; the processor's configuration was read by the caller.
pub(super) fn read<'n>(
    fields: &mut Fields<'n>,
    processor: Fields<'n>,
    execution_type: ExecutionType,
    reader: &mut DefinitionReader<'n>,
) -> Option<Distributed> {
    let processor = reader.sub_definition(processor);
    let item_reader = fields
        .take("ItemReader")
        .and_then(|node| item_reader(node, reader));
    let batcher = fields
        .take("ItemBatcher")
        .and_then(|node| batcher(node, reader));
    let writer = fields
        .take("ResultWriter")
        .and_then(|node| writer(node, reader));
    let (tolerated_failure_count, tolerated_failure_percentage) = tolerance(fields, reader);
    let label = label(fields, reader);
    Some(Distributed {
        processor: processor?,
        execution_type,
        reader: item_reader,
        batcher,
        writer,
        tolerated_failure_count,
        tolerated_failure_percentage,
        label,
    })
}

/// `ToleratedFailureCount` and `ToleratedFailurePercentage`, as a number, a path or an expression.
fn tolerance<'n>(
    fields: &mut Fields<'n>,
    reader: &mut DefinitionReader<'n>,
) -> (Option<Setting<u64>>, Option<Setting<f64>>) {
    let tolerated_failure_count = reader.setting(
        fields,
        ("ToleratedFailureCount", "ToleratedFailureCountPath"),
        |fields, problems| fields.integer("ToleratedFailureCount", 0..=ITEMS_MAX, problems),
    );
    let tolerated_failure_percentage = reader.setting(
        fields,
        (
            "ToleratedFailurePercentage",
            "ToleratedFailurePercentagePath",
        ),
        |fields, problems| fields.number("ToleratedFailurePercentage", 0.0..=100.0, problems),
    );
    (tolerated_failure_count, tolerated_failure_percentage)
}

/// Reports those that stand at an inline Map. Recorded: AWS accepts a tolerance there, and does not look at
/// it.
pub(super) fn refuse<'n>(fields: &mut Fields<'n>, reader: &mut DefinitionReader<'n>) {
    tolerance(fields, reader);
    for key in FIELDS
        .iter()
        .filter(|key| !key.starts_with("ToleratedFailure"))
    {
        if let Some(node) = fields.take(key) {
            let message = format!(
                "{key:?} is for distributed Maps: \"ProcessorConfig\": {{\"Mode\": \"DISTRIBUTED\", ..}}"
            );
            reader.problems.schema(node.span, message);
        }
    }
}

fn item_reader<'n>(node: &'n Node, reader: &mut DefinitionReader<'n>) -> Option<Reader> {
    let mut fields = Fields::of(node, "an item reader", &mut reader.problems)?;
    let allowed = [
        "arn:aws:states:::s3:getObject",
        "arn:aws:states:::s3:listObjectsV2",
    ];
    fields.required("Resource", &mut reader.problems)?;
    let resource = resource(&mut fields, &allowed, reader);
    let parameters = parameters(&mut fields, reader);
    let config = match fields.take("ReaderConfig") {
        Some(node) => reader_config(node, reader)?,
        None => ReaderConfig::default(),
    };
    fields.finish(&mut reader.problems);
    Some(Reader {
        resource: resource?,
        parameters,
        config,
    })
}

/// The resource of a reader or writer; AWS has few, iterd's own dialect leaves them to the runtime.
fn resource<'n>(
    fields: &mut Fields<'n>,
    allowed: &[&str],
    reader: &mut DefinitionReader<'n>,
) -> Option<Arc<str>> {
    let node = fields.take("Resource")?;
    let resource = node.as_str().filter(|resource| match reader.dialect {
        Dialect::Aws | Dialect::AwsExpress => allowed.contains(resource),
        Dialect::Iterd => !resource.is_empty(),
    });
    if resource.is_none() {
        wrong_kind(
            node,
            "Resource",
            &allowed.join(" or "),
            &mut reader.problems,
        );
    }
    resource.map(Into::into)
}

/// What a reader or a writer is told.
fn parameters<'n>(fields: &mut Fields<'n>, reader: &mut DefinitionReader<'n>) -> Option<Template> {
    let key = match reader.language {
        QueryLanguage::JsonPath => "Parameters",
        QueryLanguage::Jsonata => "Arguments",
    };
    reader.template(fields, key)
}

fn reader_config<'n>(node: &'n Node, reader: &mut DefinitionReader<'n>) -> Option<ReaderConfig> {
    let mut fields = Fields::of(node, "a reader configuration", &mut reader.problems)?;
    let problems = &mut reader.problems;
    let types = [
        ("CSV", InputType::Csv),
        ("JSON", InputType::Json),
        ("JSONL", InputType::Jsonl),
        ("PARQUET", InputType::Parquet),
        ("MANIFEST", InputType::Manifest),
    ];
    let input_type = fields.word("InputType", &types, problems);
    let transformations = [
        ("NONE", ReaderTransformation::None),
        ("LOAD_AND_FLATTEN", ReaderTransformation::LoadAndFlatten),
    ];
    let transformation = fields.word("Transformation", &transformations, problems);
    let manifests = [
        ("ATHENA_DATA", ManifestType::AthenaData),
        ("S3_INVENTORY", ManifestType::S3Inventory),
    ];
    let manifest_type = fields.word("ManifestType", &manifests, problems);
    let delimiters = [
        ("COMMA", ','),
        ("PIPE", '|'),
        ("SEMICOLON", ';'),
        ("SPACE", ' '),
        ("TAB", '\t'),
    ];
    let csv_delimiter = fields.word("CSVDelimiter", &delimiters, problems);
    let csv_headers = csv_headers(&mut fields, reader);
    let items_pointer = fields.string("ItemsPointer", &mut reader.problems);
    let max_items = reader.setting(
        &mut fields,
        ("MaxItems", "MaxItemsPath"),
        |fields, problems| fields.integer("MaxItems", 0..=ITEMS_MAX, problems),
    );
    fields.finish(&mut reader.problems);
    Some(ReaderConfig {
        input_type,
        transformation,
        manifest_type,
        csv_delimiter,
        csv_headers,
        items_pointer: items_pointer.map(Into::into),
        max_items,
    })
}

fn csv_headers<'n>(
    fields: &mut Fields<'n>,
    reader: &mut DefinitionReader<'n>,
) -> Option<CsvHeaders> {
    let locations = [("FIRST_ROW", false), ("GIVEN", true)];
    let given = fields.word("CSVHeaderLocation", &locations, &mut reader.problems);
    let headers: Option<Box<[Box<str>]>> = fields
        .array("CSVHeaders", &mut reader.problems)
        .iter()
        .map(|header| header.as_str().map(Into::into))
        .collect();
    match (given, headers) {
        (Some(true), Some(headers)) if !headers.is_empty() => Some(CsvHeaders::Given(headers)),
        (Some(true), _) => {
            let message = "\"CSVHeaders\" must name the columns, as texts";
            reader.problems.schema(fields.node.span, message);
            None
        }
        (Some(false), _) => Some(CsvHeaders::FirstRow),
        (None, _) => None,
    }
}

fn batcher<'n>(node: &'n Node, reader: &mut DefinitionReader<'n>) -> Option<Batcher> {
    let mut fields = Fields::of(node, "an item batcher", &mut reader.problems)?;
    let max_items = reader.setting(
        &mut fields,
        ("MaxItemsPerBatch", "MaxItemsPerBatchPath"),
        |fields, problems| fields.integer("MaxItemsPerBatch", 1..=ITEMS_MAX, problems),
    );
    let most = match reader.dialect {
        Dialect::Aws | Dialect::AwsExpress => BATCH_BYTES_MAX,
        Dialect::Iterd => u64::MAX,
    };
    let max_bytes = reader.setting(
        &mut fields,
        ("MaxInputBytesPerBatch", "MaxInputBytesPerBatchPath"),
        |fields, problems| fields.integer("MaxInputBytesPerBatch", 1..=most, problems),
    );
    let input = reader.template(&mut fields, "BatchInput");
    if max_items.is_none() && max_bytes.is_none() {
        reader.problems.schema(
            node.span,
            "an item batcher needs \"MaxItemsPerBatch\" or \"MaxInputBytesPerBatch\"",
        );
    }
    fields.finish(&mut reader.problems);
    Some(Batcher {
        max_items,
        max_bytes,
        input,
    })
}

fn writer<'n>(node: &'n Node, reader: &mut DefinitionReader<'n>) -> Option<Writer> {
    let mut fields = Fields::of(node, "a result writer", &mut reader.problems)?;
    let resource = resource(&mut fields, &["arn:aws:states:::s3:putObject"], reader);
    let parameters = parameters(&mut fields, reader);
    let (mut transformation, mut output_type) = (None, None);
    if let Some(node) = fields.take("WriterConfig") {
        let mut config = Fields::of(node, "a writer configuration", &mut reader.problems)?;
        let transformations = [
            ("NONE", WriterTransformation::None),
            ("COMPACT", WriterTransformation::Compact),
            ("FLATTEN", WriterTransformation::Flatten),
        ];
        transformation = config.word("Transformation", &transformations, &mut reader.problems);
        let types = [("JSON", OutputType::Json), ("JSONL", OutputType::Jsonl)];
        output_type = config.word("OutputType", &types, &mut reader.problems);
        config.finish(&mut reader.problems);
    }
    if resource.is_none() && !fields.has("WriterConfig") {
        reader.problems.schema(
            node.span,
            "a result writer needs \"Resource\" or \"WriterConfig\"",
        );
    }
    fields.finish(&mut reader.problems);
    Some(Writer {
        resource,
        parameters,
        transformation,
        output_type,
    })
}

fn label<'n>(fields: &mut Fields<'n>, reader: &mut DefinitionReader<'n>) -> Option<Arc<str>> {
    let node = fields.take("Label")?;
    let Some(label) = node.as_str() else {
        wrong_kind(node, "Label", "a string", &mut reader.problems);
        return None;
    };
    // What resource names are divided by, and what cannot be printed.
    let forbidden =
        |c: &char| c.is_whitespace() || c.is_control() || "?*<>{}[]:;,\\|^~$#%&`\"/".contains(*c);
    if label.is_empty() {
        reader.problems.schema(node.span, "Label cannot be empty");
    } else if label.chars().count() > LABEL_CHARS_MAX {
        let message = format!("Label cannot exceed {LABEL_CHARS_MAX} characters");
        reader.problems.schema(node.span, message);
    } else if let Some(c) = label.chars().find(forbidden) {
        // In AWS's words, which write what cannot be printed as two digits.
        let shown = match c {
            '\t' | '\n' | '\r' => format!("{c:?}"),
            c if c.is_control() => format!("'\\x{:02x}'", u32::from(c)),
            c => format!("{c:?}"),
        };
        let message = format!("Label contains invalid character: {shown}");
        reader.problems.schema(node.span, message);
    } else if !reader.labels.insert(label) {
        let message = format!("the label {} is used twice", quote(label));
        reader.problems.schema(node.span, message);
    }
    Some(label.into())
}
