//! Topics that always are, and where their messages go: `[topics.NAME]`, and the server that takes
//! e-mail: `[mail]`.
//!
//! Owns how the settings say so, and what is an address. What a topic is, `integration` knows; who
//! delivers, `runtime`. Invariant: a secret is named by a reference and never stands here.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use hyper::Uri;
use toml::de::DeValue;

use super::{
    document::{Section, expected},
    problem::{nearest, quoted},
    size::quote,
    values::text,
};

/// Most words of a command.
const WORDS_MAX: usize = 100;

/// Most addresses of a topic: each is a delivery of its own. More is a mailing list's work.
const ADDRESSES_MAX: usize = 100;

/// Longest URL of a webhook.
const URL_BYTES_MAX: usize = 2048;

/// Longest address. Spec: RFC 5321, a path of 256 octets with its brackets.
const ADDRESS_BYTES_MAX: usize = 254;

/// Longest name of a topic. Spec: `CreateTopic`.
const TOPIC_BYTES_MAX: usize = 256;

/// Longest name of a queue. Spec: `CreateQueue`.
const QUEUE_BYTES_MAX: usize = 80;

/// `[topics.NAME]`: where the messages of a topic go, beside its subscriptions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopicSettings {
    /// The URL that a message is posted to.
    pub webhook: Option<String>,
    /// The reference of what signs it.
    pub secret: Option<String>,
    /// The command that is started with a message as JSON on its standard input.
    pub command: Option<TopicCommand>,
    /// Who gets it by e-mail.
    pub email: Vec<String>,
    /// Whether it is told in the daemon's log.
    pub log: bool,
    /// The queue of this daemon that it is put into.
    pub queue: Option<String>,
}

/// A command that is told messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicCommand {
    /// The program, started without a shell.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Where it is started: the folder of the settings.
    pub folder: PathBuf,
}

/// `[mail]`: how e-mail leaves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MailSettings {
    /// The server that takes it.
    pub server: Option<MailServer>,
    /// Whom it is from.
    pub from: Option<String>,
    /// As whom this daemon logs in there; `None`: it does not.
    pub user: Option<String>,
    /// The reference of the password.
    pub password: Option<String>,
}

/// A server that takes e-mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailServer {
    /// What protects the connection.
    pub protection: Protection,
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// What protects a connection to a server of e-mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    /// Nothing: `smtp://`.
    Plain,
    /// TLS that is agreed upon in plain text: `starttls://`.
    StartTls,
    /// TLS from the first byte: `smtps://`.
    Tls,
}

impl Protection {
    const ALL: [Self; 3] = [Self::Plain, Self::StartTls, Self::Tls];

    const fn scheme(self) -> &'static str {
        match self {
            Self::Plain => "smtp",
            Self::StartTls => "starttls",
            Self::Tls => "smtps",
        }
    }

    const fn port(self) -> u16 {
        match self {
            Self::Plain => 25,
            Self::StartTls => 587,
            Self::Tls => 465,
        }
    }
}

impl fmt::Display for MailServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            protection,
            host,
            port,
        } = self;
        write!(f, "{}://{host}:{port}", protection.scheme())
    }
}

impl MailSettings {
    /// What is missing or wrong of them as a whole: the key, and the mend; `wanted` is a topic that has
    /// e-mail.
    pub(crate) fn check(&self, wanted: Option<&str>) -> Vec<(String, String)> {
        let mut wrong = Vec::new();
        if let Some(topic) = wanted
            && (self.server.is_none() || self.from.is_none())
        {
            let why = "it has e-mail, which nobody takes or is from; write [mail] with server = \"smtp://127.0.0.1:25\" and from = \"iterd@example.org\", for example";
            wrong.push((format!("topics.{topic}"), why.to_owned()));
        }
        if self.user.is_some() != self.password.is_some() {
            let why = "user and password stand together".to_owned();
            wrong.push(("mail.user".to_owned(), why));
        }
        let server = self.server.as_ref();
        let open = server.filter(|it| it.protection == Protection::Plain && !is_loopback(&it.host));
        if let Some(server) = open.filter(|_| self.password.is_some()) {
            let why = format!(
                "{} would be told the password in plain text; write starttls:// or smtps://",
                quoted(&server.to_string())
            );
            wrong.push(("mail.server".to_owned(), why));
        }
        wrong
    }
}

