//! Which services there are, and what a client has to know of each: its names, its protocol, its words.
//!
//! A table and look-ups, nothing else. A service is a row; one that speaks a protocol that is here needs
//! no code. Spec: the service models of AWS's SDKs (names, targets, signing names), and the errors of AWS
//! Step Functions, whose own tasks are made with the SDK of 2010 and whose `aws-sdk:` ones with its
//! successor: that is why a service has two sets of names.

/// What is known of a service.
#[derive(Debug)]
pub(super) struct Service {
    /// As resources name it; the settings take each of them.
    pub(super) names: &'static [&'static str],
    /// What errors of `aws-sdk:` tasks begin with, and what their causes call it: `DynamoDb`.
    pub(super) id: &'static str,
    /// What errors of the other tasks begin with, and what their causes call it: `DynamoDB`,
    /// `AmazonDynamoDBv2`.
    pub(super) former: (&'static str, &'static str),
    /// What signatures call it.
    pub(super) signing: &'static str,
    /// The first part of its host: `HOST.REGION.amazonaws.com`.
    pub(super) host: &'static str,
    /// How it is spoken to.
    pub(super) protocol: Protocol,
    /// Which codes are errors of its own. All others have the name of the service.
    pub(super) errors: Errors,
}

/// How a service is spoken to.
#[derive(Debug)]
pub(super) enum Protocol {
    /// AWS JSON: a header names the operation, the body is a document, so is the answer.
    Json {
        /// What the header says before the operation.
        target: &'static str,
        /// `1.0` or `1.1`.
        version: &'static str,
        /// Whether its own names begin small, which tasks write with a capital; and which of its members
        /// hold names of the user's, which stay as they are.
        small: Option<&'static [&'static str]>,
    },
    /// A form that names the operation; the answer is XML.
    Query {
        /// Of the API: `2010-03-31`.
        version: &'static str,
    },
    /// Amazon S3's own.
    S3,
    /// AWS Lambda's own.
    Lambda,
    /// HTTP, of an API behind Amazon API Gateway.
    Gateway,
}

/// Which codes are errors of a service's own.
#[derive(Debug)]
pub(super) enum Errors {
    /// These.
    Only(&'static [&'static str]),
    /// All but those of [`COMMON`], and these of them.
    AllBut(&'static [&'static str]),
}

/// Codes that any service may answer with, and most have no error of their own for.
const COMMON: [&str; 40] = [
    "AccessDenied",
    "AccessDeniedException",
    "AuthFailure",
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InternalError",
    "InternalFailure",
    "InternalServerException",
    "InternalServiceError",
    "InvalidAction",
    "InvalidClientTokenId",
    "InvalidParameterCombination",
    "InvalidParameterValue",
    "InvalidQueryParameter",
    "InvalidSignatureException",
    "MalformedQueryString",
    "MissingAction",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "MissingParameter",
    "NotAuthorized",
    "OptInRequired",
    "RequestExpired",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "SerializationException",
    "ServiceUnavailable",
    "ServiceUnavailableException",
    "SignatureDoesNotMatch",
    "SlowDown",
    "ThrottledException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    "UnknownOperationException",
    "UnrecognizedClientException",
    "ValidationError",
    "ValidationException",
];

impl Errors {
    /// Whether a code is an error of the service's own.
    pub(super) fn has(&self, code: &str) -> bool {
        match self {
            Self::Only(own) => own.contains(&code),
            Self::AllBut(own) => own.contains(&code) || !COMMON.contains(&code),
        }
    }
}

/// The service of a name; `None` where there is none.
pub(super) fn find(name: &str) -> Option<&'static Service> {
    SERVICES
        .iter()
        .find(|service| service.names.contains(&name))
}

/// Every name of every service.
pub(super) fn names() -> impl Iterator<Item = &'static str> + Clone {
    SERVICES.iter().flat_map(|service| service.names).copied()
}

