//! What tasks of state machines prove themselves by to APIs: `[connections.NAME]`.
//!
//! Owns the keys, and to which hosts a connection goes. How a request is made, `integration` knows.
//! Invariant: a secret is named by a reference and never stands here.
//!
//! Why `hosts` must be written: on AWS a role says which endpoints a connection may be used for; here whoever
//! writes a definition names any address, and without a list could have the secret sent to his own.

use std::{collections::BTreeMap, net::IpAddr};

use hyper::{
    Uri,
    http::{HeaderName, HeaderValue},
};
use serde_json::{Map, Value};
use toml::de::DeValue;

use super::{
    document::Section,
    problem::quoted,
    size::quote,
    topics::{is_loopback, reference},
    trigger::toml_of,
    values::{one_of, text},
};
use crate::network::{Grant, may_be_meant};

/// Most hosts of a connection; an API has one, or one for each region.
const HOSTS_MAX: usize = 100;

/// Most entries of a table. Spec: EventBridge takes 100 parameters of each kind.
const ENTRIES_MAX: usize = 100;

/// Longest text of an entry. Spec: EventBridge, 512; tokens of other systems are longer.
const TEXT_BYTES_MAX: usize = 8 << 10;

/// Longest URL of a token.
const URL_BYTES_MAX: usize = 2048;

/// Headers that say how a message is read or where it goes: another value would make it another message.
const FRAMING: [&str; 9] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

const KINDS: [(&str, Kind); 3] = [
    ("basic", Kind::Basic),
    ("api-key", Kind::ApiKey),
    ("oauth", Kind::OAuth),
];

const PLACES: [(&str, ClientProof); 2] =
    [("header", ClientProof::Header), ("body", ClientProof::Body)];

#[derive(Debug, Clone, Copy)]
enum Kind {
    Basic,
    ApiKey,
    OAuth,
}

/// `[connections.NAME]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionSpec {
    /// What it proves itself by.
    pub kind: ConnectionKind,
    /// Where it goes, and nowhere else; not empty.
    pub hosts: Vec<ConnectionHost>,
    /// Added to every request, in the place of what a task says.
    pub headers: BTreeMap<String, String>,
    /// Parameters of the query, likewise.
    pub query: BTreeMap<String, String>,
    /// Fields of the body, likewise.
    pub body: Map<String, Value>,
}

/// What a connection proves itself by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectionKind {
    /// `Authorization: Basic`.
    Basic {
        /// As whom.
        user: String,
        /// A reference.
        password: String,
    },
    /// A header with a secret in it.
    ApiKey {
        /// The header.
        header: String,
        /// A reference.
        value: String,
    },
    /// A token that a server gives for an id and a secret. Spec: RFC 6749, client credentials.
    OAuth {
        /// Who gives it.
        token_url: String,
        /// As whom.
        client_id: String,
        /// A reference.
        client_secret: String,
        /// Where id and secret stand.
        proof: ClientProof,
        /// What it is for.
        scope: Option<String>,
        /// What is told beside that: `audience`, `resource`.
        parameters: BTreeMap<String, String>,
    },
}

/// Where the id and the secret of a client stand when it asks for a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientProof {
    /// `Authorization: Basic`, which every server takes.
    Header,
    /// Fields of the form.
    Body,
}

/// A host that a connection goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionHost {
    /// Its name or address, in lower case; IPv6 in brackets.
    pub name: String,
    /// Its port; `None`: the one that the URL's scheme stands for.
    pub port: Option<u16>,
}

impl ConnectionHost {
    /// Reads `api.example.com`, `api.example.com:8443`, `127.0.0.1:9000` or `[::1]:9000`.
    pub(crate) fn parse(written: &str) -> Result<Self, String> {
        let refuse = || {
            format!(
                "{} is no host; write for example \"api.example.com\" or \"127.0.0.1:9000\"",
                quoted(written)
            )
        };
        let (name, port) = match written.rsplit_once(':') {
            // What is in brackets has colons of its own.
            Some((name, port)) if !port.ends_with(']') => {
                let port = port.parse().ok().filter(|port| *port > 0);
                (name, Some(port.ok_or_else(refuse)?))
            }
            Some(_) | None => (written, None),
        };
        let bracketed = name.starts_with('[');
        // Why not such a last part: other readers of URLs take it for an address.
        let last = name.rsplit('.').next().unwrap_or_default();
        let number = last.starts_with("0x") || last.starts_with("0X");
        let plain = bracketed == name.contains(':') && !name.contains('/') && !name.ends_with('.');
        if !plain || number || Grant::parse(name).is_err() {
            return Err(refuse());
        }
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = bare.parse::<IpAddr>()
            && !may_be_meant(address)
        {
            return Err(format!(
                "{} is no address that a connection goes to: what a machine's own network is told by (the metadata of a cloud) and what is no single host; write the API's",
                quoted(written)
            ));
        }
        Ok(Self {
            name: name.to_ascii_lowercase(),
            port,
        })
    }

