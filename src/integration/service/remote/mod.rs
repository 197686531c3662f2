//! Services that are elsewhere: AWS's own, or a server that speaks their protocols.
//!
//! Owns the way of a task to such a service and back: which services there are (`catalogue`), what is sent
//! (`request`, `s3`, `gateway`), where to (`place`), by whom (`keys`), how (`wire`), by which it is known when it comes again (`tokens`), what came back (`answer`), and how
//! that is told (`told`, which what is embedded tells its answers by, too). Where services are is the
//! settings' to say; nothing is sent for a service that they do not lead away from here.

mod answer;
mod beyond;
mod catalogue;
mod gateway;
mod keys;
mod members;
mod objects;
mod own;
mod place;
mod request;
mod s3;
mod services;
mod tokens;
mod told;
mod wire;
mod xml;

pub(in crate::integration) use answer::Response;
pub(in crate::integration) use told::{cut, too_large};
pub(in crate::integration) use wire::{Lost, Wire};

pub use beyond::{Beyond, beyond};
pub use own::{StatesApi, ask_own};
pub use request::encode;
pub use services::{Services, ServicesError, check_names, knows, leads_away};
pub use told::{RESULT_BYTES_MAX, Refused, Told, failure, told, unreachable};
