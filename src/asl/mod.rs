//! The Amazon States Language: from text to a validated definition; paths and templates.
