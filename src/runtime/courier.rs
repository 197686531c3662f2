//! Delivers the messages of topics that the outbox owes: to webhooks, commands, addresses and the log.
//!
//! What is owed is durable with the call that published it; a message is delivered at least once to each
//! place, always with the same id. Each place is served by itself, one message at a time, in the order in
//! which they are due; what failed is overtaken by the next, once the place has rested. Invariant: what is
//! owed to a place of the settings is never taken away because they do not name it: a process may have been
//! given others. Crash: between a delivery and its commit it is delivered again by the next process. Where
//! nothing is owed, nothing wakes.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::task::{Id, JoinError, JoinSet};

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

/// How long a place rests that failed once; it doubles with each time in a row.
const REST: Duration = Duration::from_secs(1);

/// The longest rest of a place: it is noticed within that time that it is there again.
const REST_MAX: Duration = Duration::from_mins(1);

/// How long a place has failed without a break until messages that are [`LATE`] are given up without a try of
/// their own: tries of a place that rests are too few for a backlog.
const DEAD: Duration = Duration::from_hours(1);

/// As long as the tries of a message go on.
const LATE: Duration = Duration::from_hours(72);

/// How long deliveries that are under way may take to their end once the engine closes: what is cut off is
/// delivered twice. Longer than a webhook may take.
const LAST_DELIVERIES_MAX: Duration = Duration::from_secs(20);

/// The service.
pub struct Courier {
    engine: Engine,
}

/// Who is served, and who rests.
#[derive(Default)]
struct Rounds {
    serving: JoinSet<Result<Turn, RuntimeError>>,
    /// Whom each task serves.
    busy: HashMap<Id, String>,
    /// Invariant: something is owed to each of them.
    resting: HashMap<String, Rest>,
}

/// Of a place that failed the last time.
#[derive(Debug, Clone, Copy)]
struct Rest {
    /// In a row.
    failures: u32,
    /// When it failed first.
    since: Timestamp,
    /// It is not served before.
    until: Timestamp,
}

/// How a place's turn went.
#[derive(Debug, Default)]
struct Turn {
    /// It took something, or wants it no more.
    took: bool,
    /// What went wrong in the end.
    failure: Option<String>,
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
    /// Whom it was for has ended the subscription.
    Unwanted,
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

    /// Works until the engine closes; what is under way then comes to its end within
    /// `LAST_DELIVERIES_MAX`.
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
        let mut rounds = Rounds::default();
        loop {
            let next = self.set_out(&carrier, &mut rounds);
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
            tokio::select! {
                () = sleep => {}
                () = self.engine.store().posted() => {}
                Some(ended) = rounds.serving.join_next_with_id() => {
                    rounds.take_in(ended, self.engine.now());
                }
                _ = closing.wait_for(|closing| *closing) => break,
            }
        }
        let last = async { while rounds.serving.join_next().await.is_some() {} };
        if tokio::time::timeout(LAST_DELIVERIES_MAX, last)
            .await
            .is_err()
        {
            tracing::warn!(
                "not every delivery has ended in time; it is made again at the next start"
            );
        }
        rounds.serving.shutdown().await;
    }

    /// Begins to serve the places where something is due, and answers when something is due next.
    fn set_out(
        &self,
        carrier: &Arc<Carrier>,
        rounds: &mut Rounds,
    ) -> Result<Option<Timestamp>, RuntimeError> {
        let owed = self.engine.store().owed_destinations(PLACES_MAX)?;
        let now = self.engine.now();
        for (place, due) in rounds.in_turn(owed) {
            if due > now {
                return Ok(Some(due));
            }
            if rounds.busy.len() >= AT_ONCE_MAX {
                // Whoever ends wakes us.
                return Ok(None);
            }
            let (carrier, whose) = (Arc::clone(carrier), place.clone());
            let since = rounds.resting.get(&place).map(|rest| rest.since);
            let is_dead = since.is_some_and(|since| now.since(since) >= DEAD);
            let task = rounds
                .serving
                .spawn(async move { carrier.serve(&whose, is_dead).await });
            rounds.busy.insert(task.id(), place);
        }
        Ok(None)
    }
}

impl Rounds {
    /// Whom something is owed to and who is not served now, whoever can be served first in front: when
    /// something is due and he has rested.
    fn in_turn(&self, mut owed: Vec<(String, Timestamp)>) -> Vec<(String, Timestamp)> {
        owed.retain(|(place, _)| !self.busy.values().any(|known| known == place));
        for (place, due) in &mut owed {
            if let Some(rest) = self.resting.get(place) {
                *due = rest.until.max(*due);
            }
        }
        owed.sort_by_key(|(_, due)| *due);
        owed
    }

