//! Samples of a file: hashes of parts of it, enough to tell where it has become another.
//!
//! A file of up to 256 KiB is covered whole. Of a larger one there are its two ends and thirty parts
//! between: whatever moves what stands behind it is seen, at a cost that does not grow with the file.

use std::{fs::File, io, ops::Range, os::unix::fs::FileExt};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::fingerprint::hex;

/// How many samples there are at most: a difference is placed within a thirtieth of the file.
const SAMPLES_MAX: u64 = 32;

/// A file of up to so many bytes is covered whole.
const COVER_BYTES_MAX: u64 = 256 * 1024;

/// Of a file that is covered whole, in each sample at least.
const COVER_BYTES_MIN: u64 = 64;

/// Looked at from either end of a larger file: enough to tell any two exports apart.
const END_BYTES: u64 = 64 * 1024;

/// Looked at in each place between: a block of the file system.
const BETWEEN_BYTES: u64 = 4 * 1024;

/// A part of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Where it begins.
    at: u64,
    /// How long it is.
    bytes: u64,
    /// 128 bits of its SHA-256, in hex.
    hash: String,
}

/// Samples of the first `content` bytes of a file, in order.
pub(super) fn take(file: &File, content: u64) -> io::Result<Vec<Sample>> {
    places(content)
        .into_iter()
        .map(|Range { start, end }| {
            Ok(Sample {
                at: start,
                bytes: end - start,
                hash: hash(&read(file, start, end - start)?),
            })
        })
        .collect()
}

/// Where samples of a file of that length lie.
fn places(content: u64) -> Vec<Range<u64>> {
    if content <= COVER_BYTES_MAX {
        let bytes = content.div_ceil(SAMPLES_MAX).max(COVER_BYTES_MIN);
        let starts = (0..content.div_ceil(bytes)).map(|n| n * bytes);
        return starts
            .map(|start| start..content.min(start + bytes))
            .collect();
    }
    let parts = SAMPLES_MAX - 1;
    let between = (1..parts)
        // Why so: `content * n` might not fit.
        .map(|n| content / parts * n)
        .map(|start| start..start + BETWEEN_BYTES);
    let (head, tail) = (0..END_BYTES, content - END_BYTES..content);
    std::iter::once(head)
        .chain(between.filter(|place| place.start >= END_BYTES && place.end <= tail.start))
        .chain(std::iter::once(tail.clone()))
        .collect()
}

/// Where the first difference lies in a file that has `size` bytes now and whose first `content`
/// bytes were sampled; `None` where none shows.
pub(super) fn first_difference(
    samples: &[Sample],
    file: &File,
    size: u64,
    content: u64,
) -> io::Result<Option<Range<u64>>> {
    let mut same_until = 0;
    for sample in samples {
        let end = sample.at.saturating_add(sample.bytes);
        if end > size {
            break;
        }
        if hash(&read(file, sample.at, sample.bytes)?) != sample.hash {
            return Ok(Some(same_until..end));
        }
        same_until = end;
    }
    Ok((size < content).then_some(size..content))
}

/// That many bytes from there.
pub(super) fn read(file: &File, at: u64, bytes: u64) -> io::Result<Vec<u8>> {
    let bytes = bytes.min(END_BYTES);
    let mut buffer = vec![0; usize::try_from(bytes).unwrap_or(0)];
    file.read_exact_at(&mut buffer, at)?;
    Ok(buffer)
}

fn hash(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    hex(digest.get(..16).unwrap_or(&digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_in_order_cover_both_ends_and_cost_the_same_however_large_the_file_is() {
        for content in [
            0,
            1,
            64,
            65,
            5000,
            262_144,
            262_145,
            1 << 30,
            1 << 43,
            u64::MAX / 2,
        ] {
            let places = places(content);
            assert!(places.len() as u64 <= SAMPLES_MAX, "{content}");
            let bytes: u64 = places.iter().map(|place| place.end - place.start).sum();
            assert!(bytes <= COVER_BYTES_MAX, "{content}: {bytes}");
            assert_eq!(places.first().map_or(0, |place| place.start), 0);
            assert_eq!(places.last().map_or(0, |place| place.end), content);
            assert!(places.is_sorted_by(|a, b| a.end <= b.start), "{content}");
            if content <= COVER_BYTES_MAX {
                assert_eq!(bytes, content);
            }
        }
    }
}
