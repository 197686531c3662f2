//! The ports to what embedded services keep. `store` implements them within a transaction; what is
//! called through them is durable with it, or never was.

use crate::time::Timestamp;

/// A table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its number; 0 before it was made.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// The partition key.
    pub hash: KeyPart,
    /// The sort key, where there is one.
    pub range: Option<KeyPart>,
    /// When it was made.
    pub created: Timestamp,
}

/// An attribute that is part of a table's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPart {
    /// The attribute.
    pub name: String,
    /// What its values are.
    pub kind: KeyKind,
}

/// What the values of a key are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// `S`.
    Text,
    /// `N`.
    Number,
    /// `B`.
    Binary,
}

impl KeyKind {
    /// As types of attributes are written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "S",
            Self::Number => "N",
            Self::Binary => "B",
        }
    }

    /// From what is written.
    #[must_use]
    pub fn of_str(text: &str) -> Option<Self> {
        [Self::Text, Self::Number, Self::Binary]
            .into_iter()
            .find(|kind| kind.as_str() == text)
    }
}

/// An item's key: bytes in the order of its values. The second is empty where there is no sort key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ItemKey {
    /// The partition key's value.
    pub hash: Vec<u8>,
    /// The sort key's.
    pub range: Vec<u8>,
}

/// A queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    /// Its number; 0 before it was made.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// For how many seconds a message is hidden that somebody received; at most 43,200.
    pub visibility_s: u32,
    /// For how many seconds a new message is hidden; at most 900.
    pub delay_s: u32,
    /// After how many seconds a message is forgotten; 60 to 1,209,600.
    pub retention_s: u32,
    /// For how many seconds a receiver waits who says nothing of it; at most 20.
    pub wait_s: u32,
    /// When it was made.
    pub created: Timestamp,
}

/// Messages that were kept long enough and are removed at a time, before somebody receives: some milliseconds,
/// for which all who write wait.
pub const EXPIRED_MAX: u32 = 500;

/// A message that was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its number; 0 before it was sent.
    pub id: i64,
    /// Its name for people and programs.
    pub message_id: String,
    /// Its body.
    pub body: String,
    /// Attributes of it, JSON.
    pub attributes: Option<String>,
    /// When it was sent.
    pub sent: Timestamp,
    /// It is hidden before.
    pub visible: Timestamp,
    /// How often it was received.
    pub receives: u32,
    /// When it was received first.
    pub first: Option<Timestamp>,
}

/// How many messages a queue has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueueFigures {
    /// That can be received.
    pub visible: u64,
    /// That somebody works on.
    pub in_flight: u64,
    /// That are delayed.
    pub delayed: u64,
}

/// A topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// When somebody made it; `None`: nobody did, and the settings alone may name it.
    pub created: Option<Timestamp>,
    /// How many messages were ever published to it.
    pub published: u64,
}

/// Who gets the messages of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// Its number; 0 before it was made.
    pub number: i64,
    /// Its name.
    pub id: String,
    /// The topic.
    pub topic: String,
    /// How it is reached: `sqs`, `http`, `https` or `email`.
    pub protocol: String,
    /// Where: the name of a queue as an ARN, a URL, an address.
    pub endpoint: String,
    /// It gets the message alone, without what is about it.
    pub raw: bool,
}

/// A message of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Its name, the same for all who get it, and at each try.
    pub message_id: String,
    /// The topic.
    pub topic: String,
    /// What it is about; one line.
    pub subject: Option<String>,
    /// The message; at most 256 KiB.
    pub body: String,
    /// The message is an object with a text for each protocol.
    pub structured: bool,
    /// Attributes of it, JSON.
    pub attributes: Option<String>,
    /// When it was published.
    pub published: Timestamp,
}

/// Tables by key.
pub trait Tables {
    /// What goes wrong beneath.
    type Error;

    /// A table by its name.
    fn table(&self, name: &str) -> Result<Option<Table>, Self::Error>;
    /// The names of tables behind one, in order.
    fn table_names(&self, after: &str, rows_max: u32) -> Result<Vec<String>, Self::Error>;
    /// How many items a table has, and their bytes; of a large one some of both.
    fn size(&self, table: i64) -> Result<(u64, u64), Self::Error>;
    /// Makes a table.
    fn create_table(&self, table: &Table) -> Result<(), Self::Error>;
    /// Removes a table with all its items.
    fn drop_table(&self, table: i64) -> Result<(), Self::Error>;
    /// An item, JSON.
    fn item(&self, table: i64, key: &ItemKey) -> Result<Option<String>, Self::Error>;
    /// Puts an item in the place of whatever has its key.
    fn put_item(&self, table: i64, key: &ItemKey, item: &str) -> Result<(), Self::Error>;
    /// Removes an item.
    fn remove_item(&self, table: i64, key: &ItemKey) -> Result<(), Self::Error>;
    /// The items behind a key, in the order of keys: so many, and no more than one behind so many bytes.
    fn items(
        &self,
        table: i64,
        after: Option<&ItemKey>,
        rows_max: u32,
        bytes_max: usize,
    ) -> Result<Vec<String>, Self::Error>;
}

