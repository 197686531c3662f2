//! Sends e-mail: one message to one address, over a connection of its own.
//!
//! Why no connections that are kept: messages of topics are rare, and a server ends idle ones as it likes.

use std::time::{Duration, UNIX_EPOCH};

use lettre::{
    AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor,
    address::AddressError,
    message::{
        Mailbox,
        header::{ContentType, HeaderName, HeaderValue},
    },
    transport::smtp::{
        authentication::Credentials,
        client::{Tls, TlsParameters},
    },
};

use super::NotTaken;
use crate::{
    config::{MailServer, Protection},
    time::Timestamp,
};

/// How long a message may take, from the connection to the server's last word. Servers that check senders
/// take half a minute.
const PATIENCE: Duration = Duration::from_mins(1);

/// What servers say of an address that they will never take, where they say no more than a code. Not 552 and 554:
/// a full mailbox, a server that greets nobody, mail that is passed on for nobody; all that is mended by somebody.
/// Spec: RFC 5321, 4.2.3.
const LASTING: [u16; 3] = [550, 551, 553];

/// A message.
#[derive(Debug)]
pub struct Mail<'a> {
    /// Whom it is from.
    pub from: &'a str,
    /// Whom it is to.
    pub to: &'a str,
    /// What it is about; one line.
    pub subject: &'a str,
    /// What it says.
    pub body: String,
    /// Names it, the same at each try.
    pub id: &'a str,
    /// When it was written.
    pub written: Timestamp,
}

impl Mail<'_> {
    /// Hands it to a server, logging in with these words where there are some.
    pub async fn send(
        self,
        server: &MailServer,
        login: Option<(String, String)>,
    ) -> Result<(), NotTaken> {
        let message = self.message()?;
        let broken = |error: lettre::transport::smtp::Error| {
            let (code, said) = (error.status().map(u16::from), words(&error));
            NotTaken {
                lasting: code.is_some_and(|code| is_lasting(code, &said)),
                error: format!("{server}: {said}"),
            }
        };
        let parameters = || TlsParameters::new(server.host.clone()).map_err(broken);
        let tls = match server.protection {
            Protection::Plain => Tls::None,
            Protection::StartTls => Tls::Required(parameters()?),
            Protection::Tls => Tls::Wrapper(parameters()?),
        };
        let bare = server.host.trim_start_matches('[').trim_end_matches(']');
        let transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(bare)
            .port(server.port)
            .tls(tls)
            .timeout(Some(PATIENCE));
        let transport = match login {
            Some((user, password)) => transport.credentials(Credentials::new(user, password)),
            None => transport,
        };
        let transport = transport.build();
        let sent = tokio::time::timeout(PATIENCE, transport.send(message)).await;
        match sent {
            Ok(sent) => sent.map(drop).map_err(broken),
            Err(_) => Err(NotTaken::for_now(format!(
                "{server}: it took longer than {} s",
                PATIENCE.as_secs()
            ))),
        }
    }

    fn message(self) -> Result<Message, NotTaken> {
        let wrong = |why: String| NotTaken {
            error: why,
            lasting: true,
        };
        let mailbox = |address: &str| {
            let parsed = address.parse();
            parsed
                .map(|address| Mailbox::new(None, address))
                .map_err(|error: AddressError| wrong(format!("{address}: {error}")))
        };
        let place = self.from.rsplit('@').next().unwrap_or_default();
        let micros = u64::try_from(self.written.0).unwrap_or(0);
        // Why: nobody's holiday is to answer a machine.
        let automatic = HeaderName::new_from_ascii_str("Auto-Submitted");
        Message::builder()
            .from(mailbox(self.from)?)
            .to(mailbox(self.to)?)
            .subject(self.subject)
            .message_id(Some(format!("<{}@{place}>", self.id)))
            .date(UNIX_EPOCH + Duration::from_micros(micros))
            .raw_header(HeaderValue::new(automatic, "auto-generated".to_owned()))
            .header(ContentType::TEXT_PLAIN)
            .body(self.body)
            .map_err(|error| wrong(error.to_string()))
    }
}

/// Whether a server's answer means that it will never take this message to this address. Spec: RFC 3463, which
/// says more than a code: 5.1 is about the address (but .7 and .8, which are about the sender's), 5.2 about the
/// mailbox, 5.3.4 about the message's size.
fn is_lasting(code: u16, said: &str) -> bool {
    let enhanced = said.split_whitespace().find_map(|word| {
        let mut parts = word.strip_prefix("5.")?.splitn(2, '.');
        let mut number = || parts.next()?.parse::<u16>().ok();
        Some((number()?, number()?))
    });
    match enhanced {
        Some((1, detail)) => !matches!(detail, 7 | 8),
        // A mailbox that is full is emptied some time.
        Some((2, detail)) => detail != 2,
        Some((3, 4)) => true,
        Some(_) => false,
        None => LASTING.contains(&code),
    }
}

/// What an error and all beneath it say, in a line.
fn words(error: &dyn std::error::Error) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut source = Some(error);
    while let Some(error) = source {
        let word = error.to_string().replace(['\n', '\r'], " ");
        if words.iter().all(|known| !known.contains(&word)) {
            words.push(word);
        }
        source = error.source();
    }
    words.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_can_mend_is_no_lasting_refusal() {
        for (code, said, lasting) in [
            (550, "permanent error (550): no such user", true),
            (550, "permanent error (550): 5.1.1 <a@b> unknown", true),
            (553, "permanent error (553): not allowed", true),
            (552, "permanent error (552): 5.2.2 over quota", false),
            (552, "permanent error (552): 5.3.4 too large", true),
            (552, "permanent error (552): try later", false),
            (
                550,
                "permanent error (550): 5.7.1 rejected by policy",
                false,
            ),
            (
                550,
                "permanent error (550): 5.1.8 sender's domain not found",
                false,
            ),
            (
                554,
                "permanent error (554): 5.7.1 <a@b>: Relay access denied",
                false,
            ),
            (554, "permanent error (554): no SMTP service here", false),
            (535, "permanent error (535): 5.7.8 wrong password", false),
            (550, "permanent error (550): 5.1.2.3 is on a list", true),
        ] {
            assert_eq!(is_lasting(code, said), lasting, "{said}");
        }
    }

    #[test]
    fn a_message_names_itself_and_holds_whatever_was_written() {
        let mail = Mail {
            from: "iterd@example.org",
            to: "ops@example.org",
            subject: "Größe",
            body: "a\n.\nb ü".to_owned(),
            id: "m-1",
            written: Timestamp::from_millis(1_713_421_621_000),
        };
        let text = String::from_utf8(mail.message().unwrap().formatted()).unwrap();
        for line in [
            "From: iterd@example.org\r\n",
            "To: ops@example.org\r\n",
            "Message-ID: <m-1@example.org>\r\n",
            "Date: Thu, 18 Apr 2024 06:27:01 +0000\r\n",
            "Auto-Submitted: auto-generated\r\n",
            "Subject: =?utf-8?",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
    }
}
