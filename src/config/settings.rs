//! The daemon's settings: every key with its meaning, default, bounds and writing.
//!
//! Owns the table of keys ([`KEYS`]), which the file, the environment, the command line and `iterd
//! show` all go by. Which layer wins is not known here.

use std::{
    collections::BTreeMap, net::SocketAddr, ops::RangeInclusive, path::PathBuf, time::Duration,
};

use toml::de::DeValue;

use super::{
    ConnectionSpec, Endpoint, LimitSpec, MailServer, MailSettings, ServiceSettings, TopicSettings,
    TriggerSpec,
    problem::quoted,
    services::{endpoint, profile},
    size::{quote, show_duration, show_size},
    topics::{address as mail_address, mail_server, reference},
    values::{duration, one_of, or_word, path, size, text, whole_u32},
};
use crate::telemetry::{self, LogFormat};

/// The defaults as a file with comments; `config/iterd.toml` of the repository.
pub const DEFAULTS: &str = include_str!("../../config/iterd.toml");

/// The settings of a daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where the API and the console listen.
    pub listen: SocketAddr,
    /// The AWS region that ARNs speak of.
    pub region: String,
    /// The AWS account that ARNs speak of: twelve digits.
    pub account: String,
    /// Where state lies, where somebody says so; [`Config::state_dir`] answers it for all cases.
    pub state_dir: Option<PathBuf>,
    /// The folder of the jobs that `serve` knows.
    pub jobs_dir: PathBuf,
    /// The folder of the plugins that jobs name.
    pub plugins_dir: PathBuf,
    /// What sandbox every plugin gets.
    pub sandbox: Sandbox,
    /// How long items in flight may go on after the order to stop.
    pub shutdown_grace: Duration,
    /// `[log]`
    pub log: Log,
    /// `[items]`
    pub items: Items,
    /// `[store]`
    pub store: Store,
    /// `[history]`
    pub history: History,
    /// `[retention]`
    pub retention: Retention,
    /// `[limiters.NAME]`: what jobs share with `use = "NAME"`.
    pub limiters: BTreeMap<String, LimitSpec>,
    /// `[buckets.NAME]`: folders that are buckets; any other bucket is a folder in the state directory.
    pub buckets: BTreeMap<String, PathBuf>,
    /// `[services]`: where services are that tasks ask.
    pub services: ServiceSettings,
    /// `[connections.NAME]`: what tasks prove themselves by to APIs.
    pub connections: BTreeMap<String, ConnectionSpec>,
    /// `[topics.NAME]`: topics that always are, and where their messages go.
    pub topics: BTreeMap<String, TopicSettings>,
    /// `[mail]`: how e-mail leaves.
    pub mail: MailSettings,
    /// `[triggers.NAME]`: what starts executions from outside.
    pub triggers: BTreeMap<String, TriggerSpec>,
}

/// What sandbox every plugin gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sandbox {
    /// What its manifest says.
    Manifest,
    /// One, whatever its manifest says; without kernel support nothing is started.
    On,
}

/// How the daemon logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// One line for people, or one JSON object, for each event.
    pub format: LogFormat,
    /// A level (`info`), or directives (`iterd=debug,hyper=info`).
    pub level: String,
}

/// Bounds of what a run holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Items {
    /// A record of more bytes fails without being held in memory.
    pub record_bytes_max: u64,
    /// Bytes of one read from a source.
    pub page_bytes_max: u64,
    /// Records of one read from a source.
    pub page_items_max: u32,
    /// An item that holds the watermark back by more than this gets a row of its own.
    pub window_items_max: u32,
    /// Items that wait in rows of their own; at this many a run takes no new ones.
    pub parked_items_max: u32,
}

/// Bounds of the database and the disk under it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// Bytes of the write-ahead log at which writers are slowed down.
    pub wal_bytes_max: u64,
    /// The same while a backup runs; beyond it the backup is given up.
    pub backup_wal_bytes_max: u64,
    /// With fewer bytes free on the disk nothing is dispatched.
    pub disk_free_min: u64,
}

/// Bounds of the history of one execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// Events.
    pub events_max: u32,
    /// Bytes of all its events together.
    pub bytes_max: u64,
    /// What happens where it would have more.
    pub on_quota: OnQuota,
}

/// What happens to an execution whose history is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnQuota {
    /// It goes on; the first and the newest events are kept.
    RollUp,
    /// It fails, as on AWS.
    Fail,
}

