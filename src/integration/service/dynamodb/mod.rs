//! Tables by key, as Amazon DynamoDB answers for them: what one file can serve. Expressions, indexes and
//! streams are refused with the name of the setting that leads to a service which has them.
//!
//! Spec: the API reference of DynamoDB, version 2012-08-10.

mod item;
mod number;

use serde_json::{Value, json};

use super::{
    kept::{ItemKey, KeyKind, KeyPart, Table, Tables},
    request::{Answer, Moment, Parameters, Refusal, Words, granted},
};
use crate::time::Timestamp;

/// Items that a page has at the most, and their bytes.
const PAGE_ITEMS_MAX: u32 = 10_000;
/// Spec: a page of a scan is 1 MiB.
const PAGE_BYTES_MAX: usize = 1 << 20;

/// Spec: requests in a BatchWriteItem, and keys in a BatchGetItem.
const WRITES_MAX: usize = 25;
const READS_MAX: usize = 100;

/// Spec: an answer of BatchGetItem is 16 MiB; keys beyond it are to be asked for again.
const READ_BYTES_MAX: usize = 16 << 20;

/// Spec: names in an answer of ListTables.
const NAMES_MAX: u32 = 100;

const WORDS: Words = Words {
    invalid: "ValidationException",
    section: "dynamodb",
    what: "iterd's own tables",
};

/// What DynamoDB is asked with that changes nothing here: reads are always consistent, nothing is charged.
const NO_MATTER: [&str; 3] = [
    "ConsistentRead",
    "ReturnConsumedCapacity",
    "ReturnItemCollectionMetrics",
];

/// The actions that there are, as the API names them.
pub(super) const ACTIONS: [&str; 10] = [
    "BatchGetItem",
    "BatchWriteItem",
    "CreateTable",
    "DeleteItem",
    "DeleteTable",
    "DescribeTable",
    "GetItem",
    "ListTables",
    "PutItem",
    "Scan",
];

/// Does what an action asks for. The outer error is the port's; what was changed before it is to be
/// undone, as behind a refusal.
pub(super) fn call<K: Tables>(
    kept: &K,
    action: &str,
    parameters: &Value,
    moment: Moment,
) -> Answer<K::Error> {
    let mut given = granted!(Parameters::of(parameters, &WORDS));
    given.pass_over(&NO_MATTER);
    match action {
        "CreateTable" => create_table(kept, given, moment.now),
        "DeleteTable" => {
            let (table, name) = granted!(named(kept, &mut given)?);
            granted!(given.end(&WORDS));
            let told = described(kept, &table, name, "DELETING")?;
            kept.drop_table(table.id)?;
            Ok(Ok(json!({ "TableDescription": told })))
        }
        "DescribeTable" => {
            let (table, name) = granted!(named(kept, &mut given)?);
            granted!(given.end(&WORDS));
            Ok(Ok(
                json!({ "Table": described(kept, &table, name, "ACTIVE")? }),
            ))
        }
        "ListTables" => list_tables(kept, given),
        "GetItem" => {
            let key = granted!(required(given.take("Key"), "key"));
            let (table, _) = granted!(named(kept, &mut given)?);
            let key = granted!(key_of(&table, Some(key), "key"));
            granted!(given.end(&WORDS));
            Ok(Ok(match kept.item(table.id, &key)? {
                Some(item) => json!({ "Item": parsed(&item) }),
                None => json!({}),
            }))
        }
        "PutItem" => {
            let item = granted!(required(given.take("Item"), "item"));
            let (table, _) = granted!(named(kept, &mut given)?);
            let (key, item) = granted!(item::checked(&table, item));
            let returns = granted!(returns_old(&mut given));
            granted!(given.end(&WORDS));
            let old = old(kept, &table, &key, returns)?;
            kept.put_item(table.id, &key, &item)?;
            Ok(Ok(old))
        }
        "DeleteItem" => {
            let key = granted!(required(given.take("Key"), "key"));
            let (table, _) = granted!(named(kept, &mut given)?);
            let key = granted!(key_of(&table, Some(key), "key"));
            let returns = granted!(returns_old(&mut given));
            granted!(given.end(&WORDS));
            let old = old(kept, &table, &key, returns)?;
            kept.remove_item(table.id, &key)?;
            Ok(Ok(old))
        }
        "Scan" => scan(kept, given),
        "BatchWriteItem" => batch_write(kept, given),
        "BatchGetItem" => batch_get(kept, given),
        "UpdateItem" => Ok(Err(WORDS.unsupported(
            "UpdateItem, which works by expressions (PutItem replaces an item)",
        ))),
        "Query" => Ok(Err(WORDS.unsupported(
            "Query, which works by expressions (GetItem reads by key, Scan everything)",
        ))),
        other => Ok(Err(WORDS.unsupported(other))),
    }
}

