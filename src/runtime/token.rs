//! Task tokens: who knows one gives a task its result.
//!
//! A token names the execution, the frame and what the frame asked for, with a code that only the owner
//! of the state directory can make. So nothing has to be stored for a task that waits, and a token that
//! was made up is told from one that came too late.

use std::{path::Path, sync::Arc};

use base64::Engine as _;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::RuntimeError;
use crate::ids::{ExecutionId, FrameId, Generation};

/// The first byte of a token: the form of the others.
const VERSION: u8 = 1;

/// Bytes of a token before its code.
const NAMES_BYTES: usize = 17;

/// Bytes of its code.
const CODE_BYTES: usize = 24;

/// Makes tokens and reads them.
#[derive(Clone)]
pub(super) struct Tokens(Arc<[u8]>);

/// What a token stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskToken {
    /// The execution that waits.
    pub execution: ExecutionId,
    /// Its frame.
    pub frame: FrameId,
    /// What the frame asked for.
    pub generation: Generation,
}

impl Tokens {
    /// With the secret of a state directory.
    pub(super) fn read(path: &Path) -> Result<Self, RuntimeError> {
        let secret = std::fs::read(path).map_err(|error| RuntimeError::Io {
            what: format!("cannot read {}", path.display()),
            error,
        })?;
        Ok(Self(secret.into()))
    }

    pub(super) fn make(&self, token: TaskToken) -> String {
        let mut bytes = [0; NAMES_BYTES + CODE_BYTES];
        bytes[0] = VERSION;
        bytes[1..9].copy_from_slice(&token.execution.0.to_be_bytes());
        bytes[9..13].copy_from_slice(&token.frame.0.to_be_bytes());
        bytes[13..17].copy_from_slice(&token.generation.0.to_be_bytes());
        let code = self.code(&bytes[..NAMES_BYTES]);
        bytes[NAMES_BYTES..].copy_from_slice(&code);
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
    }

    /// What a text stands for; `None` where we have not made it.
    pub(super) fn parse(&self, text: &str) -> Option<TaskToken> {
        let engine = base64::engine::general_purpose::URL_SAFE_NO_PAD;
        let bytes: [u8; NAMES_BYTES + CODE_BYTES] = engine.decode(text).ok()?.try_into().ok()?;
        let (names, code) = bytes.split_at(NAMES_BYTES);
        if names[0] != VERSION {
            return None;
        }
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).ok()?;
        mac.update(names);
        // In constant time.
        mac.verify_truncated_left(code).ok()?;
        Some(TaskToken {
            execution: ExecutionId(i64::from_be_bytes(names[1..9].try_into().ok()?)),
            frame: FrameId(u32::from_be_bytes(names[9..13].try_into().ok()?)),
            generation: Generation(u32::from_be_bytes(names[13..17].try_into().ok()?)),
        })
    }

    fn code(&self, names: &[u8]) -> [u8; CODE_BYTES] {
        let mut code = [0; CODE_BYTES];
        // A key of any length serves.
        if let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) {
            mac.update(names);
            code.copy_from_slice(&mac.finalize().into_bytes()[..CODE_BYTES]);
        }
        code
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_back_and_one_that_was_changed_or_is_anothers_is_not() {
        let (ours, theirs) = (
            Tokens(b"secret".as_slice().into()),
            Tokens(b"other".as_slice().into()),
        );
        let token = TaskToken {
            execution: ExecutionId(7),
            frame: FrameId(3),
            generation: Generation(9),
        };
        let text = ours.make(token);
        assert_eq!(ours.parse(&text), Some(token));
        assert_eq!(theirs.parse(&text), None);
        for place in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(
                changed == text || ours.parse(&changed) != Some(token),
                "{changed}"
            );
        }
        for text in ["", "x", "====", &"A".repeat(10_000)] {
            assert_eq!(ours.parse(text), None);
        }
    }
}