pub(crate) fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let address = bare.parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

impl TopicSettings {
    /// Reads a `[topics.NAME]`.
    pub(crate) fn read(mut section: Section<'_>) -> Self {
        let words = section.list("command", WORDS_MAX, text);
        if words.as_ref().is_some_and(Vec::is_empty) {
            section.report_key("command", || "must name a program".into());
        }
        let mut words = words.unwrap_or_default().into_iter();
        let command = words.next().map(|program| TopicCommand {
            program: program.into(),
            arguments: words.collect(),
            folder: PathBuf::new(),
        });
        let topic = Self {
            webhook: section.read("webhook", |value| {
                let url = text(value)?;
                webhook(&url).map(|()| url)
            }),
            secret: section.read("secret", reference),
            command,
            email: section
                .list("email", ADDRESSES_MAX, address)
                .unwrap_or_default(),
            log: section.read("log", flag).unwrap_or(false),
            queue: section.read("queue", queue),
        };
        if section.has("secret") && !section.has("webhook") {
            section.report_key("secret", || {
                "it signs what goes to a webhook, and there is none; write webhook = \"https://..\""
                    .into()
            });
        }
        section.finish();
        topic
    }

    /// Takes what looks like a path to be relative to the folder of the settings.
    pub(crate) fn found_in(&mut self, folder: &Path) {
        if let Some(command) = &mut self.command {
            // Why absolute: the command is looked for from where it is started.
            let folder = std::path::absolute(folder.join(".")).unwrap_or_else(|_| folder.into());
            command.folder.clone_from(&folder);
            // Why: a bare name is looked up in PATH.
            if command
                .program
                .as_os_str()
                .as_encoded_bytes()
                .contains(&b'/')
            {
                command.program = folder.join(&command.program);
            }
        }
    }

    /// The section as an inline table.
    pub(crate) fn show(&self) -> String {
        let list = |words: &mut dyn Iterator<Item = String>| {
            format!("[{}]", words.collect::<Vec<_>>().join(", "))
        };
        let command = self.command.as_ref().map(|command| {
            let program = quote(&command.program.display());
            let arguments = command.arguments.iter().map(quote);
            list(&mut std::iter::once(program).chain(arguments))
        });
        let email = (!self.email.is_empty()).then(|| list(&mut self.email.iter().map(quote)));
        let said = |value: &Option<String>| value.as_ref().map(quote);
        let keys = [
            ("webhook", said(&self.webhook)),
            ("secret", said(&self.secret)),
            ("command", command),
            ("email", email),
            ("log", self.log.then(|| "true".to_owned())),
            ("queue", said(&self.queue)),
        ];
        let keys: Vec<String> = keys
            .into_iter()
            .filter_map(|(key, value)| Some(format!("{key} = {}", value?)))
            .collect();
        match keys.as_slice() {
            [] => "{}".to_owned(),
            keys => format!("{{ {} }}", keys.join(", ")),
        }
    }
}

/// Whether a topic may be called so; what is wrong with it else.
///
/// # Errors
/// Spec: 1 to 256 ASCII letters, digits, hyphens and underscores.
pub(crate) fn topic_name(name: &str) -> Result<(), String> {
    if is_plain(name, TOPIC_BYTES_MAX) {
        return Ok(());
    }
    Err(format!(
        "{} is no name of a topic; write 1 to {TOPIC_BYTES_MAX} letters, digits, \"-\" or \"_\"",
        quoted(name)
    ))
}

fn is_plain(name: &str, bytes_max: usize) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    !name.is_empty() && name.len() <= bytes_max && name.bytes().all(plain)
}