    fn take_in(
        &mut self,
        ended: Result<(Id, Result<Turn, RuntimeError>), JoinError>,
        now: Timestamp,
    ) {
        let id = match &ended {
            Ok((id, _)) => *id,
            Err(error) => error.id(),
        };
        let Some(place) = self.busy.remove(&id) else {
            return;
        };
        let turn = match ended {
            Ok((_, Ok(turn))) => turn,
            Ok((_, Err(error))) => {
                tracing::error!(place, %error, "cannot deliver for now");
                Turn::failed(error.to_string())
            }
            Err(error) => {
                tracing::error!(place, %error, "a delivery broke off");
                Turn::failed(error.to_string())
            }
        };
        self.note(place, &turn, now);
    }

    fn note(&mut self, place: String, turn: &Turn, now: Timestamp) {
        let before = self.resting.remove(&place).filter(|_| !turn.took);
        if turn.failure.is_some() {
            let failures = before.map_or(0, |rest| rest.failures);
            let factor = 1_u32.checked_shl(failures).unwrap_or(u32::MAX);
            let rest = Rest {
                failures: failures.saturating_add(1),
                since: before.map_or(now, |rest| rest.since),
                until: now.after(REST.saturating_mul(factor).min(REST_MAX)),
            };
            self.resting.insert(place, rest);
        }
    }
}

impl Turn {
    const fn failed(error: String) -> Self {
        Self {
            took: false,
            failure: Some(error),
        }
    }
}

impl Carrier {
    /// Delivers what is due to a place, until it is another's turn or something fails. Of a place that is
    /// dead it is given up what was owed for too long, where it fails again.
    async fn serve(&self, place: &str, is_dead: bool) -> Result<Turn, RuntimeError> {
        let closing = self.engine.closing();
        let mut turn = Turn::default();
        for _ in 0..TURN_MESSAGES_MAX {
            let (next, now) = (self.engine.store().next_delivery(place)?, self.engine.now());
            let due = next.filter(|row| row.due <= now);
            let Some(row) = due.filter(|_| !*closing.borrow()) else {
                break;
            };
            let outcome = match turn.failure.clone() {
                None => self.attempt(&row).await?,
                Some(error) if is_dead && now.since(row.notice.published) >= LATE => {
                    let lasting = true;
                    Outcome::NotTaken(NotTaken { error, lasting })
                }
                Some(_) => break,
            };
            let is_refused = matches!(outcome, Outcome::NotTaken(_));
            let again = self.settle(&row, outcome).await?;
            turn.took |= !is_refused;
            turn.failure = again.or(turn.failure);
        }
        Ok(turn)
    }

