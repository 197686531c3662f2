//! Logging, tracing and encryption: what a machine or an activity is configured to, as AWS tells it.
//!
//! iterd has no CloudWatch, X-Ray or KMS to reach. It holds a configuration to AWS's rules, keeps it and
//! tells it again; whoever moves a machine to AWS finds the mistakes here.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    api::{ApiError, Fault},
    runtime::RuntimeError,
};

/// `loggingConfiguration`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Logging {
    #[serde(skip_serializing_if = "Option::is_none")]
    destinations: Option<Vec<Destination>>,
    include_execution_data: bool,
    level: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Destination {
    #[serde(skip_serializing_if = "Option::is_none")]
    cloud_watch_logs_log_group: Option<LogGroup>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LogGroup {
    #[serde(skip_serializing_if = "Option::is_none")]
    log_group_arn: Option<String>,
}

impl Default for Logging {
    fn default() -> Self {
        Self {
            destinations: None,
            include_execution_data: false,
            level: "OFF".to_owned(),
        }
    }
}

impl Logging {
    /// One destination at most, and one at least where something is logged.
    pub(super) fn check(&self) -> Result<(), ApiError> {
        let refuse = |why: &str| {
            let message = format!("Invalid Logging Configuration: {why}");
            Err(ApiError::states(
                Fault::InvalidLoggingConfiguration,
                message,
            ))
        };
        let destinations = self.destinations.as_deref().unwrap_or_default();
        if destinations.len() > 1 || (self.level != "OFF" && destinations.is_empty()) {
            return refuse("Must specify exactly one Log Destination.");
        }
        let is_group = |destination: &Destination| {
            let group = destination.cloud_watch_logs_log_group.as_ref();
            let arn = group.and_then(|group| group.log_group_arn.as_deref());
            arn.is_some_and(is_log_group)
        };
        if destinations.iter().all(is_group) {
            Ok(())
        } else {
            refuse("Log Destination is not a valid CloudWatch Log Group ARN.")
        }
    }
}

/// Spec: "The ARN must end with `:*`".
fn is_log_group(arn: &str) -> bool {
    let parts: Vec<&str> = arn.split(':').collect();
    matches!(parts.as_slice(), ["arn", partition, "logs", _, _, "log-group", name, "*"]
        if partition.starts_with("aws") && !name.is_empty())
}

/// `tracingConfiguration`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Tracing {
    enabled: bool,
}

/// `encryptionConfiguration`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Encryption {
    #[serde(skip_serializing_if = "Option::is_none")]
    kms_key_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kms_data_key_reuse_period_seconds: Option<u32>,
    r#type: String,
}

/// Spec: the default of `kmsDataKeyReusePeriodSeconds`.
const REUSE_PERIOD_S: u32 = 300;

impl Default for Encryption {
    fn default() -> Self {
        Self {
            kms_key_id: None,
            kms_data_key_reuse_period_seconds: None,
            r#type: "AWS_OWNED_KEY".to_owned(),
        }
    }
}

impl Encryption {
    /// A key where one is the customer's, and none where it is AWS's; with defaults filled in.
    pub(super) fn checked(mut self) -> Result<Self, ApiError> {
        let refuse = |why: &str| {
            let message = format!("Invalid Encryption Configuration: {why}");
            Err(ApiError::states(
                Fault::InvalidEncryptionConfiguration,
                message,
            ))
        };
        if self.r#type == "CUSTOMER_MANAGED_KMS_KEY" {
            if self.kms_key_id.is_none() {
                return refuse("kmsKeyId must be set when type is CUSTOMER_MANAGED_KMS_KEY");
            }
            self.kms_data_key_reuse_period_seconds
                .get_or_insert(REUSE_PERIOD_S);
        } else if self.kms_key_id.is_some() || self.kms_data_key_reuse_period_seconds.is_some() {
            return refuse(
                "kmsKeyId and kmsDataKeyReusePeriodSeconds must not be set when type is AWS_OWNED_KEY",
            );
        }
        Ok(self)
    }
}

