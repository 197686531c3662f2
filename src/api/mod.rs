//! The daemon's operations over HTTP, signed.
