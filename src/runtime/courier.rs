//! Delivers the messages of topics that the outbox owes: to webhooks, commands, addresses and the log.
//!
//! What is owed is durable with the call that published it; a message is delivered at least once to each
//! place, always with the same id. Each place is served by itself, one message at a time, in the order in
//! which they are due; what failed is overtaken by the next. Crash: between a delivery and its commit it is
//! delivered again by the next process. Where nothing is owed, nothing wakes.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use tokio::task::{Id, JoinSet};

use super::{
    Engine, RuntimeError,
    plugins::secrets,
    telling::{Program, failed},
};
use crate::{
    config::{Config, TopicSettings},
    integration::{
        delivery::{Mail, NotTaken, Post, Webhooks},
        service::{Destination, Notice, Subscription, topic_arn},
    },
    payload::gist,
    store::{Change, Delivery, EventKind, EventRow, OutboxRow},
    time::Timestamp,
};

/// Tries of one delivery: with the delays between them, some three days.
const TRIES_MAX: u32 = 84;

/// Places that are served beside one another.
const AT_ONCE_MAX: usize = 32;

/// Messages that a place gets before it is another's turn, where more than [`AT_ONCE_MAX`] wait.
const TURN_MESSAGES_MAX: u32 = 16;

/// Places that are looked at to find whose turn it is; more than topics and subscriptions of any use have.
const PLACES_MAX: u32 = 10_000;

/// Of a message, logs tell so much; `log` is for people, who read a line.
const LOGGED_CHARS_MAX: usize = 1000;

/// The longest sleep while something is owed: it comes also if the clock was set.
const SLEEP_MAX: Duration = Duration::from_mins(1);

/// How long a place rests that could not be read of, or written down about.
const REST: Duration = Duration::from_secs(1);

/// The service.
pub struct Courier {
    engine: Engine,
}

/// Who serves a place; one for all of them.
struct Carrier {
    engine: Engine,
    webhooks: Webhooks,
}

/// What came of a try.
enum Outcome {
    /// It was delivered, with what `iterd log` tells of it, where it does.
    Taken(Option<String>),
    /// There is no such place any more.
    Gone,
    /// It was not.
    NotTaken(NotTaken),
}

impl From<Result<(), NotTaken>> for Outcome {
    fn from(taken: Result<(), NotTaken>) -> Self {
        match taken {
            Ok(()) => Self::Taken(None),
            Err(why) => Self::NotTaken(why),
        }
    }
}

impl Courier {
    /// The courier of this engine.
    #[must_use]
    pub const fn new(engine: Engine) -> Self {
        Self { engine }
    }

    /// Works until the engine closes.
    pub async fn work(self) {
        let webhooks = match Webhooks::new() {
            Ok(webhooks) => webhooks,
            Err(error) => {
                tracing::error!(%error, "no client for webhooks; messages of topics are not delivered");
                return;
            }
        };
        let engine = self.engine.clone();
        let carrier = Arc::new(Carrier { engine, webhooks });
        let mut closing = self.engine.closing();
        let mut serving = JoinSet::new();
        let mut busy: HashMap<Id, String> = HashMap::new();
        loop {
            let next = self.set_out(&carrier, &mut serving, &mut busy);
            let next = next.unwrap_or_else(|error| {
                tracing::error!(%error, "cannot read what is owed");
                Some(self.engine.now().after(REST))
            });
            let sleep = async {
                let now = self.engine.now();
                match next {
                    Some(due) => {
                        let sleep = due.since(now).min(SLEEP_MAX);
                        self.engine.clock().wait_until(now.after(sleep)).await;
                    }
                    None => std::future::pending().await,
                }
            };
            let ended = tokio::select! {
                () = sleep => None,
                () = self.engine.store().posted() => None,
                Some(ended) = serving.join_next_with_id() => Some(ended),
                _ = closing.wait_for(|closing| *closing) => return,
            };
            match ended {
                None => {}
                Some(Ok((id, ()))) => drop(busy.remove(&id)),
                Some(Err(error)) => {
                    let place = busy.remove(&error.id());
                    tracing::error!(place, %error, "a delivery broke off");
                    tokio::time::sleep(REST).await;
                }
            }
        }
    }

