//! Everything that can be written, on one screen. How each is written stands in its family's file.

use rusqlite::Connection;

use super::{
    ActivityTaskRow, AdoptionRow, AwaitedRow, ChildRow, CopiedRows, DayRow, Delivery, DepartureRow,
    EventRow, ExecutionRow, ExecutionStatus, ExportRow, FailureRow, HistoryRow, InForceRow,
    InterventionRow, JobRow, LimiterOrders, MachineChange, MapRunRow, PluginAliasRow, Requeue,
    ResultRow, RunRow, SessionChange, SourceRow, TimerRow, VersionRow, VersionTally, WorkerRow,
    activity_tasks, adoptions, awaited, children, events, executions, exports, failures, figures,
    history, interventions, jobs, limiters, map_runs, notifications, plugins, pruning, results,
    runs, sessions, sources, timers, workers,
};
use super::{
    IntakeChange, Position, RedoRow, TriggerChange, positions, redo, services, services::topics,
};
use crate::{
    config::Overrides,
    ids::{ExecutionId, FrameId, Index, RunId},
    iteration::{Checkpoint, RowStatus},
    machine,
    time::Timestamp,
};

/// One thing to be written.
#[derive(Debug, Clone)]
pub enum Change {
    /// A job was seen or edited; whether it is started stays as it is.
    PutJob(JobRow),
    /// A job is to run (and to resume at boot), or no longer.
    StartJob {
        /// Its name.
        name: String,
        /// Whether it runs.
        started: bool,
    },
    /// A schedule's fire time was acted on.
    Scheduled {
        /// The job's name.
        name: String,
        /// The fire time.
        at: Timestamp,
    },
    /// A new execution.
    NewExecution(ExecutionRow),
    /// An execution ended.
    EndExecution {
        /// Which.
        execution: ExecutionId,
        /// How.
        status: ExecutionStatus,
        /// Its output, where it succeeded.
        output: Option<String>,
        /// The error's name, where it did not.
        error: Option<String>,
        /// The error's cause.
        cause: Option<String>,
        /// When.
        at: Timestamp,
    },
    /// An ended execution runs again.
    ReopenExecution {
        /// Which.
        execution: ExecutionId,
    },
    /// An ended execution is redriven.
    RedriveExecution {
        /// Which.
        execution: ExecutionId,
        /// How often it has been.
        redrives: u32,
        /// What its client sent with it.
        token: Option<String>,
        /// When.
        at: Timestamp,
    },
    /// What a step changed of a live execution.
    Frames {
        /// Which execution.
        execution: ExecutionId,
        /// What is to be removed and what to be put.
        changes: machine::Changes,
    },
    /// Whether something of an execution is under way in this process.
    Awake {
        /// Which execution.
        execution: ExecutionId,
        /// Whether.
        awake: bool,
    },
    /// What happened in an execution.
    History {
        /// Which.
        execution: ExecutionId,
        /// The events.
        row: HistoryRow,
        /// Large payloads that came with them, by their events.
        payloads: Vec<(u64, String)>,
    },
    /// Events in the middle of a history are kept no longer.
    RollUp {
        /// Which execution's.
        execution: ExecutionId,
        /// From this event to that one, which stays.
        events: (u64, u64),
        /// The payloads that came with these are meant by none that stays.
        payloads: (u64, u64),
    },
    /// A Map Run of an execution, new or changed.
    PutMapRun(Box<MapRunRow>),
    /// How many results of a Map Run are in files.
    MapRunWritten {
        /// The run.
        run: RunId,
        /// How many.
        written: u64,
    },
    /// A task waits for a worker of its activity.
    PutActivityTask(Box<ActivityTaskRow>),
    /// No worker is to have the task of a frame any more.
    RemoveActivityTask {
        /// Which execution.
        execution: ExecutionId,
        /// Which frame.
        frame: FrameId,
    },
    /// A task has given a sign of life.
    Beat {
        /// Which execution.
        execution: ExecutionId,
        /// Which frame.
        frame: FrameId,
        /// When.
        at: Timestamp,
    },
    /// A task waits for an execution's end.
    Await(AwaitedRow),
    /// Whoever waited for an execution's end is told.
    Unawait(ExecutionId),
    /// An execution waits for an instant.
    PutTimer(TimerRow),
    /// A frame waits no longer.
    RemoveTimers {
        /// Which execution.
        execution: ExecutionId,
        /// Which frame.
        frame: FrameId,
    },
    /// A new run.
    NewRun(RunRow),
    /// What a run was started with has changed.
    RunPlan {
        /// Which.
        run: RunId,
        /// The plan from now on.
        plan: String,
    },
    /// Where a run stands.
    Checkpoint {
        /// Which.
        run: RunId,
        /// All of it.
        checkpoint: Box<Checkpoint>,
        /// When.
        at: Timestamp,
    },
    /// What a run counted since its last commit; goes with its checkpoint.
    Count {
        /// Which.
        run: RunId,
        /// The day, and what was counted.
        day: DayRow,
        /// What was counted by version of the plugin; none twice.
        versions: Vec<VersionTally>,
        /// When.
        at: Timestamp,
    },
    /// A child's row, new or changed.
    PutChild(Box<ChildRow>),
    /// A child's row has another status.
    ChildStatus {
        /// Which run.
        run: RunId,
        /// Which child.
        index: Index,
        /// From now on.
        status: RowStatus,
        /// When it is due.
        due: Timestamp,
    },
    /// Children that back off are due by that instant.
    HurryChildren {
        /// Which run.
        run: RunId,
        /// This one; `None`: all of them.
        only: Option<Index>,
        /// The instant.
        at: Timestamp,
    },
    /// A child ended and needs its row no longer.
    RemoveChild {
        /// Which run.
        run: RunId,
        /// Which child.
        index: Index,
    },
    /// Results of items.
    Results {
        /// Which run.
        run: RunId,
        /// In any order.
        rows: Vec<ResultRow>,
    },
    /// Items that failed for good.
    Failures {
        /// Which run.
        run: RunId,
        /// In any order.
        rows: Vec<FailureRow>,
    },
    /// A result came after the exporter had passed its place.
    LateResult {
        /// Which run.
        run: RunId,
        /// Which item.
        index: Index,
    },
    /// Failed items become queued children, with their attempts and a fresh policy.
    RequeueFailures {
        /// Which run.
        run: RunId,
        /// Which items: a page of them.
        what: Requeue,
        /// When.
        at: Timestamp,
    },
    /// Finished records become queued children; their results stay current until the new outcomes
    /// are written. Refused where one has no such result, or is queued already.
    Redo {
        /// Which run.
        run: RunId,
        /// The records, read again.
        rows: Vec<RedoRow>,
        /// When.
        at: Timestamp,
    },
    /// Where some records begin in the source.
    Positions {
        /// Which run.
        run: RunId,
        /// In any order.
        rows: Vec<Position>,
    },
    /// An item failed no more: it is tried again.
    RemoveFailure {
        /// Which run.
        run: RunId,
        /// Which item.
        index: Index,
    },
    /// What somebody decided on single items.
    Interventions {
        /// Which run.
        run: RunId,
        /// In any order.
        rows: Vec<InterventionRow>,
    },
    /// A limiter's state; an older sequence number than the stored one changes nothing.
    Limiter {
        /// Its name.
        name: String,
        /// Grows with each change of it.
        sequence: u64,
        /// Its stored form.
        state: String,
    },
    /// What operators have set over a job's file, all of it.
    JobOverrides {
        /// The job's name.
        name: String,
        /// From now on.
        overrides: Overrides,
    },
    /// What operators have ordered about a limiter, all of it.
    LimiterOrders(LimiterOrders),
    /// A version of a plugin got its number.
    NewVersion(VersionRow),
    /// A version of a plugin is in force from now on; what proved itself there does so no longer.
    PutInForce(InForceRow),
    /// A version of a plugin proves itself from now on.
    BeginCanary(InForceRow),
    /// The version that proves itself at this place is withdrawn.
    EndCanary(String),
    /// A version of a plugin has a name.
    PluginAlias(PluginAliasRow),
    /// A version of a plugin has a name no longer.
    RemovePluginAlias {
        /// The plugin.
        plugin: String,
        /// The name.
        alias: String,
    },
    /// The calls of a run go to this version of its plugin.
    RunPlugin {
        /// Which run.
        run: RunId,
        /// The version's hash.
        hash: String,
    },
    /// A worker process was started.
    WorkerStarted(WorkerRow),
    /// A worker process is gone.
    WorkerEnded(WorkerRow),
    /// How far an output file is written; its late results up to here are in it too.
    Export {
        /// The new position.
        row: ExportRow,
        /// Late results that were written.
        late: Vec<Index>,
    },
    /// The output file of the job's earlier runs is this run's from now on: nothing of theirs is
    /// owed any more.
    SupersedeExports {
        /// The job's name.
        job: String,
        /// The new run.
        run: RunId,
    },
    /// A run is being taken over from another state directory.
    BeginAdoption(AdoptionRow),
    /// Rows of a run that is being taken over.
    CopyRows(CopiedRows),
    /// Removes rows of an adoption that was not done, a batch of each table.
    DropCopied {
        /// The run.
        run: RunId,
        /// Of each table.
        rows_max: u32,
    },
    /// A run was taken over; all of it is here.
    EndAdoption {
        /// The run.
        run: RunId,
        /// The job.
        job: String,
        /// When.
        at: Timestamp,
    },
    /// A name is wanted by an execution that is taken over: an older one gets another.
    MakeWay {
        /// The machine's name.
        machine: String,
        /// The execution's name.
        name: String,
    },
    /// A job's row is to be replaced by another in the same commit.
    RemoveJob {
        /// Its name.
        name: String,
    },
    /// A job's run went to another state directory.
    Depart(DepartureRow),
    /// What is known of a run's source.
    Source(SourceRow),
    /// Something that people may want to know later.
    Event(EventRow),
    /// What became of a notification.
    Notified {
        /// Of which event.
        event: i64,
        /// What became of it.
        delivery: Delivery,
        /// When.
        at: Timestamp,
    },
    /// What became of a delivery of the outbox.
    Delivered {
        /// Its number.
        id: i64,
        /// What became of it.
        delivery: Delivery,
        /// When.
        at: Timestamp,
    },
    /// The process that keeps jobs running began, lives, or ended.
    Session {
        /// What happens to it.
        change: SessionChange,
        /// When.
        at: Timestamp,
    },
    /// Something about a state machine, an activity, or their tags.
    Machine(MachineChange),
    /// Something about what triggers have started.
    Trigger(TriggerChange),
    /// Messages are taken out of queues.
    Intake(IntakeChange),
    /// Removes rows of an ended run: results, failures, children, a batch of each.
    PruneRun {
        /// Which.
        run: RunId,
        /// Of each kind.
        rows_max: u32,
    },
    /// Removes an ended execution with its runs, which have no rows any more.
    RemoveExecution {
        /// Which.
        execution: ExecutionId,
    },
    /// Removes a batch of the oldest events, and of notifications that are over.
    PruneEvents {
        /// Those before this instant.
        before: Timestamp,
        /// So many at most.
        rows_max: u32,
    },
    /// Removes a batch of what embedded services keep no longer.
    PruneServices {
        /// The time.
        now: Timestamp,
        /// So many rows of a kind at most.
        rows_max: u32,
    },
    /// Gives free pages of the file back to the disk.
    Vacuum {
        /// So many at most.
        pages_max: u32,
    },
}

