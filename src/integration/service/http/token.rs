//! Tokens of connections: fetched for an id and a secret, and kept while they hold.
//!
//! Spec: RFC 6749, section 4.4. Invariant: a token is held in memory alone, and one is fetched at a time for a
//! connection, however many requests wait for it.

use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hyper::{
    body::Bytes,
    http::{self, HeaderValue, header},
};
use serde_json::Value;
use tokio::{sync::Mutex, time::Instant};

use super::{connection_failure, form, socket};
use crate::{
    config::{ClientProof, ConnectionKind},
    integration::service::remote::{Lost, Wire, encode},
    network::Mask,
    payload::Failure,
};

/// How long a token may take to come.
const PATIENCE: Duration = Duration::from_secs(20);

/// A token that nothing is said about holds so long; else a server's word counts.
const HOLDS: Duration = Duration::from_hours(1);

/// Longest that a token is kept: nobody's word counts for longer.
const HOLDS_MAX: Duration = Duration::from_hours(24);

/// So long before its end a token is fetched anew, or a tenth of its life where that is shorter: a request
/// takes a while, and clocks differ.
const EARLIER_MAX: Duration = Duration::from_mins(1);

/// Longest token: servers take headers of some 8 KiB.
const TOKEN_BYTES_MAX: usize = 16 << 10;

/// Of what a server refuses with, an error tells so much.
const TOLD_CHARS_MAX: usize = 200;

/// The token of a connection.
#[derive(Debug, Default)]
pub(super) struct Token(Mutex<Option<Held>>);

struct Held {
    token: String,
    until: Instant,
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Why by hand: a token stands in no log.
        f.debug_struct("Held").finish_non_exhaustive()
    }
}

impl Token {
    /// The one that holds, or a new one.
    pub(super) async fn get(
        &self,
        wire: &Wire,
        name: &str,
        kind: &ConnectionKind,
        secret: &str,
    ) -> Result<String, Failure> {
        let mut held = self.0.lock().await;
        if let Some(held) = &*held
            && Instant::now() < held.until
        {
            return Ok(held.token.clone());
        }
        let fresh = fetch(wire, name, kind, secret).await?;
        Ok(held.insert(fresh).token.clone())
    }

    /// A token was refused; another one is fetched, unless somebody has by now.
    pub(super) async fn refused(&self, token: &str) {
        let mut held = self.0.lock().await;
        held.take_if(|held| held.token == token);
    }
}

async fn fetch(
    wire: &Wire,
    name: &str,
    kind: &ConnectionKind,
    secret: &str,
) -> Result<Held, Failure> {
    let asked = request(kind, secret).ok_or_else(|| {
        connection_failure(
            "InvalidConnectionState",
            format!("connections.{name}: its settings make no request for a token"),
        )
    })?;
    let began = Instant::now();
    let response = wire.send(asked, PATIENCE).await.map_err(|lost| {
        let why = match lost {
            Lost::Unreached(why) | Lost::Broken(why) => why,
            Lost::TooLarge => "the answer is too large".to_owned(),
        };
        socket(format!("connections.{name}: no token: {why}"))
    })?;
    let body: Value = serde_json::from_slice(&response.body).unwrap_or_default();
    if !(200..300).contains(&response.status) {
        let what = if response.status >= 500 {
            "InternalError"
        } else {
            "InvalidConnectionState"
        };
        let words = ["error", "error_description"]
            .iter()
            .filter_map(|key| body.get(*key)?.as_str())
            .collect::<Vec<_>>()
            .join(": ");
        let words = Mask::new([secret.to_owned()].iter()).of_failure(&words);
        let words: String = words.chars().take(TOLD_CHARS_MAX).collect();
        let colon = if words.is_empty() { "" } else { ": " };
        return Err(connection_failure(
            what,
            format!(
                "connections.{name}: token_url answers {}{colon}{words}",
                response.status
            ),
        ));
    }
    match taken(&body) {
        Ok((token, holds)) => Ok(Held {
            token,
            until: began + holds,
        }),
        Err(why) => Err(connection_failure(
            "InvalidConnectionState",
            format!("connections.{name}: what token_url answers {why}"),
        )),
    }
}

/// Asks for a token; `None` where the kind has none.
fn request(kind: &ConnectionKind, secret: &str) -> Option<http::Request<Bytes>> {
    let ConnectionKind::OAuth {
        token_url,
        client_id,
        proof,
        scope,
        parameters,
        ..
    } = kind
    else {
        return None;
    };
    let mut fields = vec![("grant_type", "client_credentials")];
    let mut request = http::Request::post(token_url)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(header::ACCEPT, "application/json")
        .header(header::USER_AGENT, super::request::USER_AGENT);
    match proof {
        // Spec: RFC 6749, section 2.3.1: both are encoded as in a form first.
        ClientProof::Header => {
            let both = BASE64_STANDARD.encode(format!("{}:{}", encode(client_id), encode(secret)));
            let mut both = HeaderValue::from_str(&format!("Basic {both}")).ok()?;
            both.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, both);
        }
        ClientProof::Body => {
            fields.push(("client_id", client_id));
            fields.push(("client_secret", secret));
        }
    }
    fields.extend(scope.as_deref().map(|scope| ("scope", scope)));
    fields.extend(
        parameters
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str())),
    );
    let form = form::pairs(fields.into_iter());
    request.body(Bytes::from(form)).ok()
}

/// The token of an answer, and for how long it is kept; what is wrong with it else.
fn taken(body: &Value) -> Result<(String, Duration), &'static str> {
    let token = body.get("access_token").and_then(Value::as_str);
    let token = token.ok_or("has no access_token")?;
    if token.is_empty()
        || token.len() > TOKEN_BYTES_MAX
        || !token.bytes().all(|b| b.is_ascii_graphic())
    {
        return Err("has an access_token that no header can hold");
    }
    let kind = body.get("token_type").and_then(Value::as_str);
    if kind.is_some_and(|kind| !kind.eq_ignore_ascii_case("bearer")) {
        return Err("has another token_type than Bearer");
    }
    // Why a text, too: some servers write one.
    let seconds = match body.get("expires_in") {
        Some(Value::String(text)) => text.parse().ok(),
        Some(value) => value.as_f64(),
        None => None,
    };
    let holds = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let holds = holds.unwrap_or(HOLDS).min(HOLDS_MAX);
    let earlier = (holds / 10).min(EARLIER_MAX);
    Ok((token.to_owned(), holds.saturating_sub(earlier)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_token_is_kept_until_shortly_before_its_end() {
        let seconds = |body: &Value| taken(body).map(|(_, holds)| holds.as_secs());
        let of = |expires: Value| json!({"access_token": "t", "token_type": "bearer", "expires_in": expires});
        for (expires, kept) in [
            (json!(3600), 3540),
            (json!("3600"), 3540),
            (json!(10), 9),
            (json!(0), 0),
            (json!(-1), 3540),
            (json!(1e300), 3540),
            (json!(1_000_000), 24 * 3600 - 60),
        ] {
            assert_eq!(seconds(&of(expires.clone())), Ok(kept), "{expires}");
        }
        assert_eq!(seconds(&json!({"access_token": "t"})), Ok(3540));
    }

    #[test]
    fn what_is_no_token_is_told() {
        for (body, expected) in [
            (json!({}), "has no access_token"),
            (json!({"access_token": "a\nb"}), "no header can hold"),
            (
                json!({"access_token": "t", "token_type": "mac"}),
                "another token_type",
            ),
        ] {
            let why = taken(&body).unwrap_err();
            assert!(why.contains(expected), "{why}");
        }
    }
}
