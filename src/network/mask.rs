//! Takes secrets out of what a service answers: it may repeat what it was sent.
//!
//! Why two measures: a cause is for people, and loses any secret however short; a result is data, and a
//! secret of a few characters or of digits alone is too likely to stand in it by chance.
//!
//! Invariant: how JSON spells a character (`+`, `\u002B`, `\u002b`; `/`, `\/`) changes nothing, mixed or not.

use std::borrow::Cow;

/// What stands in a secret's place.
const MASK: &str = "***";

/// A result loses secrets of so many bytes.
const RESULT_BYTES_MIN: usize = 8;

/// Bytes of text that spell one of a secret: `\u002B`.
const SPELLED_BYTES_MAX: usize = 6;

/// The secrets, in the forms that a response may repeat them in.
pub(crate) struct Mask {
    all: Vec<String>,
    in_results: Vec<String>,
}

impl Mask {
    pub(crate) fn new<'a>(secrets: impl Iterator<Item = &'a String>) -> Self {
        let (mut all, mut in_results) = (Vec::new(), Vec::new());
        for secret in secrets.filter(|secret| !secret.trim().is_empty()) {
            let forms = forms(secret);
            if secret.len() >= RESULT_BYTES_MIN && !secret.bytes().all(|b| b.is_ascii_digit()) {
                in_results.extend(forms.clone());
            }
            all.extend(forms);
        }
        for forms in [&mut all, &mut in_results] {
            // Why the longest first: one secret may be part of another.
            forms.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
            forms.dedup();
        }
        Self { all, in_results }
    }

    /// A cause without secrets.
    pub(crate) fn of_failure(&self, text: &str) -> String {
        masked(text, &self.all).into_owned()
    }

    /// A response's body without secrets.
    pub(crate) fn of_result<'a>(&self, text: &'a str) -> Cow<'a, str> {
        masked(text, &self.in_results)
    }

    /// The longest form, in bytes: what has to be read beyond a cut so that none is cut in two.
    pub(crate) fn longest(&self) -> usize {
        let longest = self.all.first().map_or(0, String::len);
        longest.saturating_mul(SPELLED_BYTES_MAX)
    }
}

fn masked<'a>(text: &'a str, forms: &[String]) -> Cow<'a, str> {
    let mut text = Cow::Borrowed(text);
    for form in forms {
        if memchr::memmem::find(text.as_bytes(), form.as_bytes()).is_some() {
            text = Cow::Owned(text.replace(form, MASK));
        }
        if let Some(masked) = without_spelled(&text, form) {
            text = Cow::Owned(masked);
        }
    }
    text
}

/// A text without a form whose characters are spelled as JSON may spell them; `None`: it is not there.
fn without_spelled(text: &str, form: &str) -> Option<String> {
    let bytes = text.as_bytes();
    memchr::memchr(b'\\', bytes)?;
    let first = *form.as_bytes().first()?;
    let (mut out, mut kept, mut at) = (String::new(), 0, 0);
    while let Some(next) = memchr::memchr2(b'\\', first, bytes.get(at..)?) {
        at += next;
        match text.get(at..).and_then(|rest| spelled(rest, form)) {
            Some(length) => {
                out.push_str(text.get(kept..at)?);
                out.push_str(MASK);
                at += length;
                kept = at;
            }
            None => at += 1,
        }
    }
    if kept == 0 {
        return None;
    }
    out.push_str(text.get(kept..)?);
    Some(out)
}

/// Bytes of a text's beginning that spell a form.
fn spelled(text: &str, form: &str) -> Option<usize> {
    let mut units = [0; 2];
    let mut rest = text;
    for wanted in form.chars() {
        // Why not a backslash: in JSON none stands for itself.
        if wanted != '\\'
            && let Some(behind) = rest.strip_prefix(wanted)
        {
            rest = behind;
            continue;
        }
        let behind = rest.strip_prefix('\\')?;
        // Spec: RFC 8259, 7: these have a short spelling.
        let short = match wanted {
            '"' | '\\' | '/' => Some(wanted),
            '\u{8}' => Some('b'),
            '\u{c}' => Some('f'),
            '\n' => Some('n'),
            '\r' => Some('r'),
            '\t' => Some('t'),
            _ => None,
        };
        if let Some(behind) = short.and_then(|short| behind.strip_prefix(short)) {
            rest = behind;
            continue;
        }
        for unit in wanted.encode_utf16(&mut units) {
            let digits = rest.strip_prefix("\\u")?.get(..4)?;
            if u16::from_str_radix(digits, 16).ok()? != *unit {
                return None;
            }
            rest = rest.get(6..)?;
        }
    }
    Some(text.len() - rest.len())
}

