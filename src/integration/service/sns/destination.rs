//! Where a message goes, as the outbox names it.
//!
//! Invariant: a name holds no secret. What a place of the settings is at the time of a delivery, the
//! settings say then; so a mended one is used for what is still owed.

/// Where a message of the outbox goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// The webhook that the settings give this topic.
    Webhook(String),
    /// The command that they give it.
    Command(String),
    /// The daemon's log.
    Log(String),
    /// Somebody whom they name.
    Email {
        /// Of which topic.
        topic: String,
        /// Who.
        address: String,
    },
    /// Who subscribed, by the subscription's name.
    Subscription(String),
}

impl Destination {
    /// As it is stored.
    #[must_use]
    pub fn to_stored(&self) -> String {
        match self {
            Self::Webhook(topic) => format!("webhook:{topic}"),
            Self::Command(topic) => format!("command:{topic}"),
            Self::Log(topic) => format!("log:{topic}"),
            Self::Email { topic, address } => format!("email:{topic}:{address}"),
            Self::Subscription(id) => format!("subscription:{id}"),
        }
    }

    /// From what is stored; `None` where it was written by a version that knows more.
    #[must_use]
    pub fn of_stored(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(':')?;
        let own = rest.to_owned();
        match kind {
            "webhook" => Some(Self::Webhook(own)),
            "command" => Some(Self::Command(own)),
            "log" => Some(Self::Log(own)),
            "email" => {
                let (topic, address) = rest.split_once(':')?;
                Some(Self::Email {
                    topic: topic.to_owned(),
                    address: address.to_owned(),
                })
            }
            "subscription" => Some(Self::Subscription(own)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_is_read_back_as_it_was_stored() {
        let topic = || "t-1".to_owned();
        for destination in [
            Destination::Webhook(topic()),
            Destination::Command(topic()),
            Destination::Log(topic()),
            Destination::Email {
                topic: topic(),
                address: "a@b".to_owned(),
            },
            Destination::Subscription("u".to_owned()),
        ] {
            let stored = destination.to_stored();
            assert_eq!(Destination::of_stored(&stored), Some(destination));
        }
        for strange in ["", "webhook", "email:t", "pigeon:t"] {
            assert_eq!(Destination::of_stored(strange), None, "{strange}");
        }
    }
}
