//! Ways on which a message leaves: posted to a webhook, sent as e-mail.
//!
//! Owns what is sent and what counts as taken. Knows neither topics nor whose secrets it is handed, keeps
//! nothing, and tries once: how often, the runtime's courier decides. Invariant: an error names whom it
//! was about, and neither a URL nor a secret.

mod mail;
mod webhook;

pub use mail::Mail;
pub use webhook::{Post, Webhooks};

/// Why something was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct NotTaken {
    /// Why, in a line.
    pub error: String,
    /// It would be refused again.
    pub lasting: bool,
}

impl NotTaken {
    /// What may be taken another time.
    #[must_use]
    pub fn for_now(error: impl Into<String>) -> Self {
        Self {
            error: error.into(),
            lasting: false,
        }
    }
}