/// Whether a URL is one that messages can be posted to.
///
/// # Errors
/// With what is wrong, and never with a user or a password that stands in it.
pub(crate) fn webhook(url: &str) -> Result<(), String> {
    let parsed = url.parse::<Uri>().ok();
    let authority = parsed.as_ref().and_then(Uri::authority);
    if authority.is_some_and(|authority| authority.as_str().contains('@')) {
        // Why not quoted: before the sign stands a secret.
        return Err("the URL of a webhook has no user; what it is signed with is a secret".into());
    }
    let known = url.len() <= URL_BYTES_MAX
        && !url.contains('#')
        && parsed.is_some_and(|uri| {
            matches!(uri.scheme_str(), Some("http" | "https"))
                && uri.host().is_some_and(|host| !host.is_empty())
        });
    if known {
        return Ok(());
    }
    Err(format!(
        "{} is no URL of a webhook; write for example \"https://example.org/hook\"",
        quoted(url)
    ))
}

/// Whether a text is an address of e-mail, without a name beside it.
pub(crate) fn is_address(written: &str) -> bool {
    let strange = |c: char| c.is_whitespace() || c.is_control() || "<>()[],;:\\\"".contains(c);
    let parts = written.split_once('@');
    written.len() <= ADDRESS_BYTES_MAX
        && !written.contains(strange)
        && parts.is_some_and(|(who, place)| {
            !who.is_empty() && !place.is_empty() && !place.contains('@')
        })
}

/// An address of e-mail.
pub(crate) fn address(value: &DeValue<'_>) -> Result<String, String> {
    let written = text(value)?;
    if is_address(&written) {
        return Ok(written);
    }
    Err(format!(
        "{} is no address; write for example \"ops@example.org\"",
        quoted(&written)
    ))
}

/// Where a secret is.
pub(crate) fn reference(value: &DeValue<'_>) -> Result<String, String> {
    let written = text(value)?;
    let known = match written.split_once(':') {
        Some(("credential" | "env", name)) => !name.is_empty(),
        Some(("file", path)) => path.starts_with('/'),
        _ => false,
    };
    if known {
        return Ok(written);
    }
    // Why not quoted: it may be the secret itself.
    Err("it is no reference of a secret; write credential:NAME, file:/PATH or env:NAME".into())
}

fn queue(value: &DeValue<'_>) -> Result<String, String> {
    let name = text(value)?;
    if is_plain(&name, QUEUE_BYTES_MAX) {
        return Ok(name);
    }
    Err(format!(
        "{} is no name of a queue; write 1 to {QUEUE_BYTES_MAX} letters, digits, \"-\" or \"_\"",
        quoted(&name)
    ))
}

fn flag(value: &DeValue<'_>) -> Result<bool, String> {
    value
        .as_bool()
        .ok_or_else(|| expected("true or false", value))
}

/// `smtp://HOST:PORT`, and with TLS.
pub(crate) fn mail_server(value: &DeValue<'_>) -> Result<MailServer, String> {
    let written = text(value)?;
    let refuse = || {
        format!(
            "{} is no server of e-mail; write for example \"smtp://127.0.0.1:25\", \"starttls://mail.example.org\" or \"smtps://mail.example.org:465\"",
            quoted(&written)
        )
    };
    if written.contains('@') {
        // Why not quoted: before the sign stands a secret.
        return Err("a server of e-mail has no user; write user and password beside it".into());
    }
    let (scheme, rest) = written.split_once("://").ok_or_else(refuse)?;
    let schemes = Protection::ALL.map(Protection::scheme);
    let protection = Protection::ALL
        .into_iter()
        .find(|protection| protection.scheme() == scheme)
        .ok_or_else(|| {
            let mend = nearest(scheme, schemes.into_iter(), "there are");
            format!("unknown scheme {}{mend}", quoted(scheme))
        })?;
    let rest = rest.trim_end_matches('/');
    let (host, port) = match rest.rsplit_once(':') {
        // What is in brackets has colons of its own.
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| refuse())?),
        Some(_) | None => (rest, protection.port()),
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || "-.:[]".contains(c);
    if host.is_empty() || host.len() > ADDRESS_BYTES_MAX || !host.chars().all(plain) || port == 0 {
        return Err(refuse());
    }
    Ok(MailServer {
        protection,
        host: host.to_owned(),
        port,
    })
}
