//! A job file as the parts that run it: definition, options, limits, source, output.
//!
//! Owns how the words of a job file become the types of the cores; never starts anything. What a
//! run was started with (its source and output) is stored with the run and stays what it was; the
//! rest follows the file.

use std::{num::NonZeroU32, path::Path, sync::Arc, time::Duration};

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{RuntimeError, executions::JOB_OPTIONS};
use crate::{
    asl,
    config::{
        Config, Limit, LimitSpec, Problem,
        job::{self, JobFile, Schedule},
    },
    integration::{SpecError, sink::SinkSpec, source::SourceSpec},
    iteration::{
        Backoff, Breaker, BreakerLimits, Course, OnInterrupt, Options, Order, Share, Tolerance,
    },
    limiter::{self, LimitError, Limits, Pace, Quota, Spread},
    machine::Machine,
};

/// Everything that runs a job.
pub struct Plan {
    /// The job's name.
    pub job: String,
    /// The definition of the whole job.
    pub definition: String,
    /// The machine of one item.
    pub item: Machine,
    /// The options of its run.
    pub options: Options,
    /// The limiter's name: shared, or the job's own.
    pub limiter: String,
    /// What it allows.
    pub limits: Limits,
    /// Permits that an item costs.
    pub weight: NonZeroU32,
    /// Whose days the limiter's are.
    pub time_zone: TimeZone,
    /// What its retries may have of the limiter while new items wait.
    pub retry_share: limiter::Share,
    /// When its runs may dispatch; `None`: always.
    pub schedule: Option<Schedule>,
    /// What a forecast has to know of the file.
    pub course: Arc<Course>,
    /// Where items come from.
    pub source: SourceSpec,
    /// Where results go beside the results table.
    pub output: Option<SinkSpec>,
    /// What is stored with the run.
    pub stored: StoredPlan,
}

/// The keys of `[source]` that may change while a run goes on.
const MAY_CHANGE: [&str; 2] = ["on_change", "when_empty"];

/// What a run keeps of the job it was started with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredPlan {
    v: u32,
    /// `[source]` as it was written.
    pub source: Map<String, Value>,
    /// `[output]` as it was written.
    pub output: Option<Map<String, Value>>,
    /// What relative paths in it start from.
    pub base_dir: String,
    /// Where the output file lies, whatever its path above and whoever goes on with the run: set
    /// when the run was taken over from another state directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_path: Option<String>,
}

impl StoredPlan {
    /// The text to store.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Invariant: made of JSON, which always serialises.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads back what [`StoredPlan::to_json`] wrote.
    pub fn from_json(text: &str) -> Result<Self, RuntimeError> {
        serde_json::from_str(text).map_err(|error| RuntimeError::Damaged {
            what: "the plan of a run".to_owned(),
            cause: error.to_string(),
        })
    }
}

impl StoredPlan {
    /// The same, with the place where the output file lies.
    pub(super) fn with_output_path(&self, output_path: Option<String>) -> Self {
        Self {
            output_path,
            ..self.clone()
        }
    }

    /// Whether the file names the source that the run was started with.
    #[must_use]
    pub fn has_source_of(&self, file: &JobFile) -> bool {
        let rest = |source: &Map<String, Value>| {
            let mut rest = source.clone();
            for key in MAY_CHANGE {
                rest.remove(key);
            }
            rest
        };
        rest(&self.source) == rest(&file.source)
    }

    /// The run's source; what is to be done about its changes is as the file has it now.
    fn source_of(&self, file: &JobFile) -> Map<String, Value> {
        if self.has_source_of(file) {
            file.source.clone()
        } else {
            self.source.clone()
        }
    }

    /// Where the run's results go beside the results table; see [`Plan::of`] for `outputs`.
    fn sink(&self, outputs: Option<&Path>) -> Result<Option<SinkSpec>, SpecError> {
        let Some(output) = &self.output else {
            return Ok(None);
        };
        let mut spec = SinkSpec::from_json(Value::Object(output.clone()))?;
        match &self.output_path {
            Some(path) => spec.path = path.into(),
            None => spec.resolve_paths(outputs.unwrap_or(Path::new(&self.base_dir))),
        }
        Ok(Some(spec))
    }

    /// As [`StoredPlan::sink`], of a run that was checked when it began.
    pub(super) fn output(&self, outputs: Option<&Path>) -> Result<Option<SinkSpec>, RuntimeError> {
        self.sink(outputs).map_err(|error| RuntimeError::Damaged {
            what: "the plan of a run".to_owned(),
            cause: error.to_string(),
        })
    }
}