/// A configuration as it is kept.
pub(super) fn stored(configuration: &impl Serialize) -> Result<String, ApiError> {
    serde_json::to_string(configuration).map_err(|error| damaged("a configuration", &error).into())
}

/// A configuration as it was kept.
pub(super) fn told(stored: &str) -> Result<Value, ApiError> {
    serde_json::from_str(stored).map_err(|error| damaged("a stored configuration", &error).into())
}

fn damaged(what: &str, error: &serde_json::Error) -> RuntimeError {
    RuntimeError::Damaged {
        what: what.to_owned(),
        cause: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const GROUP: &str = "arn:aws:logs:us-east-1:000000000000:log-group:/aws/states/pay:*";

    fn logging(input: Value) -> Result<Value, String> {
        let logging: Logging = serde_json::from_value(input).unwrap();
        logging.check().map_err(|error| error.message)?;
        Ok(told(&stored(&logging).unwrap()).unwrap())
    }

    #[test]
    fn what_is_not_said_about_logging_is_told_with_its_default() {
        let off = json!({"includeExecutionData": false, "level": "OFF"});
        assert_eq!(logging(json!({})).unwrap(), off);
        assert_eq!(
            logging(json!({"destinations": []})).unwrap(),
            json!({"destinations": [], "includeExecutionData": false, "level": "OFF"})
        );
        let all = json!({
            "destinations": [{"cloudWatchLogsLogGroup": {"logGroupArn": GROUP}}],
            "includeExecutionData": true, "level": "ALL",
        });
        assert_eq!(logging(all.clone()).unwrap(), all);
    }

    #[test]
    fn logging_has_one_destination_where_something_is_logged() {
        let group = json!({"cloudWatchLogsLogGroup": {"logGroupArn": GROUP}});
        let one = "Invalid Logging Configuration: Must specify exactly one Log Destination.";
        assert_eq!(logging(json!({"level": "ALL"})).unwrap_err(), one);
        let two = json!({"level": "OFF", "destinations": [group, group]});
        assert_eq!(logging(two).unwrap_err(), one);
        for arn in ["arn:aws:logs:us-east-1:000000000000:log-group:g", "g", ""] {
            let other = json!({"destinations": [{"cloudWatchLogsLogGroup": {"logGroupArn": arn}}]});
            assert!(
                logging(other).unwrap_err().contains("Log Group ARN"),
                "{arn}"
            );
        }
        let none = json!({"destinations": [{}]});
        assert!(logging(none).unwrap_err().contains("Log Group ARN"));
    }

    #[test]
    fn a_key_is_named_where_it_is_the_customers_and_only_there() {
        let check = |input: Value| {
            let encryption: Encryption = serde_json::from_value(input).unwrap();
            encryption
                .checked()
                .map(|good| serde_json::to_value(good).unwrap())
        };
        let owned = json!({"type": "AWS_OWNED_KEY"});
        assert_eq!(check(owned.clone()).unwrap(), owned);
        assert_eq!(
            check(json!({"type": "CUSTOMER_MANAGED_KMS_KEY", "kmsKeyId": "k"})).unwrap(),
            json!({"kmsKeyId": "k", "kmsDataKeyReusePeriodSeconds": 300, "type": "CUSTOMER_MANAGED_KMS_KEY"})
        );
        for wrong in [
            json!({"type": "CUSTOMER_MANAGED_KMS_KEY"}),
            json!({"type": "AWS_OWNED_KEY", "kmsKeyId": "k"}),
            json!({"type": "AWS_OWNED_KEY", "kmsDataKeyReusePeriodSeconds": 60}),
        ] {
            let error = check(wrong).unwrap_err();
            assert_eq!(error.kind.name(), "InvalidEncryptionConfiguration");
        }
    }
}