    /// As a file says it.
    #[must_use]
    pub fn show(&self) -> String {
        match self.port {
            Some(port) => format!("{}:{port}", self.name),
            None => self.name.clone(),
        }
    }
}

impl ConnectionSpec {
    /// Reads a `[connections.NAME]`; `None` where something is wrong with it, which is reported.
    pub(crate) fn read(mut section: Section<'_>) -> Option<Self> {
        let mend = "write kind = \"basic\", \"api-key\" or \"oauth\"";
        let kind = section.required("kind", mend, |value| one_of(value, &KINDS))?;
        let kind = match kind {
            Kind::Basic => basic(&mut section),
            Kind::ApiKey => api_key(&mut section),
            Kind::OAuth => oauth(&mut section),
        };
        let mend = "write where its secret may go, for example hosts = [\"api.example.com\"]";
        let wanted = section.required("hosts", mend, |_| Ok(()));
        let hosts = wanted.and_then(|()| {
            section.list("hosts", HOSTS_MAX, |value| {
                ConnectionHost::parse(&text(value)?)
            })
        });
        if hosts.as_ref().is_some_and(Vec::is_empty) {
            section.report_key("hosts", || {
                "it goes nowhere; write for example \"api.example.com\"".to_owned()
            });
        }
        let headers = texts(&mut section, "headers", header);
        let own = kind.as_ref().map(ConnectionKind::header);
        if let Some(own) = own
            && headers.keys().any(|name| name.eq_ignore_ascii_case(own))
        {
            section.report_key("headers", || {
                format!(
                    "{} is the header that the secret goes in; leave it out",
                    quoted(own)
                )
            });
        }
        let query = texts(&mut section, "query", |_, _| Ok(()));
        let body = section.opaque("body").unwrap_or_default();
        section.finish();
        Some(Self {
            kind: kind?,
            hosts: hosts?,
            headers,
            query,
            body,
        })
    }

    /// The section as an inline table.
    pub(crate) fn show(&self) -> String {
        let mut said = Vec::new();
        let mut say = |key: &str, value: String| said.push(format!("{key} = {value}"));
        match &self.kind {
            ConnectionKind::Basic { user, password } => {
                say("kind", quote(&"basic"));
                say("user", quote(user));
                say("password", quote(password));
            }
            ConnectionKind::ApiKey { header, value } => {
                say("kind", quote(&"api-key"));
                say("header", quote(header));
                say("value", quote(value));
            }
            ConnectionKind::OAuth {
                token_url,
                client_id,
                client_secret,
                proof,
                scope,
                parameters,
            } => {
                say("kind", quote(&"oauth"));
                say("token_url", quote(token_url));
                say("client_id", quote(client_id));
                say("client_secret", quote(client_secret));
                if *proof == ClientProof::Body {
                    say("client_in", quote(&"body"));
                }
                if let Some(scope) = scope {
                    say("scope", quote(scope));
                }
                if !parameters.is_empty() {
                    say("parameters", table(parameters));
                }
            }
        }
        let hosts: Vec<String> = self.hosts.iter().map(|host| quote(&host.show())).collect();
        say("hosts", format!("[{}]", hosts.join(", ")));
        for (key, entries) in [("headers", &self.headers), ("query", &self.query)] {
            if !entries.is_empty() {
                say(key, table(entries));
            }
        }
        if !self.body.is_empty() {
            say("body", toml_of(&Value::Object(self.body.clone())));
        }
        format!("{{ {} }}", said.join(", "))
    }
}

impl ConnectionKind {
    /// The header that the secret goes in.
    #[must_use]
    pub fn header(&self) -> &str {
        match self {
            Self::Basic { .. } | Self::OAuth { .. } => "authorization",
            Self::ApiKey { header, .. } => header,
        }
    }

    /// The key that names the secret, and its reference.
    #[must_use]
    pub fn reference(&self) -> (&'static str, &str) {
        match self {
            Self::Basic { password, .. } => ("password", password),
            Self::ApiKey { value, .. } => ("value", value),
            Self::OAuth { client_secret, .. } => ("client_secret", client_secret),
        }
    }
}

/// Whether a URL's host may be reached without TLS: nobody stands in between.
pub(crate) fn is_safe(scheme: &str, host: &str) -> bool {
    scheme == "https" || (scheme == "http" && is_loopback(host))
}

fn basic(section: &mut Section<'_>) -> Option<ConnectionKind> {
    let mend = "write for example user = \"iterd\"";
    let user = section.required("user", mend, |value| {
        let user = entry(value)?;
        if user.contains(':') {
            // Spec: RFC 7617; a server would take the rest for the password.
            return Err(format!("{} has a colon in it", quoted(&user)));
        }
        Ok(user)
    });
    let mend = "write where it is, for example password = \"credential:crm\"";
    let password = section.required("password", mend, reference);
    Some(ConnectionKind::Basic {
        user: user?,
        password: password?,
    })
}