    /// Writes down what became of one; why, where it is to be tried again.
    async fn settle(
        &self,
        row: &OutboxRow,
        outcome: Outcome,
    ) -> Result<Option<String>, RuntimeError> {
        let (at, topic) = (self.engine.now(), &row.notice.topic);
        let (place, message_id) = (&row.destination, &row.notice.message_id);
        let mut again = None;
        let (delivery, event) = match outcome {
            Outcome::Taken(event) => {
                tracing::debug!(topic, place, message_id, "a message is delivered");
                let event = event.map(|detail| EventRow::new(at, "", EventKind::Message, detail));
                (Delivery::Told, event)
            }
            Outcome::Unwanted => {
                tracing::info!(topic, place, message_id, "nobody wants a message any more");
                (Delivery::Unwanted, None)
            }
            Outcome::NotTaken(NotTaken { error, lasting }) => {
                let (delivery, rest) = if lasting {
                    let error = error.clone();
                    (Delivery::GivenUp { error }, "given up".to_owned())
                } else {
                    failed(row.attempts + 1, TRIES_MAX, at, error.clone())
                };
                let over = matches!(delivery, Delivery::GivenUp { .. });
                again = (!over).then(|| error.clone());
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
        let id = row.id;
        let mut changes = vec![Change::Delivered { id, delivery, at }];
        changes.extend(event.map(Change::Event));
        self.engine.store().commit(changes).await.await?;
        Ok(again)
    }

    async fn attempt(&self, row: &OutboxRow) -> Result<Outcome, RuntimeError> {
        let (config, notice) = (self.engine.config(), &row.notice);
        let Some(destination) = Destination::of_stored(&row.destination) else {
            let why = "this version knows no such place; a newer one has written it";
            return Ok(Outcome::NotTaken(NotTaken::for_now(why)));
        };
        let place = |topic: &String| config.topics.get(topic);
        Ok(match &destination {
            Destination::Webhook(topic) => match place(topic) {
                Some(place) => self.settled_webhook(&config, place, notice).await,
                None => unnamed(topic, "webhook"),
            },
            Destination::Command(topic) => match place(topic) {
                Some(place) => command(&config, place, notice).await,
                None => unnamed(topic, "command"),
            },
            Destination::Log(topic) => match place(topic).filter(|place| place.log) {
                Some(_) => Outcome::Taken(Some(tell_in_log(notice))),
                None => unnamed(topic, "log"),
            },
            Destination::Email { topic, address } => {
                match place(topic).filter(|place| place.email.contains(address)) {
                    Some(_) => mail(&config, notice, address).await.into(),
                    None => unnamed(topic, "email"),
                }
            }
            Destination::Subscription(id) => match self.engine.store().subscription(id)? {
                Some(subscription) => self.subscriber(&config, &subscription, notice).await,
                None => Outcome::Unwanted,
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
            return unnamed(&notice.topic, "webhook");
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

/// A place that the settings do not name now. Why it is tried again: they may be those of another folder, or
/// half written; whoever meant it finds it given up in the end.
fn unnamed(topic: &str, key: &str) -> Outcome {
    let why = format!("the settings have no [topics.{topic}] {key} any more");
    Outcome::NotTaken(NotTaken::for_now(why))
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
        return unnamed(&notice.topic, "command");
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
    let found = secrets().value(key, reference);
    found.map_err(|error| NotTaken::for_now(error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;
    use crate::{
        config::Settings,
        integration::service::{Call, Embedded, Moment},
        plugin::Launcher,
        runtime::EngineSetup,
        time::SystemClock,
    };

    fn at(seconds: i64) -> Timestamp {
        Timestamp(seconds * 1_000_000)
    }

    fn turn(took: bool, fails: bool) -> Turn {
        let failure = fails.then(|| "it answers 503".to_owned());
        Turn { took, failure }
    }

    #[test]
    fn a_place_that_fails_rests_longer_each_time_and_does_not_keep_the_others_waiting() {
        let mut rounds = Rounds::default();
        let owed = || vec![("dead".to_owned(), at(0)), ("well".to_owned(), at(50))];
        let first = |rounds: &Rounds| rounds.in_turn(owed()).swap_remove(0);
        assert_eq!(first(&rounds), ("dead".to_owned(), at(0)));
        let mut rests = Vec::new();
        for _ in 0..8 {
            rounds.note("dead".to_owned(), &turn(false, true), at(100));
            rests.push(rounds.resting["dead"].until.since(at(100)).as_secs());
            assert_eq!(first(&rounds), ("well".to_owned(), at(50)));
        }
        assert_eq!(rests, [1, 2, 4, 8, 16, 32, 60, 60]);
        rounds.note("dead".to_owned(), &turn(true, true), at(200));
        let rest = rounds.resting["dead"];
        assert_eq!((rest.failures, rest.since), (1, at(200)), "it took one");
        rounds.note("dead".to_owned(), &turn(true, false), at(300));
        assert_eq!(first(&rounds), ("dead".to_owned(), at(0)));
        assert!(rounds.resting.is_empty());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_place_that_is_dead_gives_up_what_it_was_owed_for_too_long_and_no_other_does() {
        let directory = tempfile::tempdir().unwrap();
        let setup = EngineSetup {
            config: Config::default(),
            clock: Arc::new(SystemClock),
            working: true,
            service: true,
            hidden: Vec::new(),
            launcher: Launcher::default(),
        };
        let engine = tokio::task::block_in_place(|| Engine::open(directory.path(), setup).unwrap());
        let settings = Settings::parse(Path::new("iterd.toml"), "[topics.t]\nlog = true").unwrap();
        for hours in [80, 79, 78, 1] {
            let ago = Duration::from_hours(hours).as_micros();
            let call = Call {
                service: Embedded::Sns,
                action: "Publish".to_owned(),
                parameters: json!({"TopicArn": "arn:aws:sns:r:a:t", "Message": "m"}),
                moment: Moment {
                    now: Timestamp(engine.now().0 - i64::try_from(ago).unwrap()),
                    random: hours.into(),
                },
                base: String::new(),
                settings: Arc::new(settings.config.clone()),
                by_task: false,
            };
            engine.store().call(call).await.unwrap().unwrap();
        }
        let webhooks = Webhooks::new().unwrap();
        let carrier = Carrier { engine, webhooks };
        let file = rusqlite::Connection::open(carrier.engine.store().path()).unwrap();
        let given_up = || -> i64 {
            let sql = "SELECT count(*) FROM service_deliveries WHERE status = 'given_up'";
            file.query_row(sql, [], |row| row.get(0)).unwrap()
        };
        for (is_dead, expected) in [(false, 0), (true, 1)] {
            // The settings in force name no such place.
            let turn = carrier.serve("log:t", is_dead).await.unwrap();
            assert!(turn.failure.is_some() && !turn.took);
            assert_eq!(given_up(), expected);
        }
    }
}