impl StoredPlan {
    /// Where the run's items come from; it was checked when it began.
    pub(super) fn source_spec(&self) -> Result<SourceSpec, RuntimeError> {
        let mut source =
            SourceSpec::from_json(Value::Object(self.source.clone())).map_err(|error| {
                RuntimeError::Damaged {
                    what: "the plan of a run".to_owned(),
                    cause: error.to_string(),
                }
            })?;
        source.resolve_paths(Path::new(&self.base_dir));
        Ok(source)
    }
}

impl Plan {
    /// The plan of a job by its file; `plugin` is the name in its plugin's manifest. `outputs` is
    /// where relative output paths start, for a service; else they are relative to the file.
    pub fn of(
        file: &JobFile,
        plugin: &str,
        config: &Config,
        outputs: Option<&Path>,
    ) -> Result<Self, RuntimeError> {
        let base_dir = std::path::absolute(&file.base_dir).map_err(|error| RuntimeError::Io {
            what: format!("cannot tell where {} lies", file.base_dir.display()),
            error,
        })?;
        let stored = StoredPlan {
            v: 1,
            source: file.source.clone(),
            output: file.output.clone(),
            base_dir: base_dir.to_string_lossy().into_owned(),
            output_path: None,
        };
        Self::with(file, plugin, config, outputs, stored)
    }

    /// The plan of a run that was started before: its own source and output, the file's rest.
    pub fn with(
        file: &JobFile,
        plugin: &str,
        config: &Config,
        outputs: Option<&Path>,
        stored: StoredPlan,
    ) -> Result<Self, RuntimeError> {
        if let Some(schedule) = &file.schedule
            && schedule.overlap == job::Overlap::Allow
        {
            let problem =
                "runs of one job do not run beside one another; write \"skip\" or \"queue\"";
            return Err(refuse(file, "schedule.overlap", &problem));
        }
        let Limiting {
            name,
            limits,
            weight,
        } = Limiting::of(file, config)?;
        let definition = job::definition(file, plugin, &config.region, &config.account);
        let text = definition.to_string();
        let parsed = asl::Definition::parse(&text, asl::Dialect::Iterd).map_err(|problems| {
            RuntimeError::Job(format!("the job's own definition is wrong: {problems}"))
        })?;
        let item = parsed
            .processor("Items")
            .map(|processor| Machine::new(processor, JOB_OPTIONS))
            .ok_or_else(|| RuntimeError::Job("the job's definition has no items".to_owned()))?;
        let base = Path::new(&stored.base_dir);
        let mut source = SourceSpec::from_json(Value::Object(stored.source_of(file)))
            .map_err(|error| refuse_spec(file, &error))?;
        source.resolve_paths(base);
        let output = stored
            .sink(outputs)
            .map_err(|error| refuse_spec(file, &error))?;
        let retry_share = limiter::Share::of_hundredths(file.retry.quota_share().hundredths());
        Ok(Self {
            job: file.name.clone(),
            definition: text,
            item,
            options: options(file, config),
            limiter: name,
            limits,
            weight,
            time_zone: file
                .limiter(&config.limiters)
                .map_or(TimeZone::UTC, |spec| spec.time_zone.clone()),
            retry_share,
            schedule: file.schedule.clone(),
            course: Arc::new(Course {
                weight,
                schedule: file.schedule.clone(),
                backoff: backoff(&file.retry),
                retry_share,
            }),
            source,
            output,
            stored,
        })
    }
}

/// The limiter of a job: which, and what it allows.
pub(super) struct Limiting {
    pub(super) name: String,
    pub(super) limits: Limits,
    pub(super) weight: NonZeroU32,
}

impl Limiting {
    /// That of a job by its file; `config` has the shared ones as they are in force.
    pub(super) fn of(file: &JobFile, config: &Config) -> Result<Self, RuntimeError> {
        let (name, spec) = limiter_of(file, config)?;
        let (limits, weight) = limits(spec).map_err(|(key, error)| {
            let key = match (key, &file.limit) {
                ("", _) | (_, Limit::Shared(_)) => "limit".to_owned(),
                (key, Limit::Own(_)) => format!("limit.{key}"),
            };
            refuse(file, &key, &error)
        })?;
        Ok(Self {
            name,
            limits,
            weight,
        })
    }
}