fn api_key(section: &mut Section<'_>) -> Option<ConnectionKind> {
    let mend = "write for example header = \"x-api-key\"";
    let name = section.required("header", mend, |value| {
        let name = text(value)?;
        header(&name, "")?;
        Ok(name)
    });
    let mend = "write where it is, for example value = \"credential:crm\"";
    let value = section.required("value", mend, reference);
    Some(ConnectionKind::ApiKey {
        header: name?,
        value: value?,
    })
}

fn oauth(section: &mut Section<'_>) -> Option<ConnectionKind> {
    let mend = "write for example token_url = \"https://login.example.com/oauth2/token\"";
    let token_url = section.required("token_url", mend, token_url);
    let mend = "write the id that the server of the token knows this client by";
    let client_id = section.required("client_id", mend, entry);
    let mend = "write where it is, for example client_secret = \"credential:crm\"";
    let client_secret = section.required("client_secret", mend, reference);
    let proof = section.read("client_in", |value| one_of(value, &PLACES));
    let scope = section.read("scope", entry);
    let parameters = texts(section, "parameters", |name, _| {
        let ours = ["grant_type", "client_id", "client_secret", "scope"];
        if ours.contains(&name) {
            return Err(format!(
                "{} is no further parameter; it is told anyway",
                quoted(name)
            ));
        }
        Ok(())
    });
    Some(ConnectionKind::OAuth {
        token_url: token_url?,
        client_id: client_id?,
        client_secret: client_secret?,
        proof: proof.unwrap_or(ClientProof::Header),
        scope,
        parameters,
    })
}

/// A text of a bounded length.
fn entry(value: &DeValue<'_>) -> Result<String, String> {
    let written = text(value)?;
    if written.is_empty() || written.len() > TEXT_BYTES_MAX || written.contains(char::is_control) {
        return Err(format!(
            "{} is empty, longer than {TEXT_BYTES_MAX} bytes, or has a control character in it",
            quoted(&written)
        ));
    }
    Ok(written)
}

/// A table of texts; `check` refuses an entry.
fn texts(
    section: &mut Section<'_>,
    key: &'static str,
    check: impl Fn(&str, &str) -> Result<(), String>,
) -> BTreeMap<String, String> {
    let entries = section.opaque(key).unwrap_or_default();
    let mut taken = BTreeMap::new();
    if entries.len() > ENTRIES_MAX {
        section.report_key(key, || format!("it has more than {ENTRIES_MAX} entries"));
        return taken;
    }
    for (name, value) in entries {
        let refused = match &value {
            Value::String(text) if text.len() > TEXT_BYTES_MAX => {
                Err(format!("it is longer than {TEXT_BYTES_MAX} bytes"))
            }
            // Why: it would be sent as it stands, and somebody wanted the secret.
            Value::String(text)
                if ["credential:", "file:/", "env:"].iter().any(|kind| text.starts_with(kind)) =>
            {
                Err("no reference is looked up here; a connection has one secret, for example header = \"x-api-key\" with value = \"credential:crm\"".to_owned())
            }
            Value::String(text) => check(&name, text).map(|()| text.clone()),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                Err("expected a text".to_owned())
            }
        };
        match refused {
            Ok(text) => drop(taken.insert(name, text)),
            Err(why) => section.report_key(key, || format!("{}: {why}", quoted(&name))),
        }
    }
    taken
}

/// Refuses what is no header, or none that a connection may set.
fn header(name: &str, value: &str) -> Result<(), String> {
    let known = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| format!("{} is no name of a header", quoted(name)))?;
    if FRAMING.contains(&known.as_str()) {
        return Err(format!(
            "{} is not a connection's to set; leave it out",
            quoted(name)
        ));
    }
    if HeaderValue::from_str(value).is_err() {
        return Err(format!(
            "{} has a character in its value that no header may have",
            quoted(name)
        ));
    }
    Ok(())
}

fn token_url(value: &DeValue<'_>) -> Result<String, String> {
    let written = text(value)?;
    let parsed = written.parse::<Uri>().ok();
    let authority = parsed.as_ref().and_then(Uri::authority);
    if authority.is_some_and(|authority| authority.as_str().contains('@')) {
        // Why not quoted: before the sign stands a secret.
        return Err("the URL of a token has no user; write client_id and client_secret".to_owned());
    }
    let host = authority.map(|authority| ConnectionHost::parse(authority.as_str()));
    let safe = parsed.as_ref().is_some_and(|uri| {
        let (scheme, host) = (uri.scheme_str(), uri.host());
        is_safe(scheme.unwrap_or_default(), host.unwrap_or_default())
    });
    match host {
        Some(Err(why)) => Err(why),
        Some(Ok(_)) if safe && written.len() <= URL_BYTES_MAX && !written.contains('#') => {
            Ok(written)
        }
        Some(Ok(_)) | None => Err(format!(
            "{} is no URL that a secret goes to; write https://, for example \"https://login.example.com/oauth2/token\" (http:// only on this machine)",
            quoted(&written)
        )),
    }
}

fn table(entries: &BTreeMap<String, String>) -> String {
    let said: Vec<String> = entries
        .iter()
        .map(|(name, value)| format!("{} = {}", quote(name), quote(value)))
        .collect();
    format!("{{ {} }}", said.join(", "))
}
