//! The layers of the settings: defaults, then the file, the environment, the command line; the later
//! one wins.
//!
//! Owns which layer said what, so that `iterd show` can tell the origin of every value. Invariant: all
//! layers go through the same table of keys, so none can set what another cannot.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use toml::de::DeValue;

use super::{
    Config, ConfigError, ConfigPlace, ConnectionSpec, Environment, LimitSpec, OneService,
    Overrides, TopicSettings, TriggerKind, TriggerSpec,
    document::{Document, Section, locate, read_text},
    problem::{Findings, Origin, Problem, Problems, near, nearest, quoted},
    services::endpoint,
    settings::{KEYS, Key, region},
    size::quote,
    topics::topic_name,
    values::{name, path},
};

/// What the names of our environment variables begin with.
const PREFIX: &str = "ITERD_";

/// Most buckets of the settings; beyond some dozens they belong into one folder.
const BUCKETS_MAX: usize = 1000;

/// Most connections of the settings; each is an API that somebody has an account at.
const CONNECTIONS_MAX: usize = 1000;

/// Most limiters of the settings; each is a row and a clock of its own.
const LIMITERS_MAX: usize = 1000;

/// Most services with a section of their own; AWS has some four hundred.
const SERVICES_MAX: usize = 1000;

/// Most topics of the settings; a message goes nowhere by itself, so somebody wrote each of them.
const TOPICS_MAX: usize = 1000;

/// Most triggers of the settings; each that listens to a folder or a queue is a task of its own.
const TRIGGERS_MAX: usize = 1000;

/// The settings with the origin of each of them.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The values.
    pub config: Config,
    /// Environment variables that look like settings and are none, each with its mend. No error: the
    /// environment is shared with programs whose variables may begin like ours.
    pub warnings: Vec<Problem>,
    file: Option<(ConfigPlace, String)>,
    folder: PathBuf,
    origins: BTreeMap<String, Origin>,
}

/// A setting as `iterd show` tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The key with its section in front: `log.level`.
    pub key: String,
    /// The value as a file would say it; empty where it is found out at the start.
    pub value: String,
    /// Who says so.
    pub origin: Origin,
}

impl Settings {
    /// Reads all layers. `overrides` are the keys that the command line sets, with their texts.
    ///
    /// Relative paths are relative to the file where the file or the defaults say them, else to the
    /// current directory.
    pub fn load(
        place: &ConfigPlace,
        environment: &Environment,
        overrides: &[(&str, String)],
    ) -> Result<Self, ConfigError> {
        let mut settings = Self::default();
        let exists = place.file.try_exists().unwrap_or(true);
        if place.named || exists {
            let text = read_text(&place.file)?;
            settings.read_file(&place.file, &text)?;
            settings.file = Some((place.clone(), text));
        }
        let folder = place.file.parent().unwrap_or(Path::new(""));
        let config = &mut settings.config;
        let paths = [&mut config.jobs_dir, &mut config.plugins_dir];
        for path in paths.into_iter().chain(&mut config.state_dir) {
            *path = folder.join(&path);
        }
        for topic in config.topics.values_mut() {
            topic.found_in(folder);
        }
        for trigger in config.triggers.values_mut() {
            if let TriggerKind::Folder { path, .. } = &mut trigger.kind {
                *path = folder.join(&path);
            }
        }
        let mut findings = Findings::default();
        settings.read_environment(environment, &mut findings);
        for (key, text) in overrides {
            settings.set(key, text, &Origin::CommandLine, &mut findings);
        }
        folder.clone_into(&mut settings.folder);
        settings.check_mail(&mut findings);
        Ok(findings.answer(Some(settings))?)
    }

    /// Where the settings are, or would be.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Reads a file that stands for all layers; `file` is only how it is named.
    pub fn parse(file: &Path, text: &str) -> Result<Self, Problems> {
        let mut settings = Self::default();
        settings.read_file(file, text)?;
        let mut findings = Findings::default();
        settings.check_mail(&mut findings);
        findings.answer(Some(settings))
    }

