//! The pure interpreter of one execution.