/// How long what has ended is kept; nothing of an unfinished or undelivered run is ever removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    /// Ended executions and their histories; `None`: for good.
    pub executions: Option<Duration>,
    /// Results and failures of finished runs but the latest of each job; `None`: for good.
    pub results: Option<Duration>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8083)),
            region: "us-east-1".into(),
            account: "000000000000".into(),
            state_dir: None,
            jobs_dir: "jobs".into(),
            plugins_dir: "plugins".into(),
            sandbox: Sandbox::Manifest,
            shutdown_grace: Duration::from_secs(30),
            log: Log {
                format: LogFormat::Text,
                level: "info".into(),
            },
            items: Items {
                record_bytes_max: MIB,
                page_bytes_max: 8 * MIB,
                page_items_max: 1000,
                window_items_max: 4096,
                parked_items_max: 10_000,
            },
            store: Store {
                wal_bytes_max: 256 * MIB,
                backup_wal_bytes_max: 2 * GIB,
                disk_free_min: 512 * MIB,
            },
            history: History {
                events_max: 25_000,
                bytes_max: 64 * MIB,
                on_quota: OnQuota::RollUp,
            },
            retention: Retention {
                executions: Some(90 * DAY),
                results: Some(90 * DAY),
            },
            limiters: BTreeMap::new(),
            buckets: BTreeMap::new(),
            services: ServiceSettings::default(),
            connections: BTreeMap::new(),
            topics: BTreeMap::new(),
            mail: MailSettings::default(),
            triggers: BTreeMap::new(),
        }
    }
}

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;
const DAY: Duration = Duration::from_hours(24);

