//! The daemon's operations over HTTP: AWS JSON 1.0, signed with SigV4; and buckets, by S3's protocol.
//!
//! Owns the listeners and their bounds, the protocol, who may call, and how an error is told. An operation is a file in
//! `operations/`; it works on a [`Api`], which a command also makes for itself where nobody serves.
//! Invariant: an unsigned, wrongly signed or oversized request reaches no operation.

mod access;
mod buckets;
mod error;
mod fault;
mod key;
mod listen;
mod operations;
mod page_token;
mod query;
mod role;
mod server;
mod shape;
pub mod sigv4;
mod triggers;

pub use access::{HandlerAccess, OwnStates, client_variables};
pub use error::{ApiError, ErrorKind};
pub use fault::Fault;
pub use key::{Key, KeyError, KeyRing};
pub use listen::{Socket, serve_tcp, serve_unix};
pub use operations::{Api, OPERATIONS, STATES_OPERATIONS, call, call_states, run_figures};
pub use role::Role;
pub use server::{BODY_BYTES_MAX, STATES_TARGET_PREFIX, TARGET_PREFIX};
