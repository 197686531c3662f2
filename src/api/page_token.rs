//! Page tokens of listings: where the next page begins, for who asked.
//!
//! A token is opaque to clients, belongs to one query and is good for 24 hours, as on AWS. It is no
//! secret: a forged one leads to a page that its maker could have asked for anyway, and the digest in it
//! only keeps a token from being taken for another query's.

use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

use super::{ApiError, Fault};
use crate::time::Timestamp;

/// How long a token is good. Spec: every listing of the API says 24 hours.
const TOKEN_LIFE: Duration = Duration::from_hours(24);

/// The format of the token's bytes.
const VERSION: u8 = 1;

const DIGEST_BYTES: usize = 16;

/// Bytes before the position: version, instant, digest.
const HEAD_BYTES: usize = 1 + 8 + DIGEST_BYTES;

/// The token of the page behind `position`, in the listing that `query` tells from every other.
pub(super) fn make(query: &str, position: &str, now: Timestamp) -> String {
    let issued = now.0.to_be_bytes();
    let mut bytes = vec![VERSION];
    bytes.extend(issued);
    bytes.extend(digest(query, issued, position.as_bytes()));
    bytes.extend(position.as_bytes());
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// The position that a token of that query stands for.
pub(super) fn read(token: &str, query: &str, now: Timestamp) -> Result<String, ApiError> {
    parse(token, query, now).ok_or_else(|| {
        ApiError::states(
            Fault::InvalidToken,
            "Invalid Token: 'Invalid token'".to_owned(),
        )
    })
}

fn parse(token: &str, query: &str, now: Timestamp) -> Option<String> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(token).ok()?;
    let (head, position) = bytes.split_at_checked(HEAD_BYTES)?;
    let (version, rest) = head.split_first()?;
    let (issued, told) = rest.split_at_checked(8)?;
    let issued: [u8; 8] = issued.try_into().ok()?;
    let right = *version == VERSION && told == digest(query, issued, position);
    let fresh = now.since(Timestamp(i64::from_be_bytes(issued))) <= TOKEN_LIFE;
    if right && fresh {
        String::from_utf8(position.to_vec()).ok()
    } else {
        None
    }
}

fn digest(query: &str, issued: [u8; 8], position: &[u8]) -> [u8; DIGEST_BYTES] {
    let mut hasher = Sha256::new();
    // Why the lengths: no two queries with their positions are hashed as the same bytes.
    hasher.update(query.len().to_be_bytes());
    hasher.update(query.as_bytes());
    hasher.update(issued);
    hasher.update(position);
    let mut digest = [0; DIGEST_BYTES];
    digest.copy_from_slice(&hasher.finalize()[..DIGEST_BYTES]);
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    #[test]
    fn a_token_is_good_for_its_query_for_a_day() {
        let token = make("ListActivities", "b ü", NOW);
        let later = |hours| NOW.after(Duration::from_hours(hours));
        assert_eq!(read(&token, "ListActivities", NOW).unwrap(), "b ü");
        assert_eq!(read(&token, "ListActivities", later(24)).unwrap(), "b ü");
        let error = read(&token, "ListActivities", later(25)).unwrap_err();
        assert_eq!(error.kind.name(), "InvalidToken");
        assert_eq!(error.message, "Invalid Token: 'Invalid token'");
        assert!(read(&token, "ListStateMachines", NOW).is_err());
    }

    #[test]
    fn what_was_changed_or_cut_is_no_token() {
        let token = make("q", "position", NOW);
        for end in 0..token.len() {
            assert!(read(&token[..end], "q", NOW).is_err(), "{end}");
        }
        for place in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
            let other = String::from_utf8(bytes).unwrap();
            assert!(read(&other, "q", NOW).is_err(), "{other}");
        }
        assert!(read("ünicode", "q", NOW).is_err());
    }

    #[test]
    fn a_token_of_the_longest_name_is_no_longer_than_aws_takes() {
        let name = "ü".repeat(80);
        assert!(make("q", &name, NOW).len() <= 1024);
    }
}
