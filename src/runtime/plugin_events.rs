//! Turns what a pool tells into log lines, and into news for its run or function.
//!
//! Owns no decision: whether a version that does not start pauses a run is its keeper's. What a
//! handler prints is logged under the target `iterd::handler`, with the items it was working on.

use std::sync::atomic::{AtomicBool, Ordering};

use super::plugins::PluginNews;
use crate::{
    ids::VersionNumber,
    payload::{Failure, gist},
    plugin::{Event, Events, ItemRef},
};

/// The events of one pool.
pub(super) struct PoolEvents {
    /// The job whose run it is for.
    job: Option<String>,
    /// Or the function.
    function: Option<String>,
    plugin: String,
    /// What the pool was opened with, and whether nothing has started yet.
    version: VersionNumber,
    first: AtomicBool,
    tell: Box<dyn Fn(PluginNews) + Send + Sync>,
}

impl PoolEvents {
    pub(super) fn of_job(
        job: String,
        plugin: String,
        version: VersionNumber,
        tell: impl Fn(PluginNews) + Send + Sync + 'static,
    ) -> Self {
        Self {
            job: Some(job),
            function: None,
            plugin,
            version,
            first: AtomicBool::new(true),
            tell: Box::new(tell),
        }
    }

    pub(super) fn of_function(
        function: String,
        plugin: String,
        version: VersionNumber,
        tell: impl Fn(PluginNews) + Send + Sync + 'static,
    ) -> Self {
        Self {
            job: None,
            function: Some(function),
            ..Self::of_job(String::new(), plugin, version, tell)
        }
    }

    /// Whose it is, as log lines name it: job, function, plugin.
    fn whose(&self) -> (Option<&str>, Option<&str>, &str) {
        let (job, function) = (self.job.as_deref(), self.function.as_deref());
        (job, function, self.plugin.as_str())
    }

    fn started(&self) {
        self.first.store(false, Ordering::Relaxed);
    }

    fn cannot_start(&self, version: VersionNumber, cause: String, failure: Option<Failure>) {
        let (job, function, plugin) = self.whose();
        let number = version.0;
        tracing::error!(
            job,
            function,
            plugin,
            version = number,
            cause,
            "a version does not start"
        );
        let first = version == self.version && self.first.load(Ordering::Relaxed);
        (self.tell)(PluginNews::CannotStart {
            version,
            cause,
            failure,
            first,
        });
    }

    fn worker(&self, event: &Event) {
        let (job, function, plugin) = self.whose();
        if let Event::WorkerEnded {
            pid,
            version,
            how,
            expected,
            restart_after,
        } = event
        {
            let version = version.0;
            if *expected {
                tracing::debug!(job, function, plugin, version, pid, how, "a worker ended");
                return;
            }
            // Why the gist: a worker that dies at each start would fill the log with tracebacks.
            let how = gist(how);
            let restart_after_ms = restart_after.as_millis();
            tracing::warn!(
                job,
                function,
                plugin,
                version,
                pid,
                how,
                restart_after_ms,
                "a worker ended by itself"
            );
        }
    }
}

impl PoolEvents {
    /// How workers are confined, and what becomes of them where secrets are rotated.
    fn notice(&self, event: Event) {
        let (job, function, plugin) = self.whose();
        if let Event::Unconfined { version, why } = event {
            let version = version.0;
            tracing::warn!(
                job,
                function,
                plugin,
                version,
                why,
                "workers are not fully confined"
            );
        } else if let Event::Renewed { version } = event {
            let version = version.0;
            tracing::info!(
                job,
                function,
                plugin,
                version,
                "new workers have the new secrets"
            );
        } else if let Event::NotRenewed { version, cause } = event {
            let version = version.0;
            tracing::error!(
                job,
                function,
                plugin,
                version,
                cause,
                "no worker starts with the new secrets; those with the former go on"
            );
        } else if let Event::SecretUnreadable { version, cause } = event {
            let version = version.0;
            tracing::warn!(
                job,
                function,
                plugin,
                version,
                cause,
                "a secret cannot be read any more"
            );
        }
    }

    /// How far a deployed version has come.
    fn rollout(&self, event: Event) {
        let (job, function, plugin) = self.whose();
        match event {
            Event::CanaryStarted { version, .. } => {
                let number = version.0;
                tracing::info!(
                    job,
                    function,
                    plugin,
                    version = number,
                    "a version proves itself"
                );
                (self.tell)(PluginNews::Canary { version });
            }
            Event::Deployed {
                version,
                folder,
                proven,
            } => {
                self.started();
                let number = version.0;
                tracing::info!(
                    job,
                    function,
                    plugin,
                    version = number,
                    proven,
                    "a version is in use"
                );
                (self.tell)(PluginNews::Deployed {
                    version,
                    folder,
                    proven,
                });
            }
            Event::Refuted { version, cause } => {
                let number = version.0;
                tracing::error!(
                    job,
                    function,
                    plugin,
                    version = number,
                    cause,
                    "a version is withdrawn"
                );
                (self.tell)(PluginNews::Refuted { version, cause });
            }
            Event::Log { .. }
            | Event::LogsDropped { .. }
            | Event::WorkerStarted { .. }
            | Event::WorkerEnded { .. }
            | Event::Unconfined { .. }
            | Event::Renewed { .. }
            | Event::NotRenewed { .. }
            | Event::SecretUnreadable { .. }
            | Event::CannotStart { .. } => {}
        }
    }
}

impl Events for PoolEvents {
    fn event(&self, event: Event) {
        let (job, function, plugin) = self.whose();
        match event {
            Event::Log {
                pid,
                version,
                stream,
                items,
                line,
            } => {
                let (version, items) = (version.0, names(&items));
                tracing::info!(
                    target: "iterd::handler",
                    job, function, plugin, version, pid, ?stream, items, line
                );
            }
            Event::LogsDropped { pid, lines } => {
                tracing::warn!(
                    job,
                    function,
                    plugin,
                    pid,
                    lines,
                    "a worker prints too much; lines were dropped"
                );
            }
            Event::WorkerStarted { pid, version } => {
                self.started();
                tracing::debug!(
                    job,
                    function,
                    plugin,
                    version = version.0,
                    pid,
                    "a worker is ready"
                );
            }
            Event::WorkerEnded { .. } => self.worker(&event),
            Event::Unconfined { .. }
            | Event::Renewed { .. }
            | Event::NotRenewed { .. }
            | Event::SecretUnreadable { .. } => self.notice(event),
            Event::CanaryStarted { .. } | Event::Deployed { .. } | Event::Refuted { .. } => {
                self.rollout(event);
            }
            Event::CannotStart {
                version,
                cause,
                failure,
            } => self.cannot_start(version, cause, failure),
        }
    }
}

/// Items as a log line names them: by their own identity, else by their place.
fn names(items: &[ItemRef]) -> String {
    let name = |item: &ItemRef| {
        item.id
            .as_ref()
            .map_or_else(|| item.index.to_string(), ToString::to_string)
    };
    items.iter().map(name).collect::<Vec<_>>().join(",")
}
