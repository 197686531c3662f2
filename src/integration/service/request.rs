//! What a service is asked, and how it refuses.

use serde_json::{Map, Value};

use crate::time::Timestamp;

/// What a call can see beside its parameters.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// When it is made.
    pub now: Timestamp,
    /// Random, of this call alone; names what it makes.
    pub random: u128,
}

/// The code of a refusal that comes from no service: there is none where it was asked for.
pub(super) const UNREACHABLE: &str = "SdkClientException";

/// Why a service does not do what it was asked, in the words of AWS's where it has any.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Refusal {
    /// The error's code: `ResourceNotFoundException`.
    pub code: &'static str,
    /// What is wrong, and the mend where it is ours to tell.
    pub message: String,
}

/// What errors of queues are called, where their protocol has two names for them: the one that it had
/// before it spoke JSON, and the one of now.
const QUEUE_ERRORS: [(&str, &str); 6] = [
    (
        "AWS.SimpleQueueService.NonExistentQueue",
        "QueueDoesNotExist",
    ),
    ("QueueAlreadyExists", "QueueNameExists"),
    (
        "AWS.SimpleQueueService.EmptyBatchRequest",
        "EmptyBatchRequest",
    ),
    (
        "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
        "TooManyEntriesInBatchRequest",
    ),
    (
        "AWS.SimpleQueueService.BatchEntryIdsNotDistinct",
        "BatchEntryIdsNotDistinct",
    ),
    ("ReceiptHandleIsInvalid", "ReceiptHandleIsInvalid"),
];

impl Refusal {
    /// The name of its kind, where it has another one than its code.
    #[must_use]
    pub fn kind(code: &str) -> Option<&'static str> {
        let known = QUEUE_ERRORS.iter().find(|(known, _)| *known == code);
        known.map(|(_, kind)| *kind)
    }

    /// The HTTP status that AWS has for it.
    #[must_use]
    pub fn status(code: &str) -> u16 {
        match code {
            "AccessDenied" | "AuthorizationError" => 403,
            "NoSuchBucket" | "NoSuchKey" | "NotFound" => 404,
            "BucketNotEmpty" => 409,
            "InvalidRange" => 416,
            "Throttled" => 429,
            _ => 400,
        }
    }

    /// With an error's code.
    #[must_use]
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

/// What a call comes to: the outer error is that of what is kept.
pub(super) type Answer<E> = Result<Result<Value, Refusal>, E>;

/// Goes on with what was found, or ends with the refusal. Why not `?`: an error beneath and a refusal
/// are two things, of which only one is the caller's.
macro_rules! granted {
    ($outcome:expr) => {
        match $outcome {
            Ok(granted) => granted,
            Err(refusal) => return Ok(Err(refusal)),
        }
    };
}
pub(super) use granted;

/// The parameters of a call, taken one by one, so that one which nothing is known of is refused instead
/// of passed over.
pub(super) struct Parameters<'a> {
    fields: &'a Map<String, Value>,
    taken: Vec<&'static str>,
}

/// How a service words what is wrong with a parameter.
pub(super) struct Words {
    /// The code of what is invalid.
    pub(super) invalid: &'static str,
    /// How the settings name the service.
    pub(super) section: &'static str,
    /// What people call what is embedded.
    pub(super) what: &'static str,
}

impl Words {
    pub(super) fn invalid(&self, message: impl Into<String>) -> Refusal {
        Refusal::new(self.invalid, message)
    }

    /// What only the real service has.
    pub(super) fn unsupported(&self, what: &str) -> Refusal {
        let Self { section, .. } = self;
        self.invalid(format!(
            "{} have no {what}; [services.{section}] endpoint in iterd.toml leads to a service that does",
            self.what
        ))
    }
}

impl<'a> Parameters<'a> {
    pub(super) fn of(value: &'a Value, words: &Words) -> Result<Self, Refusal> {
        let fields = value.as_object();
        let fields = fields.ok_or_else(|| words.invalid("the parameters are no object"))?;
        Ok(Self {
            fields,
            taken: Vec::new(),
        })
    }

    /// A parameter; null is absent.
    pub(super) fn take(&mut self, name: &'static str) -> Option<&'a Value> {
        self.taken.push(name);
        self.fields.get(name).filter(|value| !value.is_null())
    }

    pub(super) fn text(
        &mut self,
        name: &'static str,
        words: &Words,
    ) -> Result<Option<&'a str>, Refusal> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(words.invalid(format!("{name} is no text"))),
        }
    }

    /// A whole number between two.
    pub(super) fn number(
        &mut self,
        name: &'static str,
        (least, most): (u32, u32),
        words: &Words,
    ) -> Result<Option<u32>, Refusal> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        // Spec: attributes of queues are texts, also where they are numbers.
        let text = value.as_str().and_then(|text| text.parse().ok());
        let number: Option<u64> = value.as_u64().or(text);
        let number = number.and_then(|number| u32::try_from(number).ok());
        match number.filter(|number| (least..=most).contains(number)) {
            Some(number) => Ok(Some(number)),
            None => Err(words.invalid(format!("{name} is {value}; between {least} and {most}"))),
        }
    }

    /// Parameters that change nothing here.
    pub(super) fn pass_over(&mut self, names: &[&'static str]) {
        self.taken.extend(names);
    }

    /// Nothing else was asked for.
    pub(super) fn end(self, words: &Words) -> Result<(), Refusal> {
        let mut fields = self.fields.iter();
        let strange =
            fields.find(|(name, value)| !value.is_null() && !self.taken.contains(&name.as_str()));
        match strange {
            Some((name, _)) => Err(words.unsupported(name)),
            None => Ok(()),
        }
    }
}
