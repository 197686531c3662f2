//! Where services are that tasks of state machines ask: `[services]` and `[services.NAME]`.
//!
//! Owns how the settings say so. Which services there are, and how one is reached, `integration` knows.

use std::collections::BTreeMap;

use hyper::Uri;
use toml::de::DeValue;

use super::{problem::quoted, size::quote, values::text};

/// Longest host name with scheme and port that is taken; DNS ends at 253.
const ENDPOINT_CHARS_MAX: usize = 300;

/// `[services]`: what holds for all services, and for some.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServiceSettings {
    /// Where all services are that are named nowhere else; `None`: where the daemon has a default of its
    /// own, that, and nothing else.
    pub endpoint: Option<Endpoint>,
    /// The AWS region of all of them; `None`: `$AWS_REGION`, else the daemon's own.
    pub region: Option<String>,
    /// The profile of AWS's shared files whose credentials sign; `None`: AWS's usual chain.
    pub profile: Option<String>,
    /// `[services.NAME]`, by the name that resources have: `dynamodb`.
    pub named: BTreeMap<String, OneService>,
}

impl ServiceSettings {
    /// Where a service is that the daemon would be itself; `None`: here.
    #[must_use]
    pub fn endpoint_of(&self, service: &str) -> Option<&Endpoint> {
        let own = self.named.get(service);
        let own = own.and_then(|own| own.endpoint.as_ref());
        own.or(self.endpoint.as_ref())
    }
}

/// `[services.NAME]`: what is different for one service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OneService {
    /// Where it is.
    pub endpoint: Option<Endpoint>,
    /// Its region.
    pub region: Option<String>,
}

/// Where a service is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// AWS's own, in the service's region: `"aws"`.
    Aws,
    /// A server that speaks the service's protocol: scheme, host and port, without a last slash.
    Url(String),
}

impl Endpoint {
    /// As a file says it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Aws => "aws",
            Self::Url(url) => url,
        }
    }
}

impl OneService {
    /// The section as an inline table.
    pub(crate) fn show(&self) -> String {
        let endpoint = self.endpoint.as_ref().map(Endpoint::as_str);
        let keys = [("endpoint", endpoint), ("region", self.region.as_deref())];
        let said: Vec<String> = keys
            .iter()
            .filter_map(|(key, value)| Some(format!("{key} = {}", quote(&(*value)?))))
            .collect();
        match said.as_slice() {
            [] => "{}".to_owned(),
            said => format!("{{ {} }}", said.join(", ")),
        }
    }
}

/// `"aws"`, or the beginning of a URL.
pub(crate) fn endpoint(value: &DeValue<'_>) -> Result<Endpoint, String> {
    let written = text(value)?;
    if written == "aws" {
        return Ok(Endpoint::Aws);
    }
    if written.contains('@') {
        // Why not quoted: before the sign stands a secret.
        return Err(
            "a place of a service has no user; credentials are AWS's usual ones".to_owned(),
        );
    }
    let plain = written.trim_end_matches('/');
    let known = plain.len() <= ENDPOINT_CHARS_MAX
        && plain.parse::<Uri>().is_ok_and(|uri| {
            matches!(uri.scheme_str(), Some("http" | "https"))
                && uri.host().is_some_and(|host| !host.is_empty())
                && !plain.contains(['?', '#'])
                && matches!(uri.path(), "" | "/")
        });
    if known {
        return Ok(Endpoint::Url(plain.to_owned()));
    }
    Err(format!(
        "{} is no place of a service; write \"aws\", or for example \"http://127.0.0.1:5000\"",
        quoted(&written)
    ))
}

/// The name of a profile in AWS's shared files.
pub(crate) fn profile(value: &DeValue<'_>) -> Result<String, String> {
    let name = text(value)?;
    if name.len() <= 128 && !name.chars().any(|c| c.is_control() || "[]".contains(c)) {
        return Ok(name);
    }
    Err(format!(
        "{} is no profile; write the name in the brackets of ~/.aws/credentials",
        quoted(&name)
    ))
}