/// As it is, as part of a URL.
fn forms(secret: &str) -> Vec<String> {
    let mut forms = vec![secret.to_owned(), secret.trim().to_owned()];
    if let Ok(mut url) = reqwest::Url::parse("http://x/") {
        url.query_pairs_mut().append_pair("", secret);
        let form = url.query().unwrap_or_default();
        forms.push(form.trim_start_matches('=').to_owned());
        forms.push(form.trim_start_matches('=').replace('+', "%20"));
        url.set_query(Some(secret));
        forms.push(url.query().unwrap_or_default().to_owned());
        url.set_path(secret);
        forms.push(url.path().trim_start_matches('/').to_owned());
    }
    forms.retain(|form| !form.is_empty());
    forms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_masked_in_any_of_its_forms() {
        let secrets = ["to ken\"/+ä".to_owned(), "1234".to_owned(), " ".to_owned()];
        let mask = Mask::new(secrets.iter());
        for text in [
            "to ken\"/+ä",
            r#"{"a":"to ken\"/+ä"}"#,
            "http://x/?key=to+ken%22%2F%2B%C3%A4",
            "http://x/?key=to%20ken%22%2F%2B%C3%A4",
            "the PIN 1234",
        ] {
            let told = mask.of_failure(text);
            assert!(told.contains("***"), "{text}: {told}");
            assert!(!told.contains("ken") && !told.contains("1234"), "{told}");
        }
        assert_eq!(
            mask.of_result("[51234, \"to ken\\\"/+ä\"]"),
            "[51234, \"***\"]"
        );
    }

    #[test]
    fn the_longer_of_two_secrets_goes_first() {
        let secrets = ["secret12".to_owned(), "secret123".to_owned()];
        let mask = Mask::new(secrets.iter());
        assert_eq!(mask.of_failure("secret123 secret12"), "*** ***");
        assert_eq!(mask.longest(), 9 * SPELLED_BYTES_MAX);
    }

    #[test]
    fn a_secret_is_masked_however_json_spells_it() {
        let secret = "a+b/c=\"d\\e\tä\u{1f511}nbf".to_owned();
        let mask = Mask::new([secret.clone()].iter());
        for text in [
            r#"["x a+b/c=\"d\\e\tä🔑nbf y"]"#,
            r#"["x a\u002Bb\/c\u003d\"d\\e\tä🔑nbf y"]"#,
            r#"["x \u0061\u002bb\/c\u003D\u0022d\u005ce\u0009\u00e4\ud83d\uDD11\u006ebf y"]"#,
        ] {
            let value: Vec<String> = serde_json::from_str(text).unwrap();
            assert_eq!(value[0], format!("x {secret} y"), "the test means it");
            assert_eq!(mask.of_result(text), r#"["x *** y"]"#);
            assert_eq!(mask.of_failure(text), r#"["x *** y"]"#);
        }
        for other in [
            r#"["a\u002cb\/c\u003d\"d\\e\tä🔑nbf"]"#,
            r#"["a+b/c=\"d\\e\tä\ud83d\ud83dnbf"]"#,
            r#"["a+b/c=\"d\\e\tä🔑\n\b\f"]"#,
            r#"["\u00"#,
            r#"["\"#,
        ] {
            assert_eq!(mask.of_result(other), other);
        }
        let key = Mask::new(["s3cret/key".to_owned()].iter());
        assert_eq!(
            key.of_result(r#"{"s3cret\/key": "s3cret\u002fkey\/s3cret/key"}"#),
            r#"{"***": "***\/***"}"#
        );
    }
}
