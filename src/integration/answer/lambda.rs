//! What AWS Lambda answers, by operation: the fields that its API reference lists, as AWS's SDK for Java
//! spells them.

use super::{FLAG, NUMBER, Shape, TEXT, may, must};

pub(super) static INVOCATION_RESPONSE: Shape = Shape::structure(&[
    may("StatusCode", &NUMBER),
    may("FunctionError", &TEXT),
    may("LogResult", &TEXT),
    may("Payload", &TEXT),
    may("ExecutedVersion", &Shape::text(1, 1_024)),
    may("DurableExecutionArn", &Shape::text(1, 1_024)),
]);

static VPC_CONFIG_RESPONSE: Shape = Shape::structure(&[
    may("SubnetIds", &Shape::list(&Shape::text(0, 1_024))),
    may("SecurityGroupIds", &Shape::list(&Shape::text(0, 1_024))),
    may("VpcId", &TEXT),
    may("Ipv6AllowedForDualStack", &FLAG),
]);

static DEAD_LETTER_CONFIG: Shape = Shape::structure(&[may("TargetArn", &Shape::text(0, 10_000))]);

static ENVIRONMENT_ERROR: Shape =
    Shape::structure(&[may("ErrorCode", &TEXT), may("Message", &TEXT)]);

static ENVIRONMENT_RESPONSE: Shape = Shape::structure(&[
    may("Variables", &Shape::map(&TEXT)),
    may("Error", &ENVIRONMENT_ERROR),
]);

static TRACING_CONFIG_RESPONSE: Shape =
    Shape::structure(&[may("Mode", &Shape::one_of(&["Active", "PassThrough"]))]);

static LAYER: Shape = Shape::structure(&[
    may("Arn", &Shape::text(1, 2_048)),
    may("CodeSize", &NUMBER),
    may("SigningProfileVersionArn", &Shape::text(0, 10_000)),
    may("SigningJobArn", &Shape::text(0, 10_000)),
]);

static S3_FILES_CONFIG: Shape = Shape::structure(&[may(
    "DirectS3Read",
    &Shape::one_of(&["ENABLED", "DISABLED", "AUTO"]),
)]);

static FILE_SYSTEM_CONFIG: Shape = Shape::structure(&[
    must("Arn", &Shape::text(0, 256)),
    must("LocalMountPath", &Shape::text(0, 160)),
    may("S3FilesConfig", &S3_FILES_CONFIG),
]);

static IMAGE_CONFIG: Shape = Shape::structure(&[
    may("EntryPoint", &Shape::list(&TEXT)),
    may("Command", &Shape::list(&TEXT)),
    may("WorkingDirectory", &Shape::text(0, 1_000)),
]);

static IMAGE_CONFIG_ERROR: Shape =
    Shape::structure(&[may("ErrorCode", &TEXT), may("Message", &TEXT)]);

static IMAGE_CONFIG_RESPONSE: Shape = Shape::structure(&[
    may("ImageConfig", &IMAGE_CONFIG),
    may("Error", &IMAGE_CONFIG_ERROR),
]);

static EPHEMERAL_STORAGE: Shape =
    Shape::structure(&[must("Size", &Shape::number(512.0, 32_768.0))]);

static SNAP_START_RESPONSE: Shape = Shape::structure(&[
    may("ApplyOn", &Shape::one_of(&["PublishedVersions", "None"])),
    may("OptimizationStatus", &Shape::one_of(&["On", "Off"])),
]);

static RUNTIME_VERSION_ERROR: Shape =
    Shape::structure(&[may("ErrorCode", &TEXT), may("Message", &TEXT)]);

static RUNTIME_VERSION_CONFIG: Shape = Shape::structure(&[
    may("RuntimeVersionArn", &Shape::text(26, 2_048)),
    may("Error", &RUNTIME_VERSION_ERROR),
]);

static LOGGING_CONFIG: Shape = Shape::structure(&[
    may("LogFormat", &Shape::one_of(&["JSON", "Text"])),
    may(
        "ApplicationLogLevel",
        &Shape::one_of(&["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"]),
    ),
    may("SystemLogLevel", &Shape::one_of(&["DEBUG", "INFO", "WARN"])),
    may("LogGroup", &Shape::text(1, 512)),
]);

static TENANCY_CONFIG: Shape =
    Shape::structure(&[must("TenantIsolationMode", &Shape::one_of(&["PER_TENANT"]))]);

static LAMBDA_MANAGED_INSTANCES_CAPACITY_PROVIDER_CONFIG: Shape = Shape::structure(&[
    must("CapacityProviderArn", &Shape::text(1, 140)),
    may(
        "PerExecutionEnvironmentMaxConcurrency",
        &Shape::number(1.0, 1_600.0),
    ),
    may(
        "ExecutionEnvironmentMemoryGiBPerVCpu",
        &Shape::number(2.0, 8.0),
    ),
]);

static CAPACITY_PROVIDER_CONFIG: Shape = Shape::structure(&[must(
    "LambdaManagedInstancesCapacityProviderConfig",
    &LAMBDA_MANAGED_INSTANCES_CAPACITY_PROVIDER_CONFIG,
)]);

