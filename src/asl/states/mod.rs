//! The states of the language, a file per type, and what all of them share: name, data flow,
//! transition, error handling.
//!
//! A state is read once and never changes. Fields that a type does not have are errors, by
//! `Fields`.

mod choice;
mod distributed;
mod fail;
mod map;
mod parallel;
mod pass;
mod succeed;
mod task;
mod wait;

use std::sync::Arc;

pub use choice::{Choice, Comparator, Comparison, Is, Operand, Rule, Test, With};
pub use distributed::{
    Batcher, CsvHeaders, Distributed, ExecutionType, InputType, ManifestType, OutputType,
    Reader as ItemReader, ReaderConfig, ReaderTransformation, Writer, WriterTransformation,
};
pub use fail::{Fail, Text};
pub use map::{Map, Mode};
pub use parallel::Parallel;
pub use pass::Pass;
pub use task::Task;
pub use wait::Wait;

use super::{
    definition::{Definition, QueryLanguage, StateId},
    fields::{Fields, wrong_kind},
    path::{Path, ReferencePath},
    policy::{self, Catcher, Retrier},
    reader::Reader,
    template::Template,
    text::{Json, Member},
};

/// A state of a machine.
#[derive(Debug, PartialEq)]
pub struct State {
    /// Unique in the whole machine; 1 to 80 characters.
    pub name: Arc<str>,
    /// What its fields are written in.
    pub language: QueryLanguage,
    /// What it does.
    pub kind: Kind,
    /// How data comes in and goes out.
    pub io: Io,
    /// What errors lead to; both lists are empty where the type has none.
    pub retry: Box<[Retrier]>,
    /// Asked in their order, after the retriers.
    pub catch: Box<[Catcher]>,
    /// Variables that are set when it is left: an object of them. Of a Choice: where no rule holds.
    pub assign: Option<Template>,
    /// The variables that it reads, by name.
    pub references: Box<[Arc<str>]>,
    /// The state after it; `None`: it ends its scope, or chooses the next one itself.
    pub next: Option<StateId>,
}

/// The type of a state, with its own fields.
#[derive(Debug, PartialEq)]
pub enum Kind {
    /// Hands its input on, or a given result.
    Pass(Pass),
    /// Has work done.
    Task(Task),
    /// Chooses the next state.
    Choice(Choice),
    /// Waits.
    Wait(Wait),
    /// Ends well.
    Succeed,
    /// Ends in an error.
    Fail(Fail),
    /// Runs its processor for every item.
    Map(Box<Map>),
    /// Runs its branches side by side.
    Parallel(Parallel),
}

impl Kind {
    /// The type's name in the language.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Pass(_) => "Pass",
            Self::Task(_) => "Task",
            Self::Choice(_) => "Choice",
            Self::Wait(_) => "Wait",
            Self::Succeed => "Succeed",
            Self::Fail(_) => "Fail",
            Self::Map(_) => "Map",
            Self::Parallel(_) => "Parallel",
        }
    }
}

impl Kind {
    /// Whether the state has a result of its own, and can be retried: a Task, a Map, a Parallel.
    #[must_use]
    pub const fn has_result(&self) -> bool {
        match self {
            Self::Task(_) | Self::Map(_) | Self::Parallel(_) => true,
            Self::Pass(_) | Self::Choice(_) | Self::Wait(_) | Self::Succeed | Self::Fail(_) => {
                false
            }
        }
    }
}

/// The data flow of a state, in the order of its application.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Io {
    /// What of the state's input is looked at.
    pub input_path: Selection,
    /// What a task is given instead (`Parameters`, `Arguments`).
    pub parameters: Option<Template>,
    /// What is kept of the result.
    pub result_selector: Option<Template>,
    /// Where the result goes in the state's input.
    pub result_path: ResultPath,
    /// What of that is handed on.
    pub output_path: Selection,
    /// What is handed on; JSONata. Of a Choice: where no rule holds.
    pub output: Option<Template>,
}

/// Which of the fields of the data flow a type of state has, beside those that all have.
type Flow = &'static [&'static str];

/// What Pass, Wait and Choice have at least.
const PLAIN: Flow = &["Assign"];

/// What has work done.
const WORK: Flow = &[
    "Parameters",
    "Arguments",
    "ResultSelector",
    "ResultPath",
    "Assign",
];

/// `InputPath` and `OutputPath`.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Selection {
    /// Absent or `$`: everything.
    #[default]
    Whole,
    /// `null`: an empty object.
    Nothing,
    /// What the path finds.
    Path(Path),
}

/// `ResultPath`.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum ResultPath {
    /// Absent or `$`: the result replaces the input.
    #[default]
    Replace,
    /// `null`: the input is kept, the result is not.
    Discard,
    /// The result is written into the input.
    At(ReferencePath),
}

