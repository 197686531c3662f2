//! Timestamps as the language writes them: RFC 3339 with `T`, seconds, and an offset or `Z`.

/// The instant that the text names, to the nanosecond; `None` where it is no such timestamp.
///
/// Spec: the letters `T` and `Z` are upper case, and an offset is always there.
#[must_use]
pub fn parse_timestamp(text: &str) -> Option<jiff::Timestamp> {
    let bytes = text.as_bytes();
    let digits = |range: std::ops::Range<usize>| {
        bytes
            .get(range)
            .is_some_and(|digits| digits.iter().all(u8::is_ascii_digit))
    };
    let is = |place: usize, byte: u8| bytes.get(place) == Some(&byte);
    let shaped = digits(0..4)
        && is(4, b'-')
        && digits(5..7)
        && is(7, b'-')
        && digits(8..10)
        && is(10, b'T')
        && digits(11..13)
        && is(13, b':')
        && digits(14..16)
        && is(16, b':')
        && digits(17..19);
    if !shaped {
        return None;
    }
    let rest = text.get(19..)?;
    let offset = match rest.strip_prefix('.') {
        Some(fraction) => {
            let offset = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
            let length = fraction.len() - offset.len();
            if !(1..=9).contains(&length) {
                return None;
            }
            offset
        }
        None => rest,
    };
    let zoned = match offset.as_bytes() {
        b"Z" => true,
        // Spec: RFC 3339 has offsets up to 23:59; jiff takes more.
        [b'+' | b'-', a, b, b':', c, d] => {
            [a, b, c, d].iter().all(|digit| digit.is_ascii_digit())
                && [*a, *b] <= *b"23"
                && *c <= b'5'
        }
        _ => false,
    };
    // The shape is stricter than jiff; ranges (month 13, hour 25) are jiff's to refuse.
    zoned.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_need_their_letters_seconds_and_offset() {
        for (text, valid) in [
            ("2016-03-14T01:59:00Z", true),
            ("2016-03-14T01:59:00.123456789Z", true),
            ("2016-03-14T01:59:00+05:30", true),
            ("2016-03-14T01:59:00", false),
            ("2016-03-14 01:59:00Z", false),
            ("2016-03-14t01:59:00Z", false),
            ("2016-03-14T01:59:00z", false),
            ("2016-03-14T01:59Z", false),
            ("2016-13-14T01:59:00Z", false),
            ("2016-03-14T25:59:00Z", false),
            ("05-12-2016T21:29:29Z", false),
            ("2016-03-14T01:59:00.Z", false),
            ("2016-03-14T01:59:00+0530", false),
            ("2016-03-14T01:59:00-23:59", true),
            ("2016-03-14T01:59:00+24:00", false),
            ("2016-03-14T01:59:00+05:60", false),
            ("", false),
        ] {
            assert_eq!(parse_timestamp(text).is_some(), valid, "{text}");
        }
    }
}