/// Queues of messages.
pub trait Queues {
    /// What goes wrong beneath.
    type Error;

    /// A queue by its name.
    fn queue(&self, name: &str) -> Result<Option<Queue>, Self::Error>;
    /// The names of queues that begin so, behind one, in order.
    fn queue_names(
        &self,
        prefix: &str,
        after: &str,
        rows_max: u32,
    ) -> Result<Vec<String>, Self::Error>;
    /// How many messages a queue has; of a long one some.
    fn figures(&self, queue: i64, now: Timestamp) -> Result<QueueFigures, Self::Error>;
    /// Makes a queue.
    fn create_queue(&self, queue: &Queue) -> Result<(), Self::Error>;
    /// Writes down for how many seconds receivers of a queue wait who say nothing of it.
    fn set_wait(&self, queue: i64, seconds: u32) -> Result<(), Self::Error>;
    /// Removes a queue with all its messages.
    fn drop_queue(&self, queue: i64) -> Result<(), Self::Error>;
    /// Appends a message.
    fn send(&self, queue: i64, message: &Message) -> Result<(), Self::Error>;
    /// The oldest messages that can be received.
    fn receivable(
        &self,
        queue: i64,
        now: Timestamp,
        rows_max: u32,
    ) -> Result<Vec<Message>, Self::Error>;
    /// A message by its number.
    fn message(&self, queue: i64, message: i64) -> Result<Option<Message>, Self::Error>;
    /// Writes down that a message was received, or when it can be.
    fn note(&self, queue: i64, message: &Message) -> Result<(), Self::Error>;
    /// Removes a message.
    fn remove_message(&self, queue: i64, message: i64) -> Result<(), Self::Error>;
    /// Removes messages that were sent before an instant, the oldest first; whether there may be more.
    fn expire(&self, queue: i64, before: Timestamp, rows_max: u32) -> Result<bool, Self::Error>;
    /// Makes a queue a new one of the same name and attributes: it has no messages.
    fn empty(&self, queue: &Queue) -> Result<(), Self::Error>;
}

/// Topics, who gets their messages, and what is still to be delivered.
pub trait Topics {
    /// What goes wrong beneath.
    type Error;

    /// A topic that was made, or that something was published to.
    fn topic(&self, name: &str) -> Result<Option<Topic>, Self::Error>;
    /// The names of topics behind one that somebody made, in order.
    fn topic_names(&self, after: &str, rows_max: u32) -> Result<Vec<String>, Self::Error>;
    /// Makes a topic.
    fn create_topic(&self, name: &str, now: Timestamp) -> Result<(), Self::Error>;
    /// Removes a topic with its subscriptions.
    fn drop_topic(&self, name: &str) -> Result<(), Self::Error>;
    /// One more message was published to a topic.
    fn count(&self, topic: &str) -> Result<(), Self::Error>;
    /// Subscriptions behind a number, in the order of their coming: of a topic, or all.
    fn subscriptions(
        &self,
        topic: Option<&str>,
        after: i64,
        rows_max: u32,
    ) -> Result<Vec<Subscription>, Self::Error>;
    /// A subscription by its name.
    fn subscription(&self, id: &str) -> Result<Option<Subscription>, Self::Error>;
    /// Makes a subscription.
    fn subscribe(&self, subscription: &Subscription) -> Result<(), Self::Error>;
    /// Whether a subscription gets messages alone, from now on.
    fn set_raw(&self, id: &str, raw: bool) -> Result<(), Self::Error>;
    /// Removes a subscription.
    fn unsubscribe(&self, id: &str) -> Result<(), Self::Error>;
    /// Whether at least so many messages wait to be delivered to a destination.
    fn owes(&self, destination: &str, rows: u32) -> Result<bool, Self::Error>;
    /// Puts a message into the outbox, to each of these destinations.
    fn post(&self, notice: &Notice, destinations: &[String]) -> Result<(), Self::Error>;
    /// How many messages of a topic wait to be delivered, and how many were given up; of many some.
    fn outbox(&self, topic: &str) -> Result<(u64, u64), Self::Error>;
}
