//! Decimal numbers, however they are written: as bytes that compare as the numbers do, and as the one text that
//! each is kept by.
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

/// A number that is one.
struct Decimal {
    negative: bool,
    /// Without zeros in front and behind; zero has none.
    digits: Vec<u8>,
    /// Of the first digit.
    exponent: i32,
}

fn parse(text: &str) -> Option<Decimal> {
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
        return Some(Decimal {
            negative: false,
            digits: Vec::new(),
            exponent: 0,
        });
    }
    let place = i32::try_from(whole.len()).ok()? - 1 - i32::try_from(leading).ok()?;
    let exponent = exponent.checked_add(place)?;
    if significant.len() > DIGITS_MAX || !(EXPONENT_MIN..=EXPONENT_MAX).contains(&exponent) {
        return None;
    }
    Some(Decimal {
        negative,
        digits: significant.to_vec(),
        exponent,
    })
}

/// The bytes of a number; `None` where the text is none, or one beyond the bounds.
pub(super) fn ordered(text: &str) -> Option<Vec<u8>> {
    let Decimal {
        negative,
        digits,
        exponent,
    } = parse(text)?;
    if digits.is_empty() {
        return Some(vec![ZERO]);
    }
    let exponent = u8::try_from(exponent - EXPONENT_MIN).ok()?;
    let mut bytes = Vec::with_capacity(digits.len() + 3);
    if negative {
        bytes.extend([NEGATIVE, !exponent]);
        bytes.extend(digits.iter().map(|digit| !digit));
        bytes.push(END_OF_NEGATIVE);
    } else {
        bytes.extend([POSITIVE, exponent]);
        bytes.extend(digits);
    }
    Some(bytes)
}

/// The one text of a number, without an exponent, and how many bytes of an item it counts: one for two digits,
/// and one more. `None` as for [`ordered`].
pub(super) fn plain(text: &str) -> Option<(String, usize)> {
    let Decimal {
        negative,
        digits,
        exponent,
    } = parse(text)?;
    let bytes = digits.len().div_ceil(2) + 1 + usize::from(negative);
    let mut plain = String::from(if negative { "-" } else { "" });
    // How many digits stand before the point; with none of them there are zeros behind it first.
    let whole = usize::try_from(exponent + 1).unwrap_or(0);
    if digits.is_empty() || whole == 0 {
        plain.push('0');
    }
    if !digits.is_empty() {
        let before = &digits[..whole.min(digits.len())];
        plain.extend(before.iter().copied().map(char::from));
        plain.extend(std::iter::repeat_n('0', whole - before.len()));
        let behind = &digits[before.len()..];
        if !behind.is_empty() {
            plain.push('.');
            let zeros = usize::try_from(-1 - exponent).unwrap_or(0);
            plain.extend(std::iter::repeat_n('0', zeros));
            plain.extend(behind.iter().copied().map(char::from));
        }
    }
    Some((plain, bytes))
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
    fn a_number_is_told_by_its_value() {
        for (text, expected, bytes) in [
            ("1.50", "1.5", 2),
            ("007", "7", 2),
            ("-0.0", "0", 1),
            ("1E2", "100", 2),
            ("-12.5e-3", "-0.0125", 4),
            ("+.5", "0.5", 2),
            ("12345E-2", "123.45", 4),
            ("1e-5", "0.00001", 2),
        ] {
            let (told, counted) = plain(text).unwrap();
            assert_eq!((told.as_str(), counted), (expected, bytes), "{text}");
            assert_eq!(ordered(&told), ordered(text), "{text}");
        }
        assert_eq!(plain("9e125").unwrap().0.len(), 126);
        assert_eq!(plain("1e126"), None);
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