fn required<'a>(value: Option<&'a Value>, name: &str) -> Result<&'a Value, Refusal> {
    value.ok_or_else(|| {
        WORDS.invalid(format!(
            "1 validation error detected: Value null at '{name}' failed to satisfy constraint: Member must not be null"
        ))
    })
}

fn table_name<'a>(given: &mut Parameters<'a>) -> Result<&'a str, Refusal> {
    let text = given.text("TableName", &WORDS)?;
    let name = text.ok_or_else(|| {
        WORDS.invalid("1 validation error detected: Value null at 'tableName' failed to satisfy constraint: Member must not be null")
    })?;
    // Spec: a table may be named by its ARN.
    let name = name
        .strip_prefix("arn:")
        .and_then(|arn| arn.split_once(":table/"))
        .map_or(name, |(_, name)| name);
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    let constraint = if !name.bytes().all(plain) || name.is_empty() {
        "Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+"
    } else if name.len() < 3 {
        "Member must have length greater than or equal to 3"
    } else if name.len() > 255 {
        "Member must have length less than or equal to 255"
    } else {
        return Ok(name);
    };
    Err(WORDS.invalid(format!(
        "1 validation error detected: Value '{name}' at 'tableName' failed to satisfy constraint: {constraint}"
    )))
}

fn unknown() -> Refusal {
    Refusal::new("ResourceNotFoundException", "Requested resource not found")
}

/// The table that the parameters name.
fn named<'a, K: Tables>(
    kept: &K,
    given: &mut Parameters<'a>,
) -> Result<Result<(Table, &'a str), Refusal>, K::Error> {
    let name = granted!(table_name(given));
    let table = kept.table(name)?;
    Ok(table.map(|table| (table, name)).ok_or_else(unknown))
}

/// The key that a map of attributes gives; it has nothing else.
fn key_of(table: &Table, given: Option<&Value>, name: &str) -> Result<ItemKey, Refusal> {
    let given = required(given, name)?;
    let parts = 1 + usize::from(table.range.is_some());
    match given.as_object() {
        Some(fields) if fields.len() == parts => item::key(table, fields).map_err(|refusal| {
            if refusal.message.contains("empty") {
                return refusal;
            }
            WORDS.invalid("The provided key element does not match the schema")
        }),
        Some(_) => Err(WORDS.invalid("The provided key element does not match the schema")),
        None => Err(WORDS.invalid(format!("the {name} is no map of attributes"))),
    }
}

/// Whether the item that was there is to be answered.
fn returns_old(given: &mut Parameters<'_>) -> Result<bool, Refusal> {
    match given.text("ReturnValues", &WORDS)? {
        None | Some("NONE") => Ok(false),
        Some("ALL_OLD") => Ok(true),
        Some(_) => Err(WORDS.invalid("Return values set to invalid value")),
    }
}

fn old<K: Tables>(
    kept: &K,
    table: &Table,
    key: &ItemKey,
    returns: bool,
) -> Result<Value, K::Error> {
    if !returns {
        return Ok(json!({}));
    }
    Ok(match kept.item(table.id, key)? {
        Some(item) => json!({ "Attributes": parsed(&item) }),
        None => json!({}),
    })
}

/// What was checked when it was put.
fn parsed(item: &str) -> Value {
    serde_json::from_str(item).unwrap_or(Value::Null)
}

fn create_table<K: Tables>(
    kept: &K,
    mut given: Parameters<'_>,
    now: Timestamp,
) -> Answer<K::Error> {
    let name = granted!(table_name(&mut given));
    let (hash, range) = granted!(key_parts(&mut given));
    // How much is paid for, and what is kept beside the items, change nothing here.
    given.pass_over(&[
        "BillingMode",
        "ProvisionedThroughput",
        "OnDemandThroughput",
        "WarmThroughput",
        "TableClass",
        "Tags",
        "DeletionProtectionEnabled",
        "SSESpecification",
    ]);
    let streams = given.take("StreamSpecification");
    if streams.is_some_and(|streams| streams["StreamEnabled"] == Value::Bool(true)) {
        return Ok(Err(WORDS.unsupported("streams")));
    }
    granted!(given.end(&WORDS));
    if kept.table(name)?.is_some() {
        let message = format!("Table already exists: {name}");
        return Ok(Err(Refusal::new("ResourceInUseException", message)));
    }
    let table = Table {
        id: 0,
        name: name.to_owned(),
        hash,
        range,
        created: now,
    };
    kept.create_table(&table)?;
    Ok(Ok(
        json!({ "TableDescription": described(kept, &table, name, "ACTIVE")? }),
    ))
}

