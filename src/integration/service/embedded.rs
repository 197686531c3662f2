//! Services that this daemon has a default of its own for, and calls of them.

use serde_json::Value;

use super::{
    dynamodb,
    kept::{Queues, Tables},
    request::{Moment, Refusal},
    sqs,
};

/// A service that one file can serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Embedded {
    /// Tables by key.
    DynamoDb,
    /// Queues.
    Sqs,
}

/// A request to one.
#[derive(Debug, Clone)]
pub struct Call {
    /// Whom it is to.
    pub service: Embedded,
    /// What is to be done, as the API names it: `PutItem`.
    pub action: String,
    /// With what.
    pub parameters: Value,
    /// What it can see beside that.
    pub moment: Moment,
    /// What the URLs of queues begin with.
    pub base: String,
}

impl Embedded {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::DynamoDb, Self::Sqs];

    /// As resources and settings name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::DynamoDb => "dynamodb",
            Self::Sqs => "sqs",
        }
    }

    /// By that name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|service| service.name() == name)
    }

    /// What clients put before an action in the header `X-Amz-Target`.
    #[must_use]
    pub const fn target(self) -> &'static str {
        match self {
            Self::DynamoDb => "DynamoDB_20120810",
            Self::Sqs => "AmazonSQS",
        }
    }

    /// By that prefix.
    #[must_use]
    pub fn of_target(target: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|service| service.target() == target)
    }

    /// The actions that it has.
    #[must_use]
    pub fn actions(self) -> &'static [&'static str] {
        match self {
            Self::DynamoDb => &dynamodb::ACTIONS,
            Self::Sqs => &sqs::ACTIONS,
        }
    }

    /// Whether an action changes nothing.
    #[must_use]
    pub fn only_reads(action: &str) -> bool {
        ["Get", "List", "Describe", "Scan", "BatchGet"]
            .iter()
            .any(|verb| action.starts_with(verb))
    }
}

impl Call {
    /// What is answered; the outer error is that of what is kept. What was changed before an error or
    /// behind a refusal is to be undone by the caller.
    pub fn answer<E, K>(&self, kept: &K) -> Result<Result<Value, Refusal>, E>
    where
        K: Tables<Error = E> + Queues<Error = E>,
    {
        match self.service {
            Embedded::DynamoDb => dynamodb::call(kept, &self.action, &self.parameters, self.moment),
            Embedded::Sqs => sqs::call(
                kept,
                &self.action,
                &self.parameters,
                self.moment,
                &self.base,
            ),
        }
    }
}
