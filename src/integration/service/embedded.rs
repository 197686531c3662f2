//! Services that this daemon has a default of its own for, and calls of them.

use std::sync::Arc;

use serde_json::Value;

use super::{
    dynamodb,
    kept::{Queues, Tables, Topics},
    request::{Moment, Refusal},
    sns, sqs,
};
use crate::config::Config;

/// A service that one file can serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Embedded {
    /// Tables by key.
    DynamoDb,
    /// Topics.
    Sns,
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
    /// The settings in force: region and account of names, and the topics that always are.
    pub settings: Arc<Config>,
    /// A task of a state asks, with parameters that may be anybody's.
    pub by_task: bool,
}

impl Embedded {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::DynamoDb, Self::Sns, Self::Sqs];

    /// As resources and settings name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::DynamoDb => "dynamodb",
            Self::Sns => "sns",
            Self::Sqs => "sqs",
        }
    }

    /// By that name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|service| service.name() == name)
    }

    /// What clients put before an action in the header `X-Amz-Target`; `None`: they send a form.
    #[must_use]
    pub const fn target(self) -> Option<&'static str> {
        match self {
            Self::DynamoDb => Some("DynamoDB_20120810"),
            Self::Sns => None,
            Self::Sqs => Some("AmazonSQS"),
        }
    }

    /// The name space of answers to forms; `None`: it takes none.
    #[must_use]
    pub const fn name_space(self) -> Option<&'static str> {
        match self {
            Self::Sns => Some("http://sns.amazonaws.com/doc/2010-03-31/"),
            Self::DynamoDb | Self::Sqs => None,
        }
    }

    /// By that prefix.
    #[must_use]
    pub fn of_target(target: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|service| service.target() == Some(target))
    }

    /// The actions that it has.
    #[must_use]
    pub fn actions(self) -> &'static [&'static str] {
        match self {
            Self::DynamoDb => &dynamodb::ACTIONS,
            Self::Sns => &sns::ACTIONS,
            Self::Sqs => &sqs::ACTIONS,
        }
    }

    /// Whether a call adds something to what is kept. Clients try those again that are refused for now.
    #[must_use]
    pub fn adds(self, action: &str, parameters: &Value) -> bool {
        if action == "BatchWriteItem" {
            let tables = parameters["RequestItems"].as_object().into_iter().flatten();
            let mut requests =
                tables.flat_map(|(_, of_table)| of_table.as_array().into_iter().flatten());
            return requests.any(|request| request.get("PutRequest").is_some());
        }
        let verbs = [
            "Create",
            "Put",
            "BatchWrite",
            "Publish",
            "Send",
            "Subscribe",
        ];
        self.actions().contains(&action) && verbs.iter().any(|verb| action.starts_with(verb))
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
    /// Whether it may put something into the outbox.
    #[must_use]
    pub fn posts(&self) -> bool {
        self.service == Embedded::Sns && self.action.starts_with("Publish")
    }

    /// What is answered; the outer error is that of what is kept. What was changed before an error or
    /// behind a refusal is to be undone by the caller.
    pub fn answer<E, K>(&self, kept: &K) -> Result<Result<Value, Refusal>, E>
    where
        K: Tables<Error = E> + Queues<Error = E> + Topics<Error = E>,
    {
        match self.service {
            Embedded::DynamoDb => dynamodb::call(kept, &self.action, &self.parameters, self.moment),
            Embedded::Sns => sns::call(kept, self),
            Embedded::Sqs => sqs::call(
                kept,
                &self.action,
                &self.parameters,
                self.moment,
                (&self.base, &self.settings),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_action_reads_or_adds_or_makes_room() {
        let put = json!({"RequestItems": {"t": [{"DeleteRequest": {}}, {"PutRequest": {}}]}});
        let adds = |service: Embedded, action: &str| service.adds(action, &put);
        let mut left = Vec::new();
        for service in Embedded::ALL {
            for action in service.actions() {
                assert!(
                    !(adds(service, action) && Embedded::only_reads(action)),
                    "{action}"
                );
                if !adds(service, action) && !Embedded::only_reads(action) {
                    left.push(*action);
                }
            }
        }
        assert_eq!(
            left,
            [
                "DeleteItem",
                "DeleteTable",
                "DeleteTopic",
                "SetSubscriptionAttributes",
                "Unsubscribe",
                "ChangeMessageVisibility",
                "DeleteMessage",
                "DeleteMessageBatch",
                "DeleteQueue",
                "PurgeQueue",
                "ReceiveMessage",
            ]
        );
        assert!(!adds(Embedded::Sqs, "PutItem"), "no action of that service");
        let delete = json!({"RequestItems": {"t": [{"DeleteRequest": {}}]}});
        assert!(!Embedded::DynamoDb.adds("BatchWriteItem", &delete));
    }
}