    /// Begins to serve the places where something is due, and answers when something is due next.
    fn set_out(
        &self,
        carrier: &Arc<Carrier>,
        serving: &mut JoinSet<()>,
        busy: &mut HashMap<Id, String>,
    ) -> Result<Option<Timestamp>, RuntimeError> {
        let mut owed = self.engine.store().owed_destinations(PLACES_MAX)?;
        owed.retain(|(place, _)| !busy.values().any(|known| known == place));
        owed.sort_by_key(|(_, due)| *due);
        let now = self.engine.now();
        for (place, due) in owed {
            if due > now {
                return Ok(Some(due));
            }
            if busy.len() >= AT_ONCE_MAX {
                // Whoever ends wakes us.
                return Ok(None);
            }
            let (carrier, whose) = (Arc::clone(carrier), place.clone());
            let task = serving.spawn(async move {
                if let Err(error) = carrier.serve(&whose).await {
                    tracing::error!(place = whose, %error, "cannot deliver for now");
                    tokio::time::sleep(REST).await;
                }
            });
            busy.insert(task.id(), place);
        }
        Ok(None)
    }
}

impl Carrier {
    /// Delivers what is due to a place, until it is another's turn or something fails.
    async fn serve(&self, place: &str) -> Result<(), RuntimeError> {
        let closing = self.engine.closing();
        for _ in 0..TURN_MESSAGES_MAX {
            let next = self.engine.store().next_delivery(place)?;
            let due = next.filter(|row| row.due <= self.engine.now());
            let Some(row) = due.filter(|_| !*closing.borrow()) else {
                return Ok(());
            };
            if !self.deliver(&row).await? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Delivers one, and writes down what became of it; whether it is done with.
    async fn deliver(&self, row: &OutboxRow) -> Result<bool, RuntimeError> {
        let outcome = match Destination::of_stored(&row.destination) {
            Some(destination) => self.attempt(row, &destination).await?,
            None => Outcome::Gone,
        };
        let (at, topic) = (self.engine.now(), &row.notice.topic);
        let (place, message_id) = (&row.destination, &row.notice.message_id);
        let (delivery, event) = match outcome {
            Outcome::Taken(event) => {
                tracing::debug!(topic, place, message_id, "a message is delivered");
                let event = event.map(|detail| EventRow::new(at, "", EventKind::Message, detail));
                (Delivery::Told, event)
            }
            Outcome::Gone => {
                tracing::info!(topic, place, message_id, "nobody wants a message any more");
                (Delivery::Unwanted, None)
            }
            Outcome::NotTaken(NotTaken { error, lasting }) => {
                let (delivery, rest) = if lasting {
                    let error = error.clone();
                    (Delivery::GivenUp { error }, "refused for good".to_owned())
                } else {
                    failed(row.attempts + 1, TRIES_MAX, at, error.clone())
                };
                let over = matches!(delivery, Delivery::GivenUp { .. });
                // Why not each try: what is said eighty times of one message hides everything else.
                if over || row.attempts == 0 {
                    tracing::warn!(
                        topic,
                        place,
                        message_id,
                        error,
                        rest,
                        "a message is not delivered"
                    );
                }
                let event = over.then(|| {
                    let detail =
                        format!("{message_id} of the topic {topic}, to {place}: {error}; {rest}");
                    EventRow::new(at, "", EventKind::NotDelivered, detail)
                });
                (delivery, event)
            }
        };
        let done = !matches!(delivery, Delivery::TryAgain { .. });
        let id = row.id;
        let mut changes = vec![Change::Delivered { id, delivery, at }];
        changes.extend(event.map(Change::Event));
        self.engine.store().commit(changes).await.await?;
        Ok(done)
    }

    async fn attempt(
        &self,
        row: &OutboxRow,
        destination: &Destination,
    ) -> Result<Outcome, RuntimeError> {
        let (config, notice) = (self.engine.config(), &row.notice);
        let place = |topic: &String| config.topics.get(topic);
        Ok(match destination {
            Destination::Webhook(topic) => match place(topic) {
                Some(place) => self.settled_webhook(&config, place, notice).await,
                None => Outcome::Gone,
            },
            Destination::Command(topic) => match place(topic) {
                Some(place) => command(&config, place, notice).await,
                None => Outcome::Gone,
            },
            Destination::Log(topic) => match place(topic).filter(|place| place.log) {
                Some(_) => Outcome::Taken(Some(tell_in_log(notice))),
                None => Outcome::Gone,
            },
            Destination::Email { topic, address } => {
                match place(topic).filter(|place| place.email.contains(address)) {
                    Some(_) => mail(&config, notice, address).await.into(),
                    None => Outcome::Gone,
                }
            }
            Destination::Subscription(id) => match self.engine.store().subscription(id)? {
                Some(subscription) => self.subscriber(&config, &subscription, notice).await,
                None => Outcome::Gone,
            },
        })
    }

    async fn settled_webhook(
        &self,
        config: &Config,
        place: &TopicSettings,
        notice: &Notice,
    ) -> Outcome {
        let Some(url) = &place.webhook else {
            return Outcome::Gone;
        };
        let key = format!("topics.{}.secret", notice.topic);
        let secret = match place
            .secret
            .as_ref()
            .map(|reference| secret(&key, reference))
        {
            None => None,
            Some(Ok(secret)) => Some(secret),
            Some(Err(why)) => return Outcome::NotTaken(why),
        };
        let protocol = url.split(':').next().unwrap_or_default();
        let post = Post {
            url,
            headers: headers(config, notice),
            body: notice.envelope(config, protocol).to_string(),
            secret: secret.as_deref(),
        };
        self.webhooks.post(post).await.into()
    }

    async fn subscriber(
        &self,
        config: &Config,
        subscription: &Subscription,
        notice: &Notice,
    ) -> Outcome {
        let Subscription {
            protocol,
            endpoint,
            id,
            raw,
            ..
        } = subscription;
        if protocol == "email" {
            return mail(config, notice, endpoint).await.into();
        }
        let mut headers = headers(config, notice);
        let arn = format!("{}:{id}", topic_arn(config, &notice.topic));
        headers.push(("x-amz-sns-subscription-arn", arn));
        let body = if *raw {
            headers.push(("x-amz-sns-rawdelivery", "true".to_owned()));
            notice.text(protocol)
        } else {
            notice.envelope(config, protocol).to_string()
        };
        let post = Post {
            url: endpoint,
            headers,
            body,
            secret: None,
        };
        self.webhooks.post(post).await.into()
    }
}

/// Tells a message in the daemon's log, and answers what `iterd log` is to tell.
fn tell_in_log(notice: &Notice) -> String {
    let text = notice.text("log");
    let message: String = gist(&text).chars().take(LOGGED_CHARS_MAX).collect();
    let (topic, message_id) = (&notice.topic, &notice.message_id);
    let subject = notice.subject.as_deref().unwrap_or_default();
    tracing::info!(topic, message_id, subject, message, "a message");
    let about = if subject.is_empty() {
        String::new()
    } else {
        format!("{subject}: ")
    };
    format!("topic {topic}: {about}{message}")
}

/// What SNS says of a message beside its body.
fn headers(config: &Config, notice: &Notice) -> Vec<(&'static str, String)> {
    vec![
        ("x-amz-sns-message-type", "Notification".to_owned()),
        ("x-amz-sns-message-id", notice.message_id.clone()),
        ("x-amz-sns-topic-arn", topic_arn(config, &notice.topic)),
    ]
}

async fn command(config: &Config, place: &TopicSettings, notice: &Notice) -> Outcome {
    let Some(command) = &place.command else {
        return Outcome::Gone;
    };
    let program = Program {
        path: &command.program,
        arguments: &command.arguments,
        folder: &command.folder,
        place: "the folder of iterd.toml",
    };
    let said = program.tell(&notice.envelope(config, "command")).await;
    match said.failure {
        None => Outcome::Taken(None),
        Some(error) => Outcome::NotTaken(NotTaken::for_now(error)),
    }
}

async fn mail(config: &Config, notice: &Notice, address: &str) -> Result<(), NotTaken> {
    let settings = &config.mail;
    let (Some(server), Some(from)) = (&settings.server, &settings.from) else {
        let why = "nobody takes e-mail; write [mail] server and from in iterd.toml";
        return Err(NotTaken::for_now(why));
    };
    let login = match (&settings.user, &settings.password) {
        (Some(user), Some(reference)) => Some((user.clone(), secret("mail.password", reference)?)),
        _ => None,
    };
    let subject = format!("Message of the topic {}", notice.topic);
    let mail = Mail {
        from,
        to: address,
        subject: notice.subject.as_deref().unwrap_or(&subject),
        body: notice.text("email"),
        id: &notice.message_id,
        written: notice.published,
    };
    mail.send(server, login).await
}

/// The value of a secret. Looked up anew each time: one that was rotated counts at once.
fn secret(key: &str, reference: &str) -> Result<String, NotTaken> {
    let wanted = BTreeMap::from([(key.to_owned(), reference.to_owned())]);
    let found = secrets().look_up(&wanted);
    let mut found = found.map_err(|error| NotTaken::for_now(error.to_string()))?;
    found
        .remove(key)
        .ok_or_else(|| NotTaken::for_now(format!("{key} has no value")))
}
