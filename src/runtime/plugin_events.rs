//! Turns what a pool tells into log lines, and into news for its run.
//!
//! Owns no decision: whether a version that does not start pauses a run is its keeper's. What a
//! handler prints is logged under the target `iterd::handler`, with the items it was working on.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc;

use super::plugins::PluginNews;
use crate::{
    ids::VersionNumber,
    payload::gist,
    plugin::{Event, Events, ItemRef},
};

/// The events of one run's pool.
pub(super) struct PoolEvents {
    job: String,
    plugin: String,
    /// What the pool was opened with, and whether nothing has started yet.
    version: VersionNumber,
    first: AtomicBool,
    news: mpsc::UnboundedSender<PluginNews>,
}

impl PoolEvents {
    pub(super) fn new(
        job: String,
        plugin: String,
        version: VersionNumber,
        news: mpsc::UnboundedSender<PluginNews>,
    ) -> Self {
        Self {
            job,
            plugin,
            version,
            first: AtomicBool::new(true),
            news,
        }
    }

    fn started(&self) {
        self.first.store(false, Ordering::Relaxed);
    }

    fn tell(&self, news: PluginNews) {
        // Why ok: a run that is gone needs no news.
        self.news.send(news).ok();
    }

    fn cannot_start(&self, version: VersionNumber, cause: String) {
        let (job, plugin) = (self.job.as_str(), self.plugin.as_str());
        let number = version.0;
        tracing::error!(
            job,
            plugin,
            version = number,
            cause,
            "a version does not start"
        );
        let first = version == self.version && self.first.load(Ordering::Relaxed);
        self.tell(PluginNews::CannotStart {
            version,
            cause,
            first,
        });
    }

    fn worker(&self, event: &Event) {
        let (job, plugin) = (self.job.as_str(), self.plugin.as_str());
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
                tracing::debug!(job, plugin, version, pid, how, "a worker ended");
                return;
            }
            // Why the gist: a worker that dies at each start would fill the log with tracebacks.
            let how = gist(how);
            let restart_after_ms = restart_after.as_millis();
            tracing::warn!(
                job,
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
    /// What becomes of workers whose secrets were rotated.
    fn secrets(&self, event: Event) {
        let (job, plugin) = (self.job.as_str(), self.plugin.as_str());
        if let Event::Renewed { version } = event {
            let version = version.0;
            tracing::info!(job, plugin, version, "new workers have the new secrets");
        } else if let Event::NotRenewed { version, cause } = event {
            let version = version.0;
            tracing::error!(
                job,
                plugin,
                version,
                cause,
                "no worker starts with the new secrets; those with the former go on"
            );
        } else if let Event::SecretUnreadable { version, cause } = event {
            let version = version.0;
            tracing::warn!(
                job,
                plugin,
                version,
                cause,
                "a secret cannot be read any more"
            );
        }
    }
}

impl Events for PoolEvents {
    fn event(&self, event: Event) {
        let (job, plugin) = (self.job.as_str(), self.plugin.as_str());
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
                    job, plugin, version, pid, ?stream, items, line
                );
            }
            Event::LogsDropped { pid, lines } => {
                tracing::warn!(
                    job,
                    plugin,
                    pid,
                    lines,
                    "a worker prints too much; lines were dropped"
                );
            }
            Event::WorkerStarted { pid, version } => {
                self.started();
                tracing::debug!(job, plugin, version = version.0, pid, "a worker is ready");
            }
            Event::WorkerEnded { .. } => self.worker(&event),
            Event::Unconfined { version, why } => {
                let version = version.0;
                tracing::warn!(job, plugin, version, why, "workers are not fully confined");
            }
            Event::CanaryStarted { version, .. } => {
                let number = version.0;
                tracing::info!(job, plugin, version = number, "a version proves itself");
                self.tell(PluginNews::Canary { version });
            }
            Event::Deployed {
                version,
                folder,
                proven,
            } => {
                self.started();
                let number = version.0;
                tracing::info!(job, plugin, version = number, proven, "a version is in use");
                self.tell(PluginNews::Deployed {
                    version,
                    folder,
                    proven,
                });
            }
            Event::Refuted { version, cause } => {
                let number = version.0;
                tracing::error!(
                    job,
                    plugin,
                    version = number,
                    cause,
                    "a version is withdrawn"
                );
                self.tell(PluginNews::Refuted { version, cause });
            }
            Event::Renewed { .. } | Event::NotRenewed { .. } | Event::SecretUnreadable { .. } => {
                self.secrets(event);
            }
            Event::CannotStart { version, cause, .. } => self.cannot_start(version, cause),
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