/// Partition key and sort key of a table that is to be made.
fn key_parts(given: &mut Parameters<'_>) -> Result<(KeyPart, Option<KeyPart>), Refusal> {
    let list = |value: Option<&Value>, name: &str| -> Result<Vec<(String, String)>, Refusal> {
        let second = if name == "keySchema" {
            "KeyType"
        } else {
            "AttributeType"
        };
        let entries = required(value, name)?.as_array().cloned();
        let entries = entries.ok_or_else(|| WORDS.invalid(format!("{name} is no list")))?;
        let text = |entry: &Value, field: &str| entry[field].as_str().map(str::to_owned);
        let pair = |entry: &Value| Some((text(entry, "AttributeName")?, text(entry, second)?));
        let pairs: Option<Vec<_>> = entries.iter().map(pair).collect();
        pairs.ok_or_else(|| WORDS.invalid(format!("{name} has entries without name or type")))
    };
    let schema = list(given.take("KeySchema"), "keySchema")?;
    let kinds = list(given.take("AttributeDefinitions"), "attributeDefinitions")?;
    let part = |name: &str| {
        let (_, kind) = kinds.iter().find(|(known, _)| known == name)?;
        let (name, kind) = (name.to_owned(), KeyKind::of_str(kind)?);
        Some(KeyPart { name, kind })
    };
    let (names, roles): (Vec<_>, Vec<_>) = schema
        .iter()
        .map(|(name, role)| (name.as_str(), role.as_str()))
        .unzip();
    let parts: Option<Vec<KeyPart>> = names.iter().map(|name| part(name)).collect();
    match (roles.as_slice(), parts.as_deref()) {
        (["HASH"], Some([hash])) => Ok((hash.clone(), None)),
        (["HASH", "RANGE"], Some([hash, range])) => Ok((hash.clone(), Some(range.clone()))),
        (["HASH"] | ["HASH", "RANGE"], None) => Err(WORDS.invalid(
            "One or more parameter values were invalid: Some index key attributes are not defined in AttributeDefinitions",
        )),
        _ => Err(WORDS.invalid(
            "Invalid KeySchema: The first KeySchemaElement is a HASH, the second, if there is one, a RANGE",
        )),
    }
}

fn described<K: Tables>(
    kept: &K,
    table: &Table,
    name: &str,
    status: &str,
) -> Result<Value, K::Error> {
    let (items, bytes) = kept.size(table.id)?;
    let parts = std::iter::once((&table.hash, "HASH"))
        .chain(table.range.iter().map(|part| (part, "RANGE")));
    let (mut schema, mut kinds) = (Vec::new(), Vec::new());
    for (part, role) in parts {
        schema.push(json!({ "AttributeName": part.name, "KeyType": role }));
        kinds.push(json!({ "AttributeName": part.name, "AttributeType": part.kind.as_str() }));
    }
    Ok(json!({
        "AttributeDefinitions": kinds,
        "TableName": name,
        "KeySchema": schema,
        "TableStatus": status,
        "CreationDateTime": table.created.as_millis() / 1000,
        "TableSizeBytes": bytes,
        "ItemCount": items,
    }))
}

fn list_tables<K: Tables>(kept: &K, mut given: Parameters<'_>) -> Answer<K::Error> {
    let after = granted!(given.text("ExclusiveStartTableName", &WORDS)).unwrap_or_default();
    let most = granted!(given.number("Limit", (1, NAMES_MAX), &WORDS)).unwrap_or(NAMES_MAX);
    granted!(given.end(&WORDS));
    let mut names = kept.table_names(after, most + 1)?;
    let more = names.len() > most as usize;
    names.truncate(most as usize);
    let mut answer = json!({ "TableNames": names });
    if more && let Some(last) = names.last() {
        answer["LastEvaluatedTableName"] = last.clone().into();
    }
    Ok(Ok(answer))
}