/// The name of a job's own limiter. Why the prefix: it must not meet a shared one of the same name.
pub(super) fn own_limiter(job: &str) -> String {
    format!("{OWN}{job}")
}

/// What the names of jobs' own limiters begin with; a shared one's name has no colon.
pub(super) const OWN: &str = "job:";

fn refuse(file: &JobFile, key: &str, error: &dyn std::fmt::Display) -> RuntimeError {
    RuntimeError::Job(file.problem(key, error.to_string()).to_string())
}

/// Why not as other keys: the error names its table and key itself.
fn refuse_spec(file: &JobFile, error: &SpecError) -> RuntimeError {
    let problem = Problem {
        origin: file.problem(&error.place(), "").origin,
        message: error.to_string(),
    };
    RuntimeError::Job(problem.to_string())
}

fn limiter_of<'a>(
    file: &'a JobFile,
    config: &'a Config,
) -> Result<(String, &'a LimitSpec), RuntimeError> {
    let spec = file
        .limiter(&config.limiters)
        .map_err(|problem| RuntimeError::Job(problem.to_string()))?;
    let name = match &file.limit {
        Limit::Shared(name) => name.clone(),
        Limit::Own(_) => own_limiter(&file.name),
    };
    Ok((name, spec))
}

/// What a limiter allows, and what an item costs there; else the key that does not fit, empty where
/// several together do not.
pub(super) fn limits(spec: &LimitSpec) -> Result<(Limits, NonZeroU32), (&'static str, LimitError)> {
    let pace = spec.pace.as_deref().map(str::parse::<Pace>).transpose();
    let quota = spec.quota.as_deref().map(|quota| {
        let quota = quota.parse::<Quota>()?;
        quota.in_zone(spec.time_zone.clone(), spec.reset_hour)
    });
    let limits = Limits {
        pace: pace.map_err(|error| ("pace", error))?,
        quota: quota.transpose().map_err(|error| ("quota", error))?,
        spread: match spec.spread {
            crate::config::Spread::Asap => Spread::Asap,
            crate::config::Spread::Even => Spread::Even,
        },
        reserve: u32::try_from(spec.reserve).unwrap_or(u32::MAX),
    };
    let weight = NonZeroU32::new(spec.weight).unwrap_or(NonZeroU32::MIN);
    limits.check(weight).map_err(|error| ("", error))?;
    Ok((limits, weight))
}

/// Back-offs that are reckoned one by one; by then all but the slowest have reached their maximum.
const BACKOFFS_MAX: u32 = 1000;

/// How long a record that fails is tried.
fn backoff(retry: &job::Retry) -> Backoff {
    let longest = match retry.attempts {
        job::Attempts::Forever => None,
        job::Attempts::Count(count) => {
            let (mut delay, mut whole) = (retry.first, Duration::ZERO);
            let retries = count.saturating_sub(1);
            for _ in 0..retries.min(BACKOFFS_MAX) {
                whole = whole.saturating_add(delay);
                let next = delay.as_secs_f64() * retry.factor;
                delay = Duration::try_from_secs_f64(next)
                    .unwrap_or(retry.max_delay)
                    .min(retry.max_delay);
            }
            let more = delay.saturating_mul(retries.saturating_sub(BACKOFFS_MAX));
            Some(whole.saturating_add(more))
        }
    };
    Backoff {
        longest,
        jitter: retry.jitter,
    }
}

/// A file may ask for no longer memory than a run has.
const _: () = assert!(job::WINDOW_MAX == Breaker::CALLS_MAX);

fn options(file: &JobFile, config: &Config) -> Options {
    let pause = &file.pause_when;
    Options {
        slots: file.process.concurrency,
        order: match file.process.order {
            job::Order::Relaxed => Order::Relaxed,
            job::Order::Strict => Order::Strict,
        },
        on_interrupt: match file.process.on_interrupt {
            job::OnInterrupt::Retry => OnInterrupt::Retry,
            job::OnInterrupt::Hold => OnInterrupt::Hold,
        },
        window_items_max: config.items.window_items_max,
        parked_items_max: config.items.parked_items_max,
        tolerance: Tolerance::EVERYTHING,
        pause_when: BreakerLimits {
            failing: pause.failing.as_ref().map(|failing| Share {
                percent: failing.share.fraction() * 100.0,
                of_last: failing.window,
            }),
            in_a_row: pause.in_a_row,
            failed_percent: pause.failed.map(|share| share.fraction() * 100.0),
        },
    }
}