    /// Every setting, in the order of the defaults; then the limiters, the buckets, single services,
    /// the connections, the topics and the triggers, each as one table.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        let keys = KEYS.iter().map(|key| Row {
            key: key.name.to_owned(),
            value: (key.show)(&self.config),
            origin: self.origin(key.name),
        });
        let limiters = self.config.limiters.iter().map(|(name, limit)| Row {
            key: format!("limiters.{}", quote(name)),
            value: limit.show(),
            origin: self.origin(&format!("limiters.{name}")),
        });
        let buckets = self.config.buckets.iter().map(|(name, path)| Row {
            key: format!("buckets.{}", quote(name)),
            value: format!("{{ path = {} }}", quote(&path.display())),
            origin: self.origin(&format!("buckets.{name}")),
        });
        let services = self
            .config
            .services
            .named
            .iter()
            .map(|(name, service)| Row {
                key: format!("services.{}", quote(name)),
                value: service.show(),
                origin: self.origin(&format!("services.{name}")),
            });
        let connections = self.config.connections.iter().map(|(name, spec)| Row {
            key: format!("connections.{}", quote(name)),
            value: spec.show(),
            origin: self.origin(&format!("connections.{name}")),
        });
        let topics = self.config.topics.iter().map(|(name, topic)| Row {
            key: format!("topics.{}", quote(name)),
            value: topic.show(),
            origin: self.origin(&format!("topics.{name}")),
        });
        let triggers = self.config.triggers.iter().map(|(name, trigger)| Row {
            key: format!("triggers.{}", quote(name)),
            value: trigger.show(),
            origin: self.origin(&format!("triggers.{name}")),
        });
        keys.chain(limiters)
            .chain(buckets)
            .chain(services)
            .chain(connections)
            .chain(topics)
            .chain(triggers)
            .collect()
    }

    /// Who says what a key says.
    #[must_use]
    pub fn origin(&self, key: &str) -> Origin {
        self.origins.get(key).cloned().unwrap_or(Origin::Default)
    }

    /// A problem at a key of the settings (`limiters.crm.pace`), found by whoever owns its meaning.
    #[must_use]
    pub fn problem(&self, key: &str, message: impl Into<String>) -> Problem {
        let origin = match (self.origins.get(key), &self.file) {
            (Some(origin), _) => origin.clone(),
            (None, Some((place, text))) => locate(&place.file, text, key),
            (None, None) => Origin::Default,
        };
        Problem {
            origin,
            message: format!("{key}: {}", message.into()),
        }
    }

    fn read_file(&mut self, file: &Path, text: &str) -> Result<(), Problems> {
        let overrides = Overrides::default();
        let document = Document::parse(file, text, &overrides)?;
        let mut root = document.root();
        let mut sections: BTreeMap<&str, Option<Section<'_>>> = BTreeMap::new();
        for key in &KEYS {
            match key.name.split_once('.') {
                None => self.read_key(&mut root, key.name, key),
                Some((name, last)) => {
                    let section = sections.entry(name).or_insert_with(|| root.section(name));
                    if let Some(section) = section {
                        self.read_key(section, last, key);
                    }
                }
            }
        }
        if let Some(limiters) = root.section("limiters") {
            self.read_limiters(&limiters);
        }
        if let Some(buckets) = root.section("buckets") {
            self.read_buckets(&buckets);
        }
        if let Some(connections) = root.section("connections") {
            self.read_connections(&connections);
        }
        if let Some(topics) = root.section("topics") {
            self.read_topics(&topics);
        }
        if let Some(services) = sections.remove("services").flatten() {
            self.read_services(services);
        }
        if let Some(triggers) = root.section("triggers") {
            self.read_triggers(&triggers);
        }
        for section in sections.into_values().flatten() {
            section.finish();
        }
        root.finish();
        document.answer(Some(()))
    }

    fn read_key(&mut self, section: &mut Section<'_>, last: &'static str, key: &Key) {
        let set = section.read(last, |value| (key.set)(&mut self.config, value));
        if set.is_some() {
            self.origins.insert(key.name.into(), section.origin(last));
        }
    }

    fn read_limiters(&mut self, limiters: &Section<'_>) {
        let sections = limiters.sections();
        if sections.len() > LIMITERS_MAX {
            limiters.report(|| format!("more than {LIMITERS_MAX} limiters"));
            return;
        }
        for (named, section) in sections {
            let origin = limiters.origin(&named);
            if let Err(why) = name(&DeValue::String(Cow::Borrowed(&named))) {
                limiters.report_key(&named, || why);
            }
            self.config
                .limiters
                .insert(named.clone(), LimitSpec::read(section));
            self.origins.insert(format!("limiters.{named}"), origin);
        }
    }

    fn read_buckets(&mut self, buckets: &Section<'_>) {
        let sections = buckets.sections();
        if sections.len() > BUCKETS_MAX {
            buckets.report(|| format!("more than {BUCKETS_MAX} buckets"));
            return;
        }
        for (named, mut section) in sections {
            let origin = buckets.origin(&named);
            if let Some(path) =
                section.required("path", "write for example path = \"/srv/exports\"", folder)
            {
                self.config.buckets.insert(named.clone(), path);
            }
            section.finish();
            self.origins.insert(format!("buckets.{named}"), origin);
        }
    }

    fn read_connections(&mut self, connections: &Section<'_>) {
        let sections = connections.sections();
        if sections.len() > CONNECTIONS_MAX {
            connections.report(|| format!("more than {CONNECTIONS_MAX} connections"));
            return;
        }
        for (named, section) in sections {
            let origin = connections.origin(&named);
            if let Err(why) = name(&DeValue::String(Cow::Borrowed(&named))) {
                connections.report_key(&named, || why);
            }
            if let Some(spec) = ConnectionSpec::read(section) {
                self.config.connections.insert(named.clone(), spec);
            }
            self.origins.insert(format!("connections.{named}"), origin);
        }
    }

    fn read_topics(&mut self, topics: &Section<'_>) {
        let sections = topics.sections();
        if sections.len() > TOPICS_MAX {
            topics.report(|| format!("more than {TOPICS_MAX} topics"));
            return;
        }
        for (named, section) in sections {
            let origin = topics.origin(&named);
            if let Err(why) = topic_name(&named) {
                topics.report_key(&named, || why);
            }
            let topic = TopicSettings::read(section);
            self.config.topics.insert(named.clone(), topic);
            self.origins.insert(format!("topics.{named}"), origin);
        }
    }

    /// What is wrong with `[mail]` once all layers are read.
    fn check_mail(&self, findings: &mut Findings) {
        let mut topics = self.config.topics.iter();
        let wanted = topics.find(|(_, topic)| !topic.email.is_empty());
        let wanted = wanted.map(|(name, _)| name.as_str());
        for (key, why) in self.config.mail.check(wanted) {
            findings.add(|| self.problem(&key, why));
        }
    }

    fn read_services(&mut self, services: Section<'_>) {
        if services.len() > SERVICES_MAX {
            services.report(|| format!("more than {SERVICES_MAX} services"));
            return;
        }
        let mut named = Vec::new();
        for (name, mut section) in services.finish_but_tables() {
            let one = OneService {
                endpoint: section.read("endpoint", endpoint),
                region: section.read("region", region),
            };
            named.push((name, one, section.whole()));
            section.finish();
        }
        for (name, one, origin) in named {
            self.origins.insert(format!("services.{name}"), origin);
            self.config.services.named.insert(name, one);
        }
    }

    fn read_triggers(&mut self, triggers: &Section<'_>) {
        let sections = triggers.sections();
        if sections.len() > TRIGGERS_MAX {
            triggers.report(|| format!("more than {TRIGGERS_MAX} triggers"));
            return;
        }
        for (named, section) in sections {
            let origin = triggers.origin(&named);
            if let Err(why) = name(&DeValue::String(Cow::Borrowed(&named))) {
                triggers.report_key(&named, || why);
            }
            if let Some(trigger) = TriggerSpec::read(section) {
                self.config.triggers.insert(named.clone(), trigger);
            }
            self.origins.insert(format!("triggers.{named}"), origin);
        }
    }

    fn read_environment(&mut self, environment: &Environment, findings: &mut Findings) {
        for key in &KEYS {
            let variable = variable_of(key.name);
            let origin = Origin::Environment(variable.clone());
            match environment.get(&variable).map(|text| text.to_str()) {
                None => {}
                Some(Some(text)) => self.set(key.name, text, &origin, findings),
                Some(None) => findings.add(|| Problem {
                    origin,
                    message: "its value is no UTF-8".into(),
                }),
            }
        }
        let known: Vec<String> = KEYS.iter().map(|key| variable_of(key.name)).collect();
        let known = || known.iter().filter_map(|name| name.strip_prefix(PREFIX));
        for variable in environment.beginning(PREFIX) {
            let written = variable.strip_prefix(PREFIX).unwrap_or(variable);
            // Why: only what is nearly one of ours was meant for us.
            match near(written, known()) {
                Some(name) if name != written => self.warnings.push(Problem {
                    origin: Origin::Environment(variable.to_owned()),
                    message: format!("it is no setting; did you mean {PREFIX}{name}?"),
                }),
                _ => {}
            }
        }
    }

    /// Sets a key from a bare text, as the environment and the command line have it.
    fn set(&mut self, key: &str, text: &str, origin: &Origin, findings: &mut Findings) {
        let mut refuse = |message: String| {
            findings.add(|| Problem {
                origin: origin.clone(),
                message,
            });
        };
        let Some(known) = KEYS.iter().find(|known| known.name == key) else {
            let names = KEYS.iter().map(|known| known.name);
            let mend = nearest(key, names, "there are");
            return refuse(format!("unknown setting {}{mend}", quoted(key)));
        };
        // Why: a bare text does not say whether it is a number; a key takes one or the other.
        let as_text = DeValue::String(Cow::Borrowed(text));
        let set = match text.parse::<u64>().and(Ok(DeValue::parse(text))) {
            Ok(Ok(number)) => (known.set)(&mut self.config, number.get_ref())
                .or_else(|why| (known.set)(&mut self.config, &as_text).map_err(|_| why)),
            _ => (known.set)(&mut self.config, &as_text),
        };
        match set {
            Ok(()) => drop(self.origins.insert(key.to_owned(), origin.clone())),
            Err(why) => refuse(format!("{key}: {why}")),
        }
    }
}

/// `ITERD_LOG_LEVEL` of `log.level`.
fn variable_of(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "_").to_uppercase())
}

/// The folder of a bucket.
fn folder(value: &DeValue<'_>) -> Result<PathBuf, String> {
    let path = path(value)?;
    if path.is_absolute() {
        return Ok(path);
    }
    Err(format!(
        "{} is no absolute path, and nobody could tell where it begins",
        quote(&path.display())
    ))
}