fn scan<K: Tables>(kept: &K, mut given: Parameters<'_>) -> Answer<K::Error> {
    let (table, _) = granted!(named(kept, &mut given)?);
    let most = granted!(given.number("Limit", (1, u32::MAX), &WORDS)).unwrap_or(u32::MAX);
    let most = most.min(PAGE_ITEMS_MAX);
    let after = match given.take("ExclusiveStartKey") {
        None => None,
        some => Some(granted!(key_of(&table, some, "exclusiveStartKey"))),
    };
    let counts = match granted!(given.text("Select", &WORDS)) {
        None | Some("ALL_ATTRIBUTES") => false,
        Some("COUNT") => true,
        Some(other) => {
            let what = format!("Select of {other}");
            return Ok(Err(WORDS.unsupported(&what)));
        }
    };
    granted!(given.end(&WORDS));
    let mut found = kept.items(
        table.id,
        after.as_ref(),
        most.saturating_add(1),
        PAGE_BYTES_MAX,
    )?;
    let mut bytes = 0;
    let fits = found.iter().take(most as usize).take_while(|item| {
        bytes += item.len();
        bytes <= PAGE_BYTES_MAX
    });
    // Why one at least: a page without any would be the last.
    let count = fits.count().max(1).min(found.len());
    let more = found.len() > count;
    found.truncate(count);
    let items: Vec<Value> = found.iter().map(|item| parsed(item)).collect();
    let mut answer = json!({ "Count": count, "ScannedCount": count });
    if more && let Some(last) = items.last() {
        answer["LastEvaluatedKey"] = item::key_fields(&table, last);
    }
    if !counts {
        answer["Items"] = items.into();
    }
    Ok(Ok(answer))
}

/// What stands under each table's name in `RequestItems`.
fn by_table<'a>(given: &mut Parameters<'a>) -> Result<Vec<(&'a String, &'a Value)>, Refusal> {
    let asked = required(given.take("RequestItems"), "requestItems")?;
    let asked = asked.as_object().filter(|asked| !asked.is_empty());
    let asked = asked.ok_or_else(|| WORDS.invalid("RequestItems is no map of tables"))?;
    Ok(asked.iter().collect())
}

fn batch_write<K: Tables>(kept: &K, mut given: Parameters<'_>) -> Answer<K::Error> {
    let tables = granted!(by_table(&mut given));
    granted!(given.end(&WORDS));
    let (mut count, mut seen) = (0, Vec::new());
    for (name, requests) in tables {
        let Some(table) = kept.table(name)? else {
            return Ok(Err(unknown()));
        };
        for request in requests.as_array().into_iter().flatten() {
            count += 1;
            if count > WRITES_MAX {
                return Ok(Err(WORDS.invalid(format!(
                    "Too many items requested for the BatchWriteItem call: at most {WRITES_MAX}"
                ))));
            }
            let (put, delete) = (&request["PutRequest"], &request["DeleteRequest"]);
            let (key, item) = if put.is_object() {
                let item = granted!(required(put.get("Item"), "item"));
                let (key, item) = granted!(item::checked(&table, item));
                (key, Some(item))
            } else if delete.is_object() {
                (granted!(key_of(&table, delete.get("Key"), "key")), None)
            } else {
                let what = "a request that is neither a PutRequest nor a DeleteRequest";
                return Ok(Err(WORDS.invalid(what)));
            };
            if seen.contains(&(table.id, key.clone())) {
                let message = "Provided list of item keys contains duplicates";
                return Ok(Err(WORDS.invalid(message)));
            }
            match item {
                Some(item) => kept.put_item(table.id, &key, &item)?,
                None => kept.remove_item(table.id, &key)?,
            }
            seen.push((table.id, key));
        }
    }
    Ok(Ok(json!({ "UnprocessedItems": {} })))
}

fn batch_get<K: Tables>(kept: &K, mut given: Parameters<'_>) -> Answer<K::Error> {
    let tables = granted!(by_table(&mut given));
    granted!(given.end(&WORDS));
    let (mut count, mut bytes) = (0, 0);
    let (mut responses, mut left) = (json!({}), json!({}));
    for (name, asked) in tables {
        let Some(table) = kept.table(name)? else {
            return Ok(Err(unknown()));
        };
        let mut asked = granted!(Parameters::of(asked, &WORDS));
        asked.pass_over(&NO_MATTER);
        let keys = asked.take("Keys").and_then(Value::as_array);
        granted!(asked.end(&WORDS));
        let (mut items, mut unread) = (Vec::new(), Vec::new());
        for key in keys.into_iter().flatten() {
            count += 1;
            if count > READS_MAX {
                return Ok(Err(WORDS.invalid(format!(
                    "Too many items requested for the BatchGetItem call: at most {READS_MAX}"
                ))));
            }
            if bytes > READ_BYTES_MAX {
                unread.push(key.clone());
                continue;
            }
            let key = granted!(key_of(&table, Some(key), "key"));
            if let Some(item) = kept.item(table.id, &key)? {
                bytes += item.len();
                items.push(parsed(&item));
            }
        }
        responses[name.as_str()] = items.into();
        if !unread.is_empty() {
            left[name.as_str()] = json!({ "Keys": unread });
        }
    }
    Ok(Ok(
        json!({ "Responses": responses, "UnprocessedKeys": left }),
    ))
}
