//! What Amazon DynamoDB answers, by operation: the fields that its API reference lists, as AWS's SDK for Java
//! spells them.

use super::{FLAG, NUMBER, Shape, TEXT, may};

static ATTRIBUTE_VALUE: Shape = Shape::structure(&[
    may("S", &TEXT),
    may("N", &TEXT),
    may("B", &TEXT),
    may("SS", &Shape::list(&TEXT)),
    may("NS", &Shape::list(&TEXT)),
    may("BS", &Shape::list(&TEXT)),
    may("M", &Shape::map(&ATTRIBUTE_VALUE)),
    may("L", &Shape::list(&ATTRIBUTE_VALUE)),
    may("NULL", &FLAG),
    may("BOOL", &FLAG),
]);

static CAPACITY: Shape = Shape::structure(&[
    may("ReadCapacityUnits", &NUMBER),
    may("WriteCapacityUnits", &NUMBER),
    may("CapacityUnits", &NUMBER),
]);

static VECTOR_CAPACITY: Shape = Shape::structure(&[
    may("VectorSearchRequestBytes", &NUMBER),
    may("VectorWriteRequestBytes", &NUMBER),
]);

static CONSUMED_CAPACITY: Shape = Shape::structure(&[
    may("TableName", &Shape::text(1, 1_024)),
    may("CapacityUnits", &NUMBER),
    may("ReadCapacityUnits", &NUMBER),
    may("WriteCapacityUnits", &NUMBER),
    may("Table", &CAPACITY),
    may("LocalSecondaryIndexes", &Shape::map(&CAPACITY)),
    may("GlobalSecondaryIndexes", &Shape::map(&CAPACITY)),
    may("VectorIndexes", &Shape::map(&VECTOR_CAPACITY)),
]);

pub(super) static GET_ITEM_OUTPUT: Shape = Shape::structure(&[
    may("Item", &Shape::map(&ATTRIBUTE_VALUE)),
    may("ConsumedCapacity", &CONSUMED_CAPACITY),
]);

static ITEM_COLLECTION_METRICS: Shape = Shape::structure(&[
    may("ItemCollectionKey", &Shape::map(&ATTRIBUTE_VALUE)),
    may("SizeEstimateRangeGB", &Shape::list(&NUMBER)),
]);

pub(super) static PUT_ITEM_OUTPUT: Shape = Shape::structure(&[
    may("Attributes", &Shape::map(&ATTRIBUTE_VALUE)),
    may("ConsumedCapacity", &CONSUMED_CAPACITY),
    may("ItemCollectionMetrics", &ITEM_COLLECTION_METRICS),
]);

pub(super) static UPDATE_ITEM_OUTPUT: Shape = Shape::structure(&[
    may("Attributes", &Shape::map(&ATTRIBUTE_VALUE)),
    may("ConsumedCapacity", &CONSUMED_CAPACITY),
    may("ItemCollectionMetrics", &ITEM_COLLECTION_METRICS),
]);

pub(super) static DELETE_ITEM_OUTPUT: Shape = Shape::structure(&[
    may("Attributes", &Shape::map(&ATTRIBUTE_VALUE)),
    may("ConsumedCapacity", &CONSUMED_CAPACITY),
    may("ItemCollectionMetrics", &ITEM_COLLECTION_METRICS),
]);

pub(super) static QUERY_OUTPUT: Shape = Shape::structure(&[
    may("Items", &Shape::list(&Shape::map(&ATTRIBUTE_VALUE))),
    may("Count", &NUMBER),
    may("ScannedCount", &NUMBER),
    may("LastEvaluatedKey", &Shape::map(&ATTRIBUTE_VALUE)),
    may("ConsumedCapacity", &CONSUMED_CAPACITY),
]);