/// A key of the settings.
pub(crate) struct Key {
    /// The key with its section in front: `log.level`.
    pub(crate) name: &'static str,
    /// Takes a value into the settings, or says what is wrong with it.
    pub(crate) set: fn(&mut Config, &DeValue<'_>) -> Result<(), String>,
    /// The value as a file would say it.
    pub(crate) show: fn(&Config) -> String,
}

/// Puts a value where it belongs.
fn put<T>(place: &mut T, value: Result<T, String>) -> Result<(), String> {
    *place = value?;
    Ok(())
}

const LOG_FORMATS: [(&str, LogFormat); 2] = [("text", LogFormat::Text), ("json", LogFormat::Json)];
const SANDBOXES: [(&str, Sandbox); 2] = [("manifest", Sandbox::Manifest), ("on", Sandbox::On)];

/// Every key but those of what has names: limiters, buckets, single services, connections, topics and
/// triggers. In the order in which they are shown.
#[rustfmt::skip]
pub(crate) const KEYS: [Key; 30] = [
    Key { name: "listen", set: |c, v| put(&mut c.listen, address(v)), show: |c| quote(&c.listen) },
    Key { name: "region", set: |c, v| put(&mut c.region, region(v)), show: |c| quote(&c.region) },
    Key { name: "account", set: |c, v| put(&mut c.account, account(v)), show: |c| quote(&c.account) },
    Key { name: "state_dir", set: |c, v| put(&mut c.state_dir, path(v).map(Some)), show: |c| c.state_dir.as_ref().map_or_else(String::new, |dir| quote(&dir.display())) },
    Key { name: "jobs_dir", set: |c, v| put(&mut c.jobs_dir, path(v)), show: |c| quote(&c.jobs_dir.display()) },
    Key { name: "plugins_dir", set: |c, v| put(&mut c.plugins_dir, path(v)), show: |c| quote(&c.plugins_dir.display()) },
    Key { name: "sandbox", set: |c, v| put(&mut c.sandbox, one_of(v, &SANDBOXES)), show: |c| word(&c.sandbox, &SANDBOXES) },
    Key { name: "shutdown_grace", set: |c, v| put(&mut c.shutdown_grace, duration(v, Duration::ZERO..=DAY)), show: |c| quote(&show_duration(c.shutdown_grace)) },
    Key { name: "log.format", set: |c, v| put(&mut c.log.format, one_of(v, &LOG_FORMATS)), show: |c| word(&c.log.format, &LOG_FORMATS) },
    Key { name: "log.level", set: |c, v| put(&mut c.log.level, level(v)), show: |c| quote(&c.log.level) },
    Key { name: "items.record_bytes_max", set: |c, v| put(&mut c.items.record_bytes_max, size(v, KIB..=256 * MIB)), show: |c| bytes(c.items.record_bytes_max) },
    Key { name: "items.page_bytes_max", set: |c, v| put(&mut c.items.page_bytes_max, size(v, KIB..=GIB)), show: |c| bytes(c.items.page_bytes_max) },
    Key { name: "items.page_items_max", set: |c, v| put(&mut c.items.page_items_max, whole_u32(v, 1..=100_000)), show: |c| c.items.page_items_max.to_string() },
    Key { name: "items.window_items_max", set: |c, v| put(&mut c.items.window_items_max, whole_u32(v, 1..=1_000_000)), show: |c| c.items.window_items_max.to_string() },
    Key { name: "items.parked_items_max", set: |c, v| put(&mut c.items.parked_items_max, whole_u32(v, 1..=10_000_000)), show: |c| c.items.parked_items_max.to_string() },
    Key { name: "store.wal_bytes_max", set: |c, v| put(&mut c.store.wal_bytes_max, size(v, WAL_BYTES)), show: |c| bytes(c.store.wal_bytes_max) },
    Key { name: "store.backup_wal_bytes_max", set: |c, v| put(&mut c.store.backup_wal_bytes_max, size(v, WAL_BYTES)), show: |c| bytes(c.store.backup_wal_bytes_max) },
    Key { name: "store.disk_free_min", set: |c, v| put(&mut c.store.disk_free_min, size(v, MIB..=u64::MAX)), show: |c| bytes(c.store.disk_free_min) },
    Key { name: "history.events_max", set: |c, v| put(&mut c.history.events_max, whole_u32(v, 100..=100_000_000)), show: |c| c.history.events_max.to_string() },
    Key { name: "history.on_quota", set: |c, v| put(&mut c.history.on_quota, on_quota(v)), show: |c| quote(&c.history.on_quota.as_str().to_owned()) },
    Key { name: "history.bytes_max", set: |c, v| put(&mut c.history.bytes_max, size(v, MIB..=1024 * GIB)), show: |c| bytes(c.history.bytes_max) },
    Key { name: "retention.executions", set: |c, v| put(&mut c.retention.executions, kept(v)), show: |c| kept_shown(c.retention.executions) },
    Key { name: "retention.results", set: |c, v| put(&mut c.retention.results, kept(v)), show: |c| kept_shown(c.retention.results) },
    Key { name: "services.endpoint", set: |c, v| put(&mut c.services.endpoint, endpoint(v).map(Some)), show: |c| said(c.services.endpoint.as_ref().map(Endpoint::as_str)) },
    Key { name: "services.region", set: |c, v| put(&mut c.services.region, region(v).map(Some)), show: |c| said(c.services.region.as_deref()) },
    Key { name: "services.profile", set: |c, v| put(&mut c.services.profile, profile(v).map(Some)), show: |c| said(c.services.profile.as_deref()) },
    Key { name: "mail.server", set: |c, v| put(&mut c.mail.server, mail_server(v).map(Some)), show: |c| said(c.mail.server.as_ref().map(MailServer::to_string).as_deref()) },
    Key { name: "mail.from", set: |c, v| put(&mut c.mail.from, mail_address(v).map(Some)), show: |c| said(c.mail.from.as_deref()) },
    Key { name: "mail.user", set: |c, v| put(&mut c.mail.user, text(v).map(Some)), show: |c| said(c.mail.user.as_deref()) },
    Key { name: "mail.password", set: |c, v| put(&mut c.mail.password, reference(v).map(Some)), show: |c| said(c.mail.password.as_deref()) },
];

/// A log of fewer bytes would be emptied at every commit; one of more is a disk of its own.
const WAL_BYTES: RangeInclusive<u64> = 4 * MIB..=1024 * GIB;

fn bytes(bytes: u64) -> String {
    quote(&show_size(bytes))
}

/// What may be unsaid; empty then.
fn said(value: Option<&str>) -> String {
    value.map_or_else(String::new, |value| quote(&value))
}

fn word<T: PartialEq>(value: &T, words: &[(&str, T)]) -> String {
    let named = words.iter().find(|(_, meaning)| meaning == value);
    quote(&named.map_or("", |(name, _)| name))
}

fn address(value: &DeValue<'_>) -> Result<SocketAddr, String> {
    let written = text(value)?;
    written.parse().map_err(|_| {
        let written = quoted(&written);
        format!("{written} is no address with a port; write for example \"127.0.0.1:8083\"")
    })
}

pub(super) fn region(value: &DeValue<'_>) -> Result<String, String> {
    let region = text(value)?;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if region.len() <= 40 && region.chars().all(plain) {
        return Ok(region);
    }
    Err(format!(
        "{} is no region; write for example \"us-east-1\"",
        quoted(&region)
    ))
}

impl OnQuota {
    const fn as_str(self) -> &'static str {
        match self {
            Self::RollUp => "roll-up",
            Self::Fail => "fail",
        }
    }
}

fn on_quota(value: &DeValue<'_>) -> Result<OnQuota, String> {
    match text(value)?.as_str() {
        "roll-up" => Ok(OnQuota::RollUp),
        "fail" => Ok(OnQuota::Fail),
        other => Err(format!(
            "{} is not known; write \"roll-up\" or \"fail\"",
            quoted(other)
        )),
    }
}

fn account(value: &DeValue<'_>) -> Result<String, String> {
    let account = text(value)?;
    if account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(account);
    }
    Err(format!(
        "{} is no account; write twelve digits in quotation marks",
        quoted(&account)
    ))
}

fn level(value: &DeValue<'_>) -> Result<String, String> {
    let level = text(value)?;
    telemetry::check_level(&level)?;
    Ok(level)
}

fn kept(value: &DeValue<'_>) -> Result<Option<Duration>, String> {
    or_word(value, "forever", |value| {
        duration(value, DAY / 24..=36_500 * DAY)
    })
}

fn kept_shown(kept: Option<Duration>) -> String {
    quote(&kept.map_or_else(|| "forever".into(), show_duration))
}
