//! What Amazon S3 answers, by operation: the fields that its API reference lists, as AWS's SDK for Java
//! spells them.

use super::{FLAG, NUMBER, TEXT, Shape, may};

pub(super) static GET_OBJECT_OUTPUT: Shape = Shape::structure(&[
    may("Body", &TEXT),
    may("DeleteMarker", &FLAG),
    may("AcceptRanges", &TEXT),
    may("Expiration", &TEXT),
    may("Restore", &TEXT),
    may("LastModified", &TEXT),
    may("ContentLength", &NUMBER),
    may("ETag", &TEXT),
    may("ChecksumCRC32", &TEXT),
    may("ChecksumCRC32C", &TEXT),
    may("ChecksumCRC64NVME", &TEXT),
    may("ChecksumSHA1", &TEXT),
    may("ChecksumSHA256", &TEXT),
    may("ChecksumSHA512", &TEXT),
    may("ChecksumMD5", &TEXT),
    may("ChecksumXXHASH64", &TEXT),
    may("ChecksumXXHASH3", &TEXT),
    may("ChecksumXXHASH128", &TEXT),
    may("ChecksumType", &Shape::one_of(&["COMPOSITE", "FULL_OBJECT"])),
    may("MissingMeta", &NUMBER),
    may("VersionId", &TEXT),
    may("CacheControl", &TEXT),
    may("ContentDisposition", &TEXT),
    may("ContentEncoding", &TEXT),
    may("ContentLanguage", &TEXT),
    may("ContentRange", &TEXT),
    may("ContentType", &TEXT),
    may("Expires", &TEXT),
    may("WebsiteRedirectLocation", &TEXT),
    may("ServerSideEncryption", &Shape::one_of(&["AES256", "aws:fsx", "aws:backup", "aws:kms", "aws:kms:dsse"])),
    may("Metadata", &Shape::map(&TEXT)),
    may("SSECustomerAlgorithm", &TEXT),
    may("SSECustomerKeyMD5", &TEXT),
    may("SSEKMSKeyId", &TEXT),
    may("BucketKeyEnabled", &FLAG),
    may("StorageClass", &Shape::one_of(&["STANDARD", "REDUCED_REDUNDANCY", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER", "DEEP_ARCHIVE", "OUTPOSTS", "GLACIER_IR", "SNOW", "EXPRESS_ONEZONE", "FSX_OPENZFS", "FSX_ONTAP", "AWS_BACKUP_WARM", "AWS_BACKUP_LOW_COST_WARM"])),
    may("RequestCharged", &Shape::one_of(&["requester"])),
    may("ReplicationStatus", &Shape::one_of(&["COMPLETE", "PENDING", "FAILED", "REPLICA", "COMPLETED"])),
    may("PartsCount", &NUMBER),
    may("TagCount", &NUMBER),
    may("ObjectLockMode", &Shape::one_of(&["GOVERNANCE", "COMPLIANCE"])),
    may("ObjectLockRetainUntilDate", &TEXT),
    may("ObjectLockLegalHoldStatus", &Shape::one_of(&["ON", "OFF"])),
    may("ObjectLockEventHold", &Shape::one_of(&["ON", "OFF"])),
    may("ObjectLockEventHoldDurationDays", &NUMBER),
    may("ObjectLockEventHoldDurationYears", &NUMBER),
]);

pub(super) static PUT_OBJECT_OUTPUT: Shape = Shape::structure(&[
    may("Expiration", &TEXT),
    may("ETag", &TEXT),
    may("ChecksumCRC32", &TEXT),
    may("ChecksumCRC32C", &TEXT),
    may("ChecksumCRC64NVME", &TEXT),
    may("ChecksumSHA1", &TEXT),
    may("ChecksumSHA256", &TEXT),
    may("ChecksumSHA512", &TEXT),
    may("ChecksumMD5", &TEXT),
    may("ChecksumXXHASH64", &TEXT),
    may("ChecksumXXHASH3", &TEXT),
    may("ChecksumXXHASH128", &TEXT),
    may("ChecksumType", &Shape::one_of(&["COMPOSITE", "FULL_OBJECT"])),
    may("ServerSideEncryption", &Shape::one_of(&["AES256", "aws:fsx", "aws:backup", "aws:kms", "aws:kms:dsse"])),
    may("VersionId", &TEXT),
    may("SSECustomerAlgorithm", &TEXT),
    may("SSECustomerKeyMD5", &TEXT),
    may("SSEKMSKeyId", &TEXT),
    may("SSEKMSEncryptionContext", &TEXT),
    may("BucketKeyEnabled", &FLAG),
    may("Size", &NUMBER),
    may("RequestCharged", &Shape::one_of(&["requester"])),
]);

static OWNER: Shape = Shape::structure(&[
    may("DisplayName", &TEXT),
    may("ID", &TEXT),
]);

static RESTORE_STATUS: Shape = Shape::structure(&[
    may("IsRestoreInProgress", &FLAG),
    may("RestoreExpiryDate", &TEXT),
]);

static OBJECT: Shape = Shape::structure(&[
    may("Key", &Shape::text(1, usize::MAX)),
    may("LastModified", &TEXT),
    may("ETag", &TEXT),
    may("ChecksumAlgorithm", &Shape::list(&Shape::one_of(&["CRC32", "CRC32C", "SHA1", "SHA256", "CRC64NVME", "SHA512", "MD5", "XXHASH64", "XXHASH3", "XXHASH128"]))),
    may("ChecksumType", &Shape::one_of(&["COMPOSITE", "FULL_OBJECT"])),
    may("Size", &NUMBER),
    may("StorageClass", &Shape::one_of(&["STANDARD", "REDUCED_REDUNDANCY", "GLACIER", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "DEEP_ARCHIVE", "OUTPOSTS", "GLACIER_IR", "SNOW", "EXPRESS_ONEZONE", "FSX_OPENZFS", "FSX_ONTAP", "AWS_BACKUP_WARM", "AWS_BACKUP_LOW_COST_WARM"])),
    may("Owner", &OWNER),
    may("RestoreStatus", &RESTORE_STATUS),
]);

static COMMON_PREFIX: Shape = Shape::structure(&[
    may("Prefix", &TEXT),
]);

pub(super) static LIST_OBJECTS_V2_OUTPUT: Shape = Shape::structure(&[
    may("IsTruncated", &FLAG),
    may("Contents", &Shape::list(&OBJECT)),
    may("Name", &TEXT),
    may("Prefix", &TEXT),
    may("Delimiter", &TEXT),
    may("MaxKeys", &NUMBER),
    may("CommonPrefixes", &Shape::list(&COMMON_PREFIX)),
    may("EncodingType", &Shape::one_of(&["url"])),
    may("KeyCount", &NUMBER),
    may("ContinuationToken", &TEXT),
    may("NextContinuationToken", &TEXT),
    may("StartAfter", &TEXT),
    may("RequestCharged", &Shape::one_of(&["requester"])),
]);
