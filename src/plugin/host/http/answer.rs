//! What a response means: a result, or a failure and what it asks for.
//!
//! Invariant: a response is bounded while it is read; whoever sends without end is hung up on.

use std::{collections::HashMap, time::Duration};

use jiff::fmt::rfc2822;
use reqwest::{
    Response, StatusCode,
    header::{self, HeaderMap},
};
use serde_json::{Map, Value, value::RawValue};

use super::{Settings, client::socket_failure};
use crate::{
    network::Mask,
    payload::{Failure, Payload},
    plugin::{
        lines::first_bytes,
        manifest::{ResponseForm, RetryAfter},
        protocol::push_text,
    },
    time::{Clock as _, SystemClock},
};

/// How much of a refusal's body is told.
const TOLD_BYTES_MAX: usize = 2 << 10;

/// Longest wait that a server may ask for; one that wants more is asked again after a day.
const WAIT_MAX: Duration = Duration::from_hours(24);

/// Reads responses.
pub(super) struct Answers<'a> {
    pub(super) settings: &'a Settings,
    pub(super) mask: &'a Mask,
}

/// An answer that is longer than a line may be.
pub(super) fn too_large(bytes_max: usize) -> Failure {
    Failure::new(
        "Iterd.AnswerTooLarge",
        format!(
            "a response of more than {bytes_max} bytes; ask for less, or raise response_bytes_max and line_bytes_max in plugin.toml"
        ),
    )
}

/// A part of a result, with its text.
pub(super) fn part(result: &str, pointer: &str) -> Result<String, Failure> {
    let none = || {
        Failure::new(
            "Iterd.InvalidAnswer",
            format!("the response has no {pointer}, where `http.results` has the results"),
        )
    };
    let mut text = result;
    for name in pointer.split('/').skip(1) {
        let name = name.replace("~1", "/").replace("~0", "~");
        let fields: Result<HashMap<String, &RawValue>, _> = serde_json::from_str(text);
        let field = fields.ok().and_then(|fields| fields.get(&name).copied());
        text = field.ok_or_else(none)?.get();
    }
    Ok(text.to_owned())
}

impl Answers<'_> {
    /// The result's JSON.
    pub(super) async fn take(&self, response: Response) -> Result<String, Failure> {
        let status = response.status();
        if !self.settings.plan.success.contains(status.as_u16()) {
            return Err(self.refusal(response).await);
        }
        let headers = response.headers().clone();
        let bytes_max = self.settings.response_bytes_max;
        let (bytes, whole) = read(response, bytes_max).await?;
        if !whole {
            return Err(too_large(bytes_max));
        }
        let text = text_of(bytes);
        let text = self.mask.of_result(text.trim_start_matches('\u{feff}'));
        match self.settings.response {
            ResponseForm::Json => json(&text, &headers),
            ResponseForm::Text => {
                let mut result = Vec::with_capacity(text.len() + 2);
                push_text(&text, &mut result);
                Ok(text_of(result))
            }
            ResponseForm::Full => Ok(self.full(status, &headers, &text)),
        }
    }

    /// `{"status", "headers", "body"}`; the body is JSON where it says so and is.
    fn full(&self, status: StatusCode, headers: &HeaderMap, body: &str) -> String {
        let mut told = Map::new();
        for name in headers.keys() {
            let values = headers.get_all(name).iter();
            let values: Vec<_> = values
                .map(|value| String::from_utf8_lossy(value.as_bytes()))
                .collect();
            let text = self.mask.of_failure(&values.join(", "));
            told.insert(name.as_str().to_owned(), text.into());
        }
        let mut result = format!(
            "{{\"status\":{},\"headers\":{},\"body\":",
            status.as_u16(),
            Value::Object(told)
        )
        .into_bytes();
        if is_json(headers) && Payload::parse(body).is_ok() {
            result.extend_from_slice(body.as_bytes());
        } else {
            push_text(body, &mut result);
        }
        result.push(b'}');
        text_of(result)
    }

    /// A failure by its status, with the first words of the body.
    async fn refusal(&self, response: Response) -> Failure {
        let status = response.status();
        let asked = self.asked_wait(status, response.headers());
        let mut cause = status.to_string();
        if let Some(place) = super::request::redirect(&response) {
            cause.push_str(" to ");
            cause.push_str(place);
            cause.push_str("; `redirects` says how many are followed");
        }
        // Why more than is told: a secret must not lose its end, and with it the mask.
        let enough = TOLD_BYTES_MAX + self.mask.longest();
        if let Ok((bytes, _)) = read(response, enough).await {
            let body = self.mask.of_failure(&text_of(bytes));
            let body = first_bytes(body.trim(), TOLD_BYTES_MAX);
            if !body.is_empty() {
                cause.push_str(": ");
                cause.push_str(body);
            }
        }
        let mends = self.settings.plan.retry.contains(status.as_u16());
        let mut failure =
            Failure::new(format!("States.Http.StatusCode.{}", status.as_u16()), cause);
        match (asked, self.settings.retry_after) {
            (Some(wait), RetryAfter::Limiter) => {
                failure.retry_after = Some(wait);
                failure.close_limiter = Some(wait);
            }
            (Some(wait), RetryAfter::Item) => failure.retry_after = Some(wait),
            (Some(_), RetryAfter::Ignore) | (None, _) => {
                failure.retry = (!mends).then_some(false);
            }
        }
        failure
    }

    /// How long the server asks to be left alone.
    fn asked_wait(&self, status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
        let asks = matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
        );
        if !asks || self.settings.retry_after == RetryAfter::Ignore {
            return None;
        }
        let field = |name| headers.get(name)?.to_str().ok();
        // Why its own clock before ours: the two need not agree.
        let now = field(header::DATE)
            .and_then(instant)
            .unwrap_or_else(|| SystemClock.now().to_jiff().as_second());
        wait(field(header::RETRY_AFTER)?, now)
    }
}