impl Change {
    #[expect(
        clippy::too_many_lines,
        reason = "a line or two for each kind of change"
    )]
    pub(super) fn apply(&self, db: &Connection) -> rusqlite::Result<()> {
        match self {
            Self::PutJob(row) => jobs::put(db, row),
            Self::StartJob { name, started } => jobs::set_started(db, name, *started),
            Self::Scheduled { name, at } => jobs::set_scheduled(db, name, *at),
            Self::NewExecution(row) => executions::insert(db, row),
            Self::EndExecution {
                execution,
                status,
                output,
                error,
                cause,
                at,
            } => executions::end(
                db,
                *execution,
                *status,
                [output.as_deref(), error.as_deref(), cause.as_deref()],
                *at,
            ),
            Self::ReopenExecution { execution } => executions::reopen(db, *execution),
            Self::RedriveExecution {
                execution,
                redrives,
                token,
                at,
            } => executions::redrive(db, *execution, *redrives, token.as_deref(), *at),
            Self::Awake { execution, awake } => executions::set_awake(db, *execution, *awake),
            Self::History {
                execution,
                row,
                payloads,
            } => history::insert(db, *execution, row, payloads),
            Self::RollUp {
                execution,
                events,
                payloads,
            } => history::roll_up(db, *execution, *events, *payloads),
            Self::PutMapRun(row) => map_runs::put(db, row),
            Self::MapRunWritten { run, written } => map_runs::set_written(db, *run, *written),
            Self::PutActivityTask(row) => activity_tasks::put(db, row),
            Self::RemoveActivityTask { execution, frame } => {
                activity_tasks::remove(db, *execution, *frame)
            }
            Self::Beat {
                execution,
                frame,
                at,
            } => timers::beat(db, *execution, *frame, *at),
            Self::Await(row) => awaited::put(db, row),
            Self::Unawait(child) => awaited::remove(db, *child),
            Self::PutTimer(row) => timers::put(db, row),
            Self::RemoveTimers { execution, frame } => timers::remove(db, *execution, *frame),
            Self::Frames { execution, changes } => executions::put_frames(db, *execution, changes),
            Self::NewRun(row) => runs::insert(db, row),
            Self::RunPlan { run, plan } => runs::set_plan(db, *run, plan),
            Self::Checkpoint {
                run,
                checkpoint,
                at,
            } => runs::put_checkpoint(db, *run, checkpoint, *at),
            Self::Count {
                run,
                day,
                versions,
                at,
            } => figures::count(db, *run, day, versions, *at),
            Self::PutChild(row) => children::put(db, row),
            Self::ChildStatus {
                run,
                index,
                status,
                due,
            } => children::set_status(db, *run, *index, *status, *due),
            Self::HurryChildren { run, only, at } => children::hurry(db, *run, *only, *at),
            Self::RemoveChild { run, index } => children::remove(db, *run, *index),
            Self::Results { run, rows } => results::put(db, *run, rows),
            Self::Failures { run, rows } => failures::put(db, *run, rows),
            Self::LateResult { run, index } => exports::put_late(db, *run, *index),
            Self::RequeueFailures { run, what, at } => failures::requeue(db, *run, what, *at),
            Self::Redo { run, rows, at } => redo::put(db, *run, rows, *at),
            Self::Positions { run, rows } => positions::put(db, *run, rows),
            Self::RemoveFailure { run, index } => failures::remove(db, *run, *index),
            Self::Interventions { run, rows } => interventions::put(db, *run, rows),
            Self::Limiter {
                name,
                sequence,
                state,
            } => limiters::put(db, name, *sequence, state),
            Self::JobOverrides { name, overrides } => jobs::set_overrides(db, name, overrides),
            Self::LimiterOrders(orders) => limiters::put_orders(db, orders),
            Self::NewVersion(row) => plugins::insert(db, row),
            Self::PutInForce(row) => plugins::put_in_force(db, row),
            Self::BeginCanary(row) => plugins::begin_canary(db, row),
            Self::EndCanary(place) => plugins::end_canary(db, place),
            Self::PluginAlias(row) => plugins::put_alias(db, row),
            Self::RemovePluginAlias { plugin, alias } => plugins::remove_alias(db, plugin, alias),
            Self::RunPlugin { run, hash } => plugins::set_run_plugin(db, *run, hash),
            Self::WorkerStarted(row) => workers::insert(db, row),
            Self::WorkerEnded(row) => workers::remove(db, row),
            Self::Export { row, late } => exports::put(db, row, late),
            Self::SupersedeExports { job, run } => exports::supersede(db, job, *run),
            Self::BeginAdoption(row) => adoptions::begin(db, row),
            Self::CopyRows(rows) => adoptions::put_rows(db, rows),
            Self::DropCopied { run, rows_max } => adoptions::drop_copied(db, *run, *rows_max),
            Self::EndAdoption { run, job, at } => adoptions::end(db, *run, job, *at),
            Self::MakeWay { machine, name } => adoptions::make_way(db, machine, name),
            Self::RemoveJob { name } => adoptions::remove_job(db, name),
            Self::Depart(row) => adoptions::depart(db, row),
            Self::Source(row) => sources::put(db, row),
            Self::Event(row) => events::insert(db, row),
            Self::Notified {
                event,
                delivery,
                at,
            } => notifications::settle(db, *event, delivery, *at),
            Self::Delivered { id, delivery, at } => topics::settle(db, *id, delivery, *at),
            Self::Session { change, at } => sessions::put(db, change, *at),
            Self::Machine(change) => change.apply(db),
            Self::Trigger(change) => change.apply(db),
            Self::Intake(change) => change.apply(db),
            Self::PruneRun { run, rows_max } => pruning::prune_run(db, *run, *rows_max),
            Self::RemoveExecution { execution } => pruning::remove_execution(db, *execution),
            Self::PruneEvents { before, rows_max } => pruning::prune_events(db, *before, *rows_max),
            Self::PruneServices { now, rows_max } => services::pruning::prune(db, *now, *rows_max),
            Self::Vacuum { pages_max } => pruning::vacuum(db, *pages_max),
        }
    }
}

impl Change {
    /// Whether somebody outside may have to be told because of it.
    pub(super) const fn is_news(&self) -> bool {
        matches!(self, Self::Event(row) if row.kind.is_news())
    }

    /// Whether machines may be others behind it. The end of one that was to go is nobody's news.
    pub(super) const fn is_of_machines(&self) -> bool {
        matches!(self, Self::Machine(change) if !matches!(change, MachineChange::FinishDeletes))
    }
}

/// SQLite's integers are signed; an index or a count beyond 2^63 exists nowhere.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The inverse of [`signed`]; the schema's CHECKs keep negative numbers out.
pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
