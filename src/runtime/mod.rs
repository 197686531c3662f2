//! The shell: load, step, commit, dispatch.