/// Seconds, or a date; `None` where that is no time to wait for.
fn wait(text: &str, now: i64) -> Option<Duration> {
    let text = text.trim();
    let seconds = if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        text.parse().unwrap_or(u64::MAX)
    } else {
        u64::try_from(instant(text)?.checked_sub(now)?).ok()?
    };
    (seconds > 0).then(|| Duration::from_secs(seconds).min(WAIT_MAX))
}

/// The seconds of a date as HTTP writes it.
fn instant(text: &str) -> Option<i64> {
    let parser = rfc2822::DateTimeParser::new();
    Some(parser.parse_timestamp(text.trim()).ok()?.as_second())
}

fn json(text: &str, headers: &HeaderMap) -> Result<String, Failure> {
    if text.trim().is_empty() {
        return Ok("null".to_owned());
    }
    match Payload::parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => {
            let encoding = headers.get(header::CONTENT_ENCODING);
            let told = match encoding.and_then(|it| it.to_str().ok()) {
                Some(encoding) => format!("it is encoded as {encoding}, and was not asked to be"),
                None => first_bytes(text.trim(), TOLD_BYTES_MAX).to_owned(),
            };
            Err(Failure::new(
                "Iterd.InvalidAnswer",
                format!("the response is no valid JSON: {error}: {told}"),
            ))
        }
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|it| it.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/json") || kind.to_ascii_lowercase().ends_with("+json")
}

/// The body up to so many bytes, and whether that is all of it.
async fn read(mut response: Response, bytes_max: usize) -> Result<(Vec<u8>, bool), Failure> {
    let mut bytes = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if chunk.len() > bytes_max - bytes.len() => {
                let room = bytes_max - bytes.len();
                bytes.extend_from_slice(&chunk[..room]);
                return Ok((bytes, false));
            }
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) => return Ok((bytes, true)),
            Err(error) => {
                let failure = socket_failure(&error.without_url());
                let cause = format!("the response broke off: {}", failure.cause);
                return Err(Failure { cause, ..failure });
            }
        }
    }
}

fn text_of(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_seconds_or_a_date_and_never_longer_than_a_day() {
        let now = instant("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        assert_eq!(now, 784_111_777);
        for (text, seconds) in [
            ("30", Some(30)),
            (" 1 ", Some(1)),
            ("0", None),
            ("", None),
            ("soon", None),
            ("-5", None),
            ("99999999999999999999999", Some(86_400)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", None),
            ("Sun, 06 Nov 1994 08:00:00 GMT", None),
            ("Mon, 06 Nov 2034 08:49:37 GMT", Some(86_400)),
        ] {
            let expected = seconds.map(Duration::from_secs);
            assert_eq!(wait(text, now), expected, "{text}");
        }
    }
}
