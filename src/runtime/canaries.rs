//! What becomes of versions that prove themselves.
//!
//! Each pool that uses a plugin lets the new version prove itself on its own calls; the first verdict
//! counts for all. Owns the commit that puts a proven version in force or withdraws a refuted one, and
//! tells the other runs. How a version proves itself is the pool's business, and that it has to, the
//! deployer's.
//! Crash: before the commit it proves itself again; after it, every pool is opened with what is in force.

use super::{Deploy, Deployed, Engine, RuntimeError, run::Order};
use crate::{
    config::job::PluginRef,
    ids::VersionNumber,
    plugin::Tally,
    store::{Change, EventKind, InForceRow},
};

/// What a roll-back came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RolledBack {
    /// The version that was proving itself is withdrawn.
    Withdrawn {
        /// The plugin's name.
        plugin: String,
        /// Which version.
        version: u32,
    },
    /// The version of before is in force.
    PutBack(Deployed),
}

impl Engine {
    /// A pool knows what a version is worth: how it was refuted, else that it is proven. Whether that
    /// is the first to be heard of it; a version that proves itself because its folder was edited is
    /// none of a deploy's.
    pub(super) async fn conclude_canary(
        &self,
        plugin: &PluginRef,
        version: VersionNumber,
        refuted: Option<&str>,
    ) -> Result<bool, RuntimeError> {
        let (engine, used) = (self.clone(), plugin.clone());
        let refuted = refuted.map(ToOwned::to_owned);
        let cause = refuted.clone();
        let writing = tokio::task::spawn_blocking(move || {
            engine.write_verdict(&used, version, refuted.as_deref())
        });
        let Some(jobs) = writing.await.map_err(|_| RuntimeError::Closed)?? else {
            return Ok(false);
        };
        if let Some(place) = self.plugins().place(plugin) {
            self.plugins().verdicts.send_modify(|verdicts| {
                verdicts.insert(place, (version, cause));
            });
        }
        if let Some(in_force) = self.plugins().in_force(plugin)? {
            self.put_in_use(&jobs, &in_force, false).await;
        }
        Ok(true)
    }

    /// Withdraws the version that proves itself, or else puts the one back in force that was before; what
    /// came of it.
    pub async fn roll_back(&self, what: &str, author: &str) -> Result<RolledBack, RuntimeError> {
        let (plugin, place) = self.find_plugin(what)?;
        if let Some(row) = self.store().canary(&place)? {
            let by = format!("by {author}");
            let version = VersionNumber(row.version);
            self.conclude_canary(&plugin, version, Some(&by)).await?;
            return Ok(RolledBack::Withdrawn {
                plugin: row.plugin,
                version: row.version,
            });
        }
        let nothing = |why: &str| RuntimeError::Conflict(format!("{what}: {why}"));
        let in_force = self.store().in_force(&place)?;
        let in_force = in_force.ok_or_else(|| nothing("nothing is in force yet"))?;
        let versions = self.store().versions(&in_force.plugin)?.into_iter();
        let before = versions
            .filter(|it| it.row.version != in_force.version)
            .filter_map(|it| Some((it.deployed?, it.row.version)))
            .max();
        let Some((_, before)) = before else {
            return Err(nothing("no other version was in force before this one"));
        };
        let deploy = Deploy {
            what: what.to_owned(),
            from: None,
            version: Some(before),
            resume: false,
            at_once: true,
            author: author.to_owned(),
        };
        Ok(RolledBack::PutBack(self.deploy(deploy).await?))
    }

    /// A run that used the plugin has ended. Where nothing else calls it, a version that was not refuted
    /// is in force: there is nothing to prove it by any more.
    pub(super) async fn release_canary(&self, plugin: &PluginRef) -> Result<(), RuntimeError> {
        let Some(place) = self.plugins().place(plugin) else {
            return Ok(());
        };
        if let Some(row) = self.store().canary(&place)?
            && !self.is_called(&place, &self.jobs_at(&place)?)
        {
            let version = VersionNumber(row.version);
            self.conclude_canary(plugin, version, None).await?;
        }
        Ok(())
    }

    /// What the version that proves itself at a place has shown to each live job that uses it.
    pub fn canary_figures(
        &self,
        place: &str,
        version: u32,
    ) -> Result<Vec<(String, Tally)>, RuntimeError> {
        let figures = self.jobs_at(place)?.into_iter().filter_map(|job| {
            let view = self.view(&job)?;
            let (number, tally) = view.borrow().canary?;
            (number.0 == version).then_some((job, tally))
        });
        Ok(figures.collect())
    }

    /// Has the calls of these jobs go to a version that has started elsewhere.
    pub(super) async fn put_in_use(
        &self,
        jobs: &[String],
        version: &crate::plugin::Version,
        canary: bool,
    ) {
        for job in jobs {
            if let Some(orders) = self.orders(job) {
                let order = Order::Deploy {
                    version: Box::new(version.clone()),
                    proven: true,
                    canary,
                };
                // Why dropped: a run that has just ended needs no version.
                drop(orders.send(order).await);
            }
        }
    }

    /// The jobs that are to know of it; `None` where the version proves itself no longer. Blocks.
    fn write_verdict(
        &self,
        plugin: &PluginRef,
        version: VersionNumber,
        refuted: Option<&str>,
    ) -> Result<Option<Vec<String>>, RuntimeError> {
        let _turn = self.plugins().conclusion();
        let Some(place) = self.plugins().place(plugin) else {
            return Ok(None);
        };
        let row = self.store().canary(&place)?;
        let Some(row) = row.filter(|row| row.version == version.0) else {
            return Ok(None);
        };
        let jobs = self.jobs_at(&place)?;
        let (kind, detail) = match refuted {
            None => (
                EventKind::InForce,
                format!(
                    "version {version} of plugin {}, which has proved itself",
                    row.plugin
                ),
            ),
            Some(cause) => (EventKind::RolledBack, rolled_back(version, cause)),
        };
        let mut changes = self.for_jobs(&row.author, &jobs, kind, &detail);
        changes.push(match refuted {
            None => Change::PutInForce(InForceRow {
                at: self.now(),
                ..row
            }),
            Some(_) => Change::EndCanary(place),
        });
        self.store().commit_blocking(changes)?;
        Ok(Some(jobs))
    }

    /// An event of each of these jobs. Why one without a job: a plugin that no job uses has a history too.
    pub(super) fn for_jobs(
        &self,
        author: &str,
        jobs: &[String],
        kind: EventKind,
        detail: &str,
    ) -> Vec<Change> {
        let none = jobs.is_empty().then_some("");
        let whom = jobs.iter().map(String::as_str).chain(none);
        whom.map(|job| self.event_by(author, job, kind, detail.to_owned()))
            .collect()
    }
}

/// What people are told of a version that is withdrawn, and why.
pub(super) fn rolled_back(version: VersionNumber, why: &str) -> String {
    format!("version {version} of the plugin is withdrawn: {why}")
}
