//! Posts to webhooks: once, without redirects, and whatever answers 2xx has taken it.

use std::{fmt::Write as _, io, time::Duration};

use hmac::{Hmac, KeyInit as _, Mac as _};
use hyper::{body::Bytes, http};
use sha2::Sha256;

use super::NotTaken;
use crate::integration::service::remote::{Lost, Wire};

/// How long a post may take. Spec: what SNS waits for an HTTP endpoint.
const PATIENCE: Duration = Duration::from_secs(15);

/// The header that says by which key a body is vouched for.
const SIGNATURE: &str = "x-iterd-signature";

/// Of what a webhook answers with a refusal, an error tells so much.
const TOLD_CHARS_MAX: usize = 200;

/// A client for webhooks; cheap to clone.
#[derive(Debug, Clone)]
pub struct Webhooks(Wire);

/// Something that is posted.
#[derive(Debug)]
pub struct Post<'a> {
    /// Where to.
    pub url: &'a str,
    /// Names in lower case.
    pub headers: Vec<(&'static str, String)>,
    /// What.
    pub body: String,
    /// What the body is signed with: HMAC of SHA-256, told as `sha256=HEX`.
    pub secret: Option<&'a str>,
}

impl Webhooks {
    /// Trusts whom this system trusts.
    pub fn new() -> io::Result<Self> {
        Ok(Self(Wire::new(None)?))
    }

    /// Posts once.
    pub async fn post(&self, post: Post<'_>) -> Result<(), NotTaken> {
        let mut request = http::Request::post(post.url)
            .header("content-type", "text/plain; charset=UTF-8")
            .header("user-agent", concat!("iterd/", env!("CARGO_PKG_VERSION")));
        for (name, value) in &post.headers {
            request = request.header(*name, value);
        }
        if let Some(secret) = post.secret {
            request = request.header(SIGNATURE, signature(secret, post.body.as_bytes())?);
        }
        let request = request
            .body(Bytes::from(post.body))
            .map_err(|_| NotTaken::for_now("the URL of the webhook is none"))?;
        match self.0.hand_over(request, PATIENCE).await {
            Ok((status, _)) if (200..300).contains(&status) => Ok(()),
            Ok((status, _)) if (300..400).contains(&status) => Err(NotTaken::for_now(format!(
                "it answers {status}, and redirects are not followed; write the URL that it leads to"
            ))),
            Ok((status, words)) => {
                let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
                let words: String = words.chars().take(TOLD_CHARS_MAX).collect();
                let colon = if words.is_empty() { "" } else { ": " };
                Err(NotTaken::for_now(format!(
                    "it answers {status}{colon}{words}"
                )))
            }
            Err(Lost::Unreached(why) | Lost::Broken(why)) => Err(NotTaken::for_now(why)),
            Err(Lost::TooLarge) => Err(NotTaken::for_now("its answer has too many headers")),
        }
    }
}

fn signature(secret: &str, body: &[u8]) -> Result<String, NotTaken> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes())
        .map_err(|_| NotTaken::for_now("the secret of the webhook is no key"))?;
    mac.update(body);
    let mut told = "sha256=".to_owned();
    for byte in mac.finalize().into_bytes() {
        // Why ok: nothing goes wrong in memory.
        write!(told, "{byte:02x}").ok();
    }
    Ok(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_signed_as_receivers_check_it() {
        // Of `printf %s 'Hello, World!' | openssl dgst -sha256 -hmac "It's a Secret to Everybody"`.
        let told = signature("It's a Secret to Everybody", b"Hello, World!").unwrap();
        assert_eq!(
            told,
            "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
        );
    }
}