impl State {
    /// Reads a state; where the result is none, the reason is reported.
    pub(crate) fn read<'n>(member: &'n Member, reader: &mut Reader<'n>) -> Option<Self> {
        let mut fields = Fields::of(&member.value, "a state", &mut reader.problems)?;
        let kind = fields.required("Type", &mut reader.problems)?;
        reader.state_language(&mut fields);
        reader.references.clear();
        let mut state = Self {
            language: reader.language,
            ..Self::unknown(&member.key)
        };
        let kind = match kind.as_str() {
            Some("Pass") => pass::read(&mut state, &mut fields, reader),
            Some("Task") => task::read(&mut state, &mut fields, reader),
            Some("Choice") => choice::read(&mut state, &mut fields, reader),
            Some("Wait") => wait::read(&mut state, &mut fields, reader),
            Some("Succeed") => Some(succeed::read(&mut state, &mut fields, reader)),
            Some("Fail") => Some(fail::read(&mut fields, reader)),
            Some("Map") => map::read(&mut state, &mut fields, reader),
            Some("Parallel") => parallel::read(&mut state, &mut fields, reader),
            _ => {
                let types = "Pass, Task, Choice, Wait, Succeed, Fail, Parallel or Map";
                wrong_kind(kind, "Type", types, &mut reader.problems);
                return None;
            }
        };
        fields.finish(&mut reader.problems);
        let mut references = std::mem::take(&mut reader.references);
        references.sort_unstable();
        references.dedup();
        state.references = references.into();
        state.kind = kind?;
        Some(state)
    }

    /// A state of which only the name is known: one that a state leads to which was read by itself.
    pub(crate) fn unknown(name: &str) -> Self {
        Self {
            name: name.into(),
            language: QueryLanguage::JsonPath,
            kind: Kind::Succeed,
            io: Io::default(),
            retry: Box::default(),
            catch: Box::default(),
            assign: None,
            references: Box::default(),
            next: None,
        }
    }

    /// Whether its scope can end here.
    pub(crate) fn ends(&self) -> bool {
        self.next.is_none() && !matches!(self.kind, Kind::Choice(_))
    }

    /// Every state it can lead to.
    pub(crate) fn targets(&self) -> impl Iterator<Item = StateId> + '_ {
        let choice = match &self.kind {
            Kind::Choice(choice) => Some(choice),
            Kind::Pass(_)
            | Kind::Task(_)
            | Kind::Wait(_)
            | Kind::Succeed
            | Kind::Fail(_)
            | Kind::Map(_)
            | Kind::Parallel(_) => None,
        };
        self.next
            .into_iter()
            .chain(self.catch.iter().map(|catcher| catcher.next))
            .chain(choice.into_iter().flat_map(Choice::targets))
    }

    /// The fields of a Map state; `None` for any other type.
    #[must_use]
    pub fn map(&self) -> Option<&Map> {
        match &self.kind {
            Kind::Map(map) => Some(map),
            Kind::Pass(_)
            | Kind::Task(_)
            | Kind::Choice(_)
            | Kind::Wait(_)
            | Kind::Succeed
            | Kind::Fail(_)
            | Kind::Parallel(_) => None,
        }
    }

    /// The fields of a Task state; `None` for any other type.
    #[must_use]
    pub fn task(&self) -> Option<&Task> {
        match &self.kind {
            Kind::Task(task) => Some(task),
            Kind::Pass(_)
            | Kind::Choice(_)
            | Kind::Wait(_)
            | Kind::Succeed
            | Kind::Fail(_)
            | Kind::Map(_)
            | Kind::Parallel(_) => None,
        }
    }

    /// The definition that children of a distributed Map run.
    pub(crate) fn processor(&self) -> Option<&Arc<Definition>> {
        match &self.map()?.mode {
            Mode::Distributed(distributed) => Some(&distributed.processor),
            Mode::Inline(_) => None,
        }
    }

    /// The fields of the data flow that the state has in its language.
    fn read_flow<'n>(&mut self, fields: &mut Fields<'n>, flow: Flow, reader: &mut Reader<'n>) {
        match self.language {
            QueryLanguage::JsonPath => {
                self.io.input_path = selection(fields, "InputPath", reader);
                self.io.output_path = selection(fields, "OutputPath", reader);
                if flow.contains(&"Parameters") {
                    self.io.parameters = reader.template(fields, "Parameters");
                }
                if flow.contains(&"ResultSelector") {
                    self.io.result_selector = reader.template(fields, "ResultSelector");
                }
                if flow.contains(&"ResultPath") {
                    self.io.result_path = policy::result_path(fields, reader);
                }
            }
            QueryLanguage::Jsonata => {
                if flow.contains(&"Arguments") {
                    self.io.parameters = reader.template(fields, "Arguments");
                }
                self.io.output = reader.template(fields, "Output");
            }
        }
        if flow.contains(&"Assign") {
            self.assign = reader.assign(fields);
        }
    }

    /// `Retry` and `Catch`.
    fn read_policy<'n>(&mut self, fields: &mut Fields<'n>, reader: &mut Reader<'n>) {
        self.retry = policy::retry(fields, reader);
        self.catch = policy::catch(fields, reader);
    }

    /// Either `Next` or `"End": true`; `None` where neither is right, which is reported.
    fn read_transition<'n>(
        &mut self,
        fields: &mut Fields<'n>,
        reader: &mut Reader<'n>,
    ) -> Option<()> {
        let next = fields.take("Next");
        let end = fields.boolean("End", &mut reader.problems);
        match (next, end) {
            (Some(next), None | Some(false)) => {
                self.next = Some(reader.target(next, "Next")?);
                Some(())
            }
            (None, Some(true)) => Some(()),
            (Some(next), Some(true)) => {
                reader
                    .problems
                    .schema(next.span, "only one of \"Next\" and \"End\" can be given");
                None
            }
            (None, _) => {
                let message = "the state needs \"Next\", or \"End\": true";
                reader.problems.schema(fields.node.span, message);
                None
            }
        }
    }
}

fn selection<'n>(fields: &mut Fields<'n>, key: &'static str, reader: &mut Reader<'n>) -> Selection {
    let Some(node) = fields.take(key) else {
        return Selection::Whole;
    };
    if matches!(node.json, Json::Null) {
        return Selection::Nothing;
    }
    match reader.path(node, key) {
        Some(path) if path.is_root() && path.text() == "$" => Selection::Whole,
        Some(path) => Selection::Path(path),
        None => Selection::Whole,
    }
}
