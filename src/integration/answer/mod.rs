//! What services answer, as far as it is known here: whether a JSON value could be the answer of an
//! operation. A file for each service.
//!
//! Owns the shapes and the sentences about what does not fit them. An operation that is not listed in
//! [`of_resource`] has no shape, and anything could be its answer. Enumerations of more than 16 words are
//! left open, because services add to them.

mod dynamodb;
mod events;
mod kms;
mod lambda;
mod s3;
mod secrets_manager;
mod sfn;
mod sns;
mod sqs;

use serde_json::Value;

/// What an answer, or a field of it, is like.
#[derive(Debug, PartialEq)]
pub struct Shape(Kind);

#[derive(Debug, PartialEq)]
enum Kind {
    Text { chars_min: usize, chars_max: usize },
    OneOf(&'static [&'static str]),
    Number { min: f64, max: f64 },
    Flag,
    List(&'static Shape),
    Map(&'static Shape),
    Structure(&'static [Field]),
}

#[derive(Debug, PartialEq)]
struct Field {
    name: &'static str,
    required: bool,
    shape: &'static Shape,
}

/// How closely an answer is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closeness {
    /// What is there fits, and everything that must be there is.
    Strict,
    /// What is there fits.
    Present,
}

static TEXT: Shape = Shape::text(0, usize::MAX);
static NUMBER: Shape = Shape::number(f64::NEG_INFINITY, f64::INFINITY);
static FLAG: Shape = Shape(Kind::Flag);

const fn may(name: &'static str, shape: &'static Shape) -> Field {
    Field {
        name,
        required: false,
        shape,
    }
}

const fn must(name: &'static str, shape: &'static Shape) -> Field {
    Field {
        name,
        required: true,
        shape,
    }
}

/// The shape of what a task's resource answers; `None`: it is not known here, or it is whoever has the
/// task's token that answers.
#[must_use]
pub fn of_resource(resource: &str) -> Option<&'static Shape> {
    let (_, task) = resource.split_once(":states:::")?;
    let (sdk, task) = match task.strip_prefix("aws-sdk:") {
        Some(task) => (true, task),
        None => (false, task),
    };
    let shape = match task {
        "lambda:invoke" if !sdk => &lambda::INVOKED,
        "lambda:invoke" => &lambda::INVOCATION_RESPONSE,
        "lambda:getFunction" => &lambda::GET_FUNCTION_RESPONSE,
        "events:putEvents" | "eventbridge:putEvents" => &events::PUT_EVENTS_RESPONSE,
        "states:startExecution" | "sfn:startExecution" => &sfn::START_EXECUTION_OUTPUT,
        "sfn:startSyncExecution" => &sfn::START_SYNC_EXECUTION_OUTPUT,
        "sfn:describeExecution" => &sfn::DESCRIBE_EXECUTION_OUTPUT,
        "dynamodb:getItem" => &dynamodb::GET_ITEM_OUTPUT,
        "dynamodb:putItem" => &dynamodb::PUT_ITEM_OUTPUT,
        "dynamodb:updateItem" => &dynamodb::UPDATE_ITEM_OUTPUT,
        "dynamodb:deleteItem" => &dynamodb::DELETE_ITEM_OUTPUT,
        "dynamodb:query" => &dynamodb::QUERY_OUTPUT,
        "sqs:sendMessage" => &sqs::SEND_MESSAGE_RESULT,
        "sns:publish" => &sns::PUBLISH_RESPONSE,
        "s3:getObject" => &s3::GET_OBJECT_OUTPUT,
        "s3:putObject" => &s3::PUT_OBJECT_OUTPUT,
        "s3:listObjectsV2" => &s3::LIST_OBJECTS_V2_OUTPUT,
        "kms:encrypt" => &kms::ENCRYPT_RESPONSE,
        "kms:decrypt" => &kms::DECRYPT_RESPONSE,
        "kms:generateDataKey" => &kms::GENERATE_DATA_KEY_RESPONSE,
        "secretsmanager:getSecretValue" => &secrets_manager::GET_SECRET_VALUE_RESPONSE,
        _ => return None,
    };
    Some(shape)
}

impl Shape {
    const fn text(chars_min: usize, chars_max: usize) -> Self {
        Self(Kind::Text {
            chars_min,
            chars_max,
        })
    }

