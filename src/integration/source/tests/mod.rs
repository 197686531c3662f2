//! Behaviour that all kinds of sources share, and what is particular to one.
