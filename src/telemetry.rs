//! Logs: where they go and in which form.