static DURABLE_CONFIG: Shape = Shape::structure(&[
    may("KMSKeyArn", &Shape::text(0, 10_000)),
    may("RetentionPeriodInDays", &Shape::number(1.0, 90.0)),
    may("ExecutionTimeout", &Shape::number(1.0, 31_622_400.0)),
]);

static FUNCTION_CONFIGURATION: Shape = Shape::structure(&[
    may("FunctionName", &Shape::text(1, 256)),
    may("FunctionArn", &Shape::text(0, 10_000)),
    may("Runtime", &TEXT),
    may("Role", &Shape::text(0, 10_000)),
    may("Handler", &Shape::text(0, 128)),
    may("CodeSize", &NUMBER),
    may("Description", &Shape::text(0, 256)),
    may("Timeout", &Shape::number(1.0, 5_400.0)),
    may("MemorySize", &Shape::number(128.0, 10_240.0)),
    may("LastModified", &Shape::text(0, 100)),
    may("CodeSha256", &TEXT),
    may("Version", &Shape::text(1, 1_024)),
    may("VpcConfig", &VPC_CONFIG_RESPONSE),
    may("DeadLetterConfig", &DEAD_LETTER_CONFIG),
    may("Environment", &ENVIRONMENT_RESPONSE),
    may("KMSKeyArn", &Shape::text(0, 10_000)),
    may("TracingConfig", &TRACING_CONFIG_RESPONSE),
    may("MasterArn", &Shape::text(0, 10_000)),
    may("RevisionId", &TEXT),
    may("Layers", &Shape::list(&LAYER)),
    may(
        "State",
        &Shape::one_of(&[
            "Pending",
            "Active",
            "Inactive",
            "Failed",
            "Deactivating",
            "Deactivated",
            "ActiveNonInvocable",
            "Deleting",
        ]),
    ),
    may("StateReason", &TEXT),
    may("StateReasonCode", &TEXT),
    may(
        "LastUpdateStatus",
        &Shape::one_of(&["Successful", "Failed", "InProgress"]),
    ),
    may("LastUpdateStatusReason", &TEXT),
    may("LastUpdateStatusReasonCode", &TEXT),
    may("FileSystemConfigs", &Shape::list(&FILE_SYSTEM_CONFIG)),
    may("SigningProfileVersionArn", &Shape::text(0, 10_000)),
    may("SigningJobArn", &Shape::text(0, 10_000)),
    may("PackageType", &Shape::one_of(&["Zip", "Image"])),
    may("ImageConfigResponse", &IMAGE_CONFIG_RESPONSE),
    may(
        "Architectures",
        &Shape::list(&Shape::one_of(&["x86_64", "arm64"])),
    ),
    may("EphemeralStorage", &EPHEMERAL_STORAGE),
    may("SnapStart", &SNAP_START_RESPONSE),
    may("RuntimeVersionConfig", &RUNTIME_VERSION_CONFIG),
    may("LoggingConfig", &LOGGING_CONFIG),
    may("TenancyConfig", &TENANCY_CONFIG),
    may("CapacityProviderConfig", &CAPACITY_PROVIDER_CONFIG),
    may("ConfigSha256", &TEXT),
    may("DurableConfig", &DURABLE_CONFIG),
]);

static RESOLVED_S3_OBJECT: Shape = Shape::structure(&[
    may("S3Bucket", &Shape::text(3, 63)),
    may("S3Key", &Shape::text(1, 1_024)),
    may("S3ObjectVersion", &Shape::text(1, 1_024)),
]);

static FUNCTION_CODE_LOCATION_ERROR: Shape =
    Shape::structure(&[may("ErrorCode", &TEXT), may("Message", &TEXT)]);

static FUNCTION_CODE_LOCATION: Shape = Shape::structure(&[
    may("RepositoryType", &TEXT),
    may("Location", &Shape::text(0, 10_000)),
    may("ImageUri", &TEXT),
    may("ResolvedImageUri", &TEXT),
    may("ResolvedS3Object", &RESOLVED_S3_OBJECT),
    may("SourceKMSKeyArn", &Shape::text(0, 10_000)),
    may("Error", &FUNCTION_CODE_LOCATION_ERROR),
]);

static TAGS_ERROR: Shape = Shape::structure(&[
    must("ErrorCode", &Shape::text(10, 21)),
    must("Message", &Shape::text(84, 1_000)),
]);

static CONCURRENCY: Shape = Shape::structure(&[may(
    "ReservedConcurrentExecutions",
    &Shape::number(0.0, f64::INFINITY),
)]);

pub(super) static GET_FUNCTION_RESPONSE: Shape = Shape::structure(&[
    may("Configuration", &FUNCTION_CONFIGURATION),
    may("Code", &FUNCTION_CODE_LOCATION),
    may("Tags", &Shape::map(&Shape::text(0, 256))),
    may("TagsError", &TAGS_ERROR),
    may("Concurrency", &CONCURRENCY),
]);
/// As the optimized integration answers: the payload is what the function returned, and no text of it.
pub(super) static INVOKED: Shape = Shape::structure(&[
    may("StatusCode", &NUMBER),
    may("FunctionError", &TEXT),
    may("LogResult", &TEXT),
    may("ExecutedVersion", &Shape::text(1, 1024)),
]);
