//! What may be the name of a bucket.

/// Whether this names a bucket: 3 to 63 lower-case letters, digits, dots and hyphens, of which the first and
/// the last are letters or digits, and no two dots follow one another. Spec: S3's rules for names.
#[must_use]
pub fn is_bucket_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends = [name.as_bytes().first(), name.as_bytes().last()];
    (3..=63).contains(&name.len())
        && name
            .bytes()
            .all(|byte| plain(byte) || matches!(byte, b'.' | b'-'))
        && ends.into_iter().flatten().all(|byte| plain(*byte))
        && !name.contains("..")
}
