//! Where results go beside the results table; one file for each kind.