    const fn one_of(words: &'static [&'static str]) -> Self {
        Self(Kind::OneOf(words))
    }

    const fn number(min: f64, max: f64) -> Self {
        Self(Kind::Number { min, max })
    }

    const fn list(of: &'static Self) -> Self {
        Self(Kind::List(of))
    }

    const fn map(of: &'static Self) -> Self {
        Self(Kind::Map(of))
    }

    const fn structure(fields: &'static [Field]) -> Self {
        Self(Kind::Structure(fields))
    }

    /// Whether a value could be such an answer. A field that is not known is passed over, and null is
    /// absent. The depth is that of the value, which its parser bounds.
    ///
    /// # Errors
    /// What does not fit first, in AWS's words.
    pub fn check(&self, value: &Value, closeness: Closeness) -> Result<(), String> {
        if !value.is_object() {
            return Err("The result must be an object".to_owned());
        }
        self.check_field("", value, closeness)
    }

    fn check_field(&self, name: &str, value: &Value, closeness: Closeness) -> Result<(), String> {
        let wrong = |what: &str| Err(format!("Field '{name}' {what}"));
        match &self.0 {
            Kind::Text {
                chars_min,
                chars_max,
            } => {
                let Some(text) = value.as_str() else {
                    return wrong("must be a string");
                };
                let chars = text.chars().count();
                if chars < *chars_min {
                    return wrong("is smaller than the minimum length");
                }
                if chars > *chars_max {
                    return wrong("exceeds the maximum length");
                }
            }
            Kind::OneOf(words) => match value.as_str() {
                None => return wrong("must be a string"),
                Some(word) if words.contains(&word) => {}
                Some(_) => return wrong("is not an expected value"),
            },
            Kind::Number { min, max } => match value.as_f64() {
                None => return wrong("must be a number"),
                Some(number) if number < *min => {
                    return wrong("is less than the minimum value");
                }
                Some(number) if number > *max => return wrong("exceeds the maximum value"),
                Some(_) => {}
            },
            Kind::Flag if !value.is_boolean() => return wrong("must be a boolean"),
            Kind::Flag => {}
            Kind::List(of) => {
                let Some(items) = value.as_array() else {
                    return wrong("must be an array");
                };
                for item in items {
                    of.check_field(name, item, closeness)?;
                }
            }
            Kind::Map(of) => {
                let Some(entries) = value.as_object() else {
                    return wrong("must be an object");
                };
                for (name, entry) in entries {
                    of.check_field(name, entry, closeness)?;
                }
            }
            Kind::Structure(fields) => {
                if !value.is_object() {
                    return wrong("must be an object");
                }
                for field in *fields {
                    field.check(value, closeness)?;
                }
            }
        }
        Ok(())
    }
}

impl Field {
    fn check(&self, around: &Value, closeness: Closeness) -> Result<(), String> {
        let Self {
            name,
            required,
            shape,
        } = self;
        match around.get(name).filter(|value| !value.is_null()) {
            Some(value) => shape.check_field(name, value, closeness),
            None if *required && closeness == Closeness::Strict => {
                Err(format!("Required field '{name}' is missing"))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(task: &str, value: &Value, closeness: Closeness) -> String {
        let resource = format!("arn:aws:states:::{task}");
        let shape = of_resource(&resource).unwrap();
        shape.check(value, closeness).err().unwrap_or_default()
    }

    #[test]
    fn what_does_not_fit_is_told_by_its_field() {
        for (task, value, words) in [
            (
                "events:putEvents",
                json!({"Entries": [{"EventId": "a"}, {"EventId": 1}]}),
                "Field 'EventId' must be a string",
            ),
            (
                "aws-sdk:lambda:getFunction",
                json!({"Configuration": {"MemorySize": 127}}),
                "Field 'MemorySize' is less than the minimum value",
            ),
            (
                "aws-sdk:s3:getObject",
                json!({"StorageClass": "Papyrus"}),
                "Field 'StorageClass' is not an expected value",
            ),
            (
                "aws-sdk:kms:encrypt",
                json!({"CiphertextBlob": ""}),
                "Field 'CiphertextBlob' is smaller than the minimum length",
            ),
            (
                "dynamodb:getItem",
                json!({"Item": {"a": {"M": {"b": {"L": [{"BOOL": "yes"}]}}}}}),
                "Field 'BOOL' must be a boolean",
            ),
            ("sqs:sendMessage", json!([]), "The result must be an object"),
            ("lambda:invoke", json!({"Payload": {"any": 1}}), ""),
            (
                "sqs:sendMessage",
                json!({"MessageId": null, "Unknown": 1}),
                "",
            ),
        ] {
            assert_eq!(
                told(task, &value, Closeness::Present),
                words,
                "{task} {value}"
            );
            assert_eq!(
                told(task, &value, Closeness::Strict),
                words,
                "{task} {value}"
            );
        }
    }

    #[test]
    fn only_a_strict_look_misses_what_is_not_there() {
        let value = json!({"executionArn": "a", "StartDate": "b"});
        assert_eq!(
            told("states:startExecution", &value, Closeness::Strict),
            "Required field 'ExecutionArn' is missing"
        );
        assert_eq!(
            told("states:startExecution", &value, Closeness::Present),
            ""
        );
    }

    #[test]
    fn what_somebody_else_answers_has_no_shape() {
        for resource in [
            "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
            "arn:aws:states:::states:startExecution.sync:2",
            "arn:aws:states:::http:invoke",
            "arn:aws:lambda:us-east-1:000000000000:function:f",
            "",
        ] {
            assert_eq!(of_resource(resource), None, "{resource}");
        }
    }
}