/// A service that speaks AWS JSON.
const fn json(
    names: &'static [&'static str],
    [id, former, label]: [&'static str; 3],
    [signing, host]: [&'static str; 2],
    [target, version]: [&'static str; 2],
    common: &'static [&'static str],
) -> Service {
    Service {
        names,
        id,
        former: (former, label),
        signing,
        host,
        protocol: Protocol::Json {
            target,
            version,
            small: None,
        },
        errors: Errors::AllBut(common),
    }
}

/// One whose own names begin small.
const fn small(service: Service, users: &'static [&'static str]) -> Service {
    let protocol = match service.protocol {
        Protocol::Json {
            target, version, ..
        } => Protocol::Json {
            target,
            version,
            small: Some(users),
        },
        other @ (Protocol::Query { .. } | Protocol::S3 | Protocol::Lambda | Protocol::Gateway) => {
            other
        }
    };
    Service {
        protocol,
        ..service
    }
}

/// One row for each.
#[rustfmt::skip]
static SERVICES: [Service; 42] = [
    Service {
        names: &["apigateway"],
        id: "ApiGateway",
        former: ("ApiGateway", "ApiGateway"),
        signing: "execute-api",
        host: "execute-api",
        protocol: Protocol::Gateway,
        errors: Errors::AllBut(&[]),
    },
    Service {
        names: &["lambda"],
        id: "Lambda",
        former: ("Lambda", "AWSLambda"),
        signing: "lambda",
        host: "lambda",
        protocol: Protocol::Lambda,
        errors: Errors::AllBut(&["TooManyRequestsException"]),
    },
    Service {
        names: &["s3"],
        id: "S3",
        former: ("S3", "AmazonS3"),
        signing: "s3",
        host: "s3",
        protocol: Protocol::S3,
        errors: Errors::Only(&[
            "BucketAlreadyExists", "BucketAlreadyOwnedByYou", "EncryptionTypeMismatch", "InvalidObjectState",
            "InvalidRequest", "InvalidWriteOffset", "NoSuchBucket", "NoSuchKey", "NoSuchUpload",
            "ObjectAlreadyInActiveTierError", "ObjectNotInActiveTierError", "TooManyParts",
        ]),
    },
    Service {
        names: &["sns"],
        id: "Sns",
        former: ("SNS", "AmazonSNS"),
        signing: "sns",
        host: "sns",
        protocol: Protocol::Query { version: "2010-03-31" },
        errors: Errors::AllBut(&[]),
    },
    Service {
        names: &["sqs"],
        id: "Sqs",
        former: ("SQS", "AmazonSQS"),
        signing: "sqs",
        host: "sqs",
        protocol: Protocol::Json { target: "AmazonSQS", version: "1.0", small: None },
        // Its codes are those of its former protocol in part: named in full what is its own.
        errors: Errors::Only(&["BatchEntryIdsNotDistinct", "BatchRequestTooLong", "EmptyBatchRequest", "InvalidAddress", "InvalidAttributeName", "InvalidAttributeValue", "InvalidBatchEntryId", "InvalidIdFormat", "InvalidMessageContents", "InvalidSecurity", "KmsAccessDenied", "KmsDisabled", "KmsInvalidKeyUsage", "KmsInvalidState", "KmsNotFound", "KmsOptInRequired", "KmsThrottled", "MessageNotInflight", "OverLimit", "PurgeQueueInProgress", "QueueDeletedRecently", "QueueDoesNotExist", "QueueNameExists", "ReceiptHandleIsInvalid", "RequestThrottled", "ResourceNotFoundException", "TooManyEntriesInBatchRequest", "UnsupportedOperation"]),
    },
    json(&["acm"], ["Acm", "Acm", "Acm"], ["acm", "acm"], ["CertificateManager", "1.1"], &["AccessDeniedException", "InternalServerException", "ThrottlingException", "ValidationException"]),
    json(&["applicationautoscaling"], ["ApplicationAutoScaling", "ApplicationAutoScaling", "ApplicationAutoScaling"], ["application-autoscaling", "application-autoscaling"], ["AnyScaleFrontendService", "1.1"], &["ValidationException"]),
    json(&["athena"], ["Athena", "Athena", "AmazonAthena"], ["athena", "athena"], ["AmazonAthena", "1.1"], &["InternalServerException", "TooManyRequestsException"]),
    json(&["cloudtrail"], ["CloudTrail", "CloudTrail", "CloudTrail"], ["cloudtrail", "cloudtrail"], ["com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101", "1.1"], &["AccessDeniedException", "ThrottlingException"]),
    small(json(&["cloudwatchlogs"], ["CloudWatchLogs", "CloudWatchLogs", "CloudWatchLogs"], ["logs", "logs"], ["Logs_20140328", "1.1"], &["AccessDeniedException", "InternalServerException", "ServiceUnavailableException", "ThrottlingException", "UnrecognizedClientException", "ValidationException"]), &["attributes", "deliverySourceConfiguration", "dimensions", "enumerations", "extractedValues", "histogram", "keyAttributes", "logRecord", "tags"]),
    small(json(&["codebuild"], ["CodeBuild", "CodeBuild", "AWSCodeBuild"], ["codebuild", "codebuild"], ["CodeBuild_20161006", "1.1"], &[]), &["statusCounts"]),
    small(json(&["codedeploy"], ["CodeDeploy", "CodeDeploy", "CodeDeploy"], ["codedeploy", "codedeploy"], ["CodeDeploy_20141006", "1.1"], &["ThrottlingException"]), &["targetFilters"]),
    small(json(&["codepipeline"], ["CodePipeline", "CodePipeline", "CodePipeline"], ["codepipeline", "codepipeline"], ["CodePipeline_20150709", "1.1"], &["ValidationException"]), &["artifactStores", "configuration", "outputVariables", "queryParam", "resolvedConfiguration"]),
    json(&["cognitoidentity"], ["CognitoIdentity", "CognitoIdentity", "CognitoIdentity"], ["cognito-identity", "cognito-identity"], ["AWSCognitoIdentityService", "1.1"], &["TooManyRequestsException"]),
    json(&["cognitoidentityprovider"], ["CognitoIdentityProvider", "CognitoIdentityProvider", "CognitoIdentityProvider"], ["cognito-idp", "cognito-idp"], ["AWSCognitoIdentityProviderService", "1.1"], &["AccessDeniedException", "InternalServerException", "TooManyRequestsException"]),
    json(&["comprehend"], ["Comprehend", "Comprehend", "Comprehend"], ["comprehend", "comprehend"], ["Comprehend_20171127", "1.1"], &["InternalServerException", "TooManyRequestsException"]),
    json(&["config"], ["Config", "Config", "Config"], ["config", "config"], ["StarlingDoveService", "1.1"], &["ValidationException"]),
    json(&["dynamodb"], ["DynamoDb", "DynamoDB", "AmazonDynamoDBv2"], ["dynamodb", "dynamodb"], ["DynamoDB_20120810", "1.0"], &["RequestLimitExceeded", "ThrottlingException"]),
    json(&["dynamodbstreams"], ["DynamoDbStreams", "DynamoDbStreams", "DynamoDbStreams"], ["dynamodb", "streams.dynamodb"], ["DynamoDBStreams_20120810", "1.0"], &[]),
    small(json(&["ecr"], ["Ecr", "Ecr", "Ecr"], ["ecr", "api.ecr"], ["AmazonEC2ContainerRegistry_V20150921", "1.1"], &["ValidationException"]), &["annotations", "findingSeverityCounts", "tags"]),
    small(json(&["ecs"], ["Ecs", "ECS", "AmazonECS"], ["ecs", "ecs"], ["AmazonEC2ContainerServiceV20141113", "1.1"], &["AccessDeniedException"]), &["dockerLabels", "driverOpts", "hookDetails", "labels", "options"]),
    json(&["emr", "elasticmapreduce"], ["Emr", "ElasticMapReduce", "AmazonElasticMapReduce"], ["elasticmapreduce", "elasticmapreduce"], ["ElasticMapReduce", "1.1"], &["InternalServerException"]),
    json(&["events", "eventbridge"], ["EventBridge", "EventBridge", "AmazonEventBridge"], ["events", "events"], ["AWSEvents", "1.1"], &["AccessDeniedException", "ThrottlingException"]),
    json(&["firehose"], ["Firehose", "Firehose", "Firehose"], ["firehose", "firehose"], ["Firehose_20150804", "1.1"], &["ServiceUnavailableException"]),
    json(&["glue"], ["Glue", "Glue", "AWSGlue"], ["glue", "glue"], ["AWSGlue", "1.1"], &["AccessDeniedException", "InternalServerException", "ThrottlingException", "ValidationException"]),
    json(&["kinesis"], ["Kinesis", "Kinesis", "Kinesis"], ["kinesis", "kinesis"], ["Kinesis_20131202", "1.1"], &["AccessDeniedException", "ValidationException"]),
    json(&["kms"], ["Kms", "Kms", "Kms"], ["kms", "kms"], ["TrentService", "1.1"], &[]),
    json(&["organizations"], ["Organizations", "Organizations", "Organizations"], ["organizations", "organizations"], ["AWSOrganizationsV20161128", "1.1"], &["AccessDeniedException", "TooManyRequestsException"]),
    json(&["redshiftdata"], ["RedshiftData", "RedshiftData", "RedshiftData"], ["redshift-data", "redshift-data"], ["RedshiftData", "1.1"], &["InternalServerException", "ValidationException"]),
    json(&["rekognition"], ["Rekognition", "Rekognition", "Rekognition"], ["rekognition", "rekognition"], ["RekognitionService", "1.1"], &["AccessDeniedException", "ThrottlingException"]),
    json(&["resourcegroupstaggingapi"], ["ResourceGroupsTaggingApi", "ResourceGroupsTaggingApi", "ResourceGroupsTaggingApi"], ["tagging", "tagging"], ["ResourceGroupsTaggingAPI_20170126", "1.1"], &["ThrottledException"]),
    json(&["sagemaker"], ["SageMaker", "SageMaker", "AmazonSageMaker"], ["sagemaker", "api.sagemaker"], ["SageMaker", "1.1"], &[]),
    json(&["secretsmanager"], ["SecretsManager", "SecretsManager", "SecretsManager"], ["secretsmanager", "secretsmanager"], ["secretsmanager", "1.1"], &["InternalServiceError"]),
    json(&["servicediscovery"], ["ServiceDiscovery", "ServiceDiscovery", "ServiceDiscovery"], ["servicediscovery", "servicediscovery"], ["Route53AutoNaming_v20170314", "1.1"], &["RequestLimitExceeded"]),
    small(json(&["sfn", "states"], ["Sfn", "StepFunctions", "AWSStepFunctions"], ["states", "states"], ["AWSStepFunctions", "1.0"], &["ValidationException"]), &["assignedVariables", "variableReferences"]),
    json(&["ssm"], ["Ssm", "Ssm", "Ssm"], ["ssm", "ssm"], ["AmazonSSM", "1.1"], &["AccessDeniedException", "ThrottlingException", "ValidationException"]),
    json(&["textract"], ["Textract", "Textract", "Textract"], ["textract", "textract"], ["Textract", "1.1"], &["AccessDeniedException", "ThrottlingException", "ValidationException"]),
    json(&["timestreamquery"], ["TimestreamQuery", "TimestreamQuery", "TimestreamQuery"], ["timestream", "query.timestream"], ["Timestream_20181101", "1.0"], &["AccessDeniedException", "InternalServerException", "ThrottlingException", "ValidationException"]),
    json(&["transcribe"], ["Transcribe", "Transcribe", "Transcribe"], ["transcribe", "transcribe"], ["Transcribe", "1.1"], &[]),
    json(&["translate"], ["Translate", "Translate", "Translate"], ["translate", "translate"], ["AWSShineFrontendService_20170701", "1.1"], &["InternalServerException", "ServiceUnavailableException", "TooManyRequestsException"]),
    json(&["wafv2"], ["Wafv2", "Wafv2", "Wafv2"], ["wafv2", "wafv2"], ["AWSWAF_20190729", "1.1"], &[]),
    json(&["workspaces"], ["WorkSpaces", "WorkSpaces", "WorkSpaces"], ["workspaces", "workspaces"], ["WorkspacesService", "1.1"], &["AccessDeniedException", "InternalServerException", "ValidationException"]),
];
