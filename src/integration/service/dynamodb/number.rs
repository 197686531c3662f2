//! Decimal numbers as bytes that compare as the numbers do, however they are written.
//!
//! Spec: a number has up to 38 digits, and lies between 1E-130 and 9.99..E+125, or is zero.

const DIGITS_MAX: usize = 38;
const EXPONENT_MIN: i32 = -130;
const EXPONENT_MAX: i32 = 125;

/// Signs, in order.
const NEGATIVE: u8 = 1;
const ZERO: u8 = 2;
const POSITIVE: u8 = 3;

/// Behind the digits of a negative number, so that the longer one is the smaller.
const END_OF_NEGATIVE: u8 = 0xff;

/// The bytes of a number; `None` where the text is none, or one beyond the bounds.
pub(super) fn ordered(text: &str) -> Option<Vec<u8>> {
    let (negative, rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (rest, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let leading = digits.iter().take_while(|digit| **digit == b'0').count();
    let trailing = digits[leading..]
        .iter()
        .rev()
        .take_while(|digit| **digit == b'0')
        .count();
    let significant = &digits[leading..digits.len() - trailing];
    if significant.is_empty() {
        return Some(vec![ZERO]);
    }
    // Of the first digit.
    let place = i32::try_from(whole.len()).ok()? - 1 - i32::try_from(leading).ok()?;
    let exponent = exponent.checked_add(place)?;
    if significant.len() > DIGITS_MAX || !(EXPONENT_MIN..=EXPONENT_MAX).contains(&exponent) {
        return None;
    }
    let exponent = u8::try_from(exponent - EXPONENT_MIN).ok()?;
    let mut bytes = Vec::with_capacity(significant.len() + 3);
    if negative {
        bytes.extend([NEGATIVE, !exponent]);
        bytes.extend(significant.iter().map(|digit| !digit));
        bytes.push(END_OF_NEGATIVE);
    } else {
        bytes.extend([POSITIVE, exponent]);
        bytes.extend(significant);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_compare_as_numbers_do() {
        let numbers = [
            "-9e125",
            "-100",
            "-12.5",
            "-12",
            "-1.25",
            "-1.2",
            "-0.001",
            "0",
            "1E-130",
            "0.001",
            "1.2",
            "1.25",
            "9",
            "10",
            "12",
            "12.5",
            "100",
            "12345678901234567890",
            "9e125",
        ];
        let bytes: Vec<_> = numbers.iter().map(|text| ordered(text).unwrap()).collect();
        for (pair, numbers) in bytes.windows(2).zip(numbers.windows(2)) {
            assert!(pair[0] < pair[1], "{numbers:?}");
        }
    }

    #[test]
    fn a_number_has_one_form_however_it_is_written() {
        for (one, other) in [
            ("1", "1.0"),
            ("1", "+01"),
            ("100", "1E2"),
            ("0.5", "5e-1"),
            ("-0", "0.00"),
            (".5", "0.50"),
        ] {
            assert_eq!(ordered(one), ordered(other), "{one} {other}");
            assert!(ordered(one).is_some());
        }
    }

    #[test]
    fn what_is_no_number_is_none() {
        for text in [
            "",
            "-",
            "one",
            "1e",
            "1.2.3",
            "0x1",
            "NaN",
            "1e126",
            "1e-131",
            "1_0",
            " 1",
            "1e99999999999",
            "123456789012345678901234567890123456789",
        ] {
            assert_eq!(ordered(text), None, "{text}");
        }
    }
}
