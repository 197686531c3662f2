//! What a state may ask of a service: `arn:aws:states:::SERVICE:ACTION`, and what it answers. A file for
//! each service that this daemon has a default of its own for; all others are elsewhere, and reached by
//! `remote`; APIs of anybody by `http`.
//!
//! Owns the shapes of requests and answers, and the names of errors, so that Retry and Catch that were
//! written for AWS match. Knows neither `store` nor `runtime`: what is kept here is reached by ports.

mod dynamodb;
mod embedded;
pub mod http;
mod kept;
pub mod remote;
mod request;
mod resource;
pub mod s3;
mod sns;
mod sqs;
mod told;

pub use embedded::{Call, Embedded};
pub use kept::{
    EXPIRED_MAX, ItemKey, KeyKind, KeyPart, Message, Notice, Queue, QueueFigures, Queues,
    Subscription, Table, Tables, Topic, Topics,
};
pub use request::{Moment, Refusal};
pub use resource::{Pattern, ServiceTask};
pub use sns::{Destination, topic_arn};
pub use told::{Asked, action, failure as named_failure, result};
