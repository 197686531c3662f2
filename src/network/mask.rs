//! Takes secrets out of what a service answers: it may repeat what it was sent.
//!
//! Why two measures: a cause is for people, and loses any secret however short; a result is data, and a
//! secret of a few characters or of digits alone is too likely to stand in it by chance.

use std::borrow::Cow;

/// What stands in a secret's place.
const MASK: &str = "***";

/// A result loses secrets of so many bytes.
const RESULT_BYTES_MIN: usize = 8;

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
        self.all.first().map_or(0, String::len)
    }
}

fn masked<'a>(text: &'a str, forms: &[String]) -> Cow<'a, str> {
    let mut text = Cow::Borrowed(text);
    for form in forms {
        if memchr::memmem::find(text.as_bytes(), form.as_bytes()).is_some() {
            text = Cow::Owned(text.replace(form, MASK));
        }
    }
    text
}

/// As it is, as a text in JSON, as part of a URL.
fn forms(secret: &str) -> Vec<String> {
    let mut forms = vec![secret.to_owned(), secret.trim().to_owned()];
    let json = serde_json::Value::from(secret).to_string();
    forms.push(json[1..json.len() - 1].to_owned());
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
        assert_eq!(mask.longest(), 9);
    }
}
