//! Map: its items and its processor, inline or distributed.

use super::{
    Kind, Reader as DefinitionReader, State,
    distributed::{self, Distributed, ExecutionType, ITEMS_MAX},
};
use crate::asl::{
    definition::{Dialect, QueryLanguage, Setting, StateId},
    fields::{Fields, wrong_kind},
    path::Path,
    template::Template,
    text::{Json, Node},
};

/// The fields of a Map state.
#[derive(Debug, PartialEq)]
pub struct Map {
    /// Where the items are in the state's input; `None`: it is the items itself. JSONPath.
    pub items_path: Option<Path>,
    /// The items (`Items`); `None`: the state's input. JSONata.
    pub items: Option<Template>,
    /// What an iteration is given instead of the item (`ItemSelector`, `Parameters`).
    pub item_selector: Option<Template>,
    /// Iterations or children at a time; 0: as many as the mode allows.
    pub max_concurrency: Option<Setting<u64>>,
    /// Within the execution, or as executions of their own.
    pub mode: Mode,
}

/// Where iterations run.
#[derive(Debug, PartialEq)]
pub enum Mode {
    /// As frames of the same execution; the processor starts here.
    Inline(StateId),
    /// As children of a Map Run.
    Distributed(Box<Distributed>),
}

pub(super) fn read<'n>(
    state: &mut State,
    fields: &mut Fields<'n>,
    reader: &mut DefinitionReader<'n>,
) -> Option<Kind> {
    fields.rename("a Map state");
    state.read_flow(fields, &["ResultSelector", "ResultPath", "Assign"], reader);
    let (mut items_path, mut items) = (None, None);
    let item_selector = match state.language {
        QueryLanguage::JsonPath => {
            items_path = reader.optional_path(fields, "ItemsPath");
            one_of(fields, ("ItemSelector", "Parameters"), reader)
                .and_then(|key| reader.template(fields, key))
        }
        QueryLanguage::Jsonata => {
            items = items_of(fields, reader);
            reader.template(fields, "ItemSelector")
        }
    };
    let max_concurrency = reader.setting(
        fields,
        ("MaxConcurrency", "MaxConcurrencyPath"),
        |fields, problems| fields.integer("MaxConcurrency", 0..=ITEMS_MAX, problems),
    );
    state.read_policy(fields, reader);
    let mode = mode(fields, reader);
    let transition = state.read_transition(fields, reader);
    transition?;
    Some(Kind::Map(Box::new(Map {
        items_path,
        items,
        item_selector,
        max_concurrency,
        mode: mode?,
    })))
}

/// `Items`: an array, an object, or an expression that gives one.
fn items_of<'n>(fields: &mut Fields<'n>, reader: &mut DefinitionReader<'n>) -> Option<Template> {
    let node = fields.take("Items")?;
    let structured = matches!(node.json, Json::Array(_) | Json::Object(_));
    if !structured && !reader.is_jsonata(Some(node)) {
        let wanted = "an array, an object or an expression";
        wrong_kind(node, "Items", wanted, &mut reader.problems);
        return None;
    }
    reader.template(fields, "Items")
}

/// Which of a field's present and former name is there; both are reported.
fn one_of<'n>(
    fields: &mut Fields<'n>,
    keys: (&'static str, &'static str),
    reader: &mut DefinitionReader<'n>,
) -> Option<&'static str> {
    let (new, old) = (fields.take(keys.0), fields.take(keys.1));
    match (new, old) {
        (Some(_), None) => Some(keys.0),
        (None, Some(_)) => Some(keys.1),
        (None, None) => None,
        (Some(_), Some(old)) => {
            let message = format!("{:?} is the former name of {:?}; give one", keys.1, keys.0);
            reader.problems.schema(old.span, message);
            None
        }
    }
}

fn mode<'n>(fields: &mut Fields<'n>, reader: &mut DefinitionReader<'n>) -> Option<Mode> {
    fields.know(distributed::FIELDS);
    let Some(key) = one_of(fields, ("ItemProcessor", "Iterator"), reader) else {
        if !fields.has("ItemProcessor") {
            let message = "a Map state needs the field \"ItemProcessor\"";
            reader.problems.schema(fields.node.span, message);
        }
        return None;
    };
    let node = fields.take(key)?;
    let mut processor = Fields::of(node, "an item processor", &mut reader.problems)?;
    let config = match processor.take("ProcessorConfig") {
        Some(node) => processor_config(node, reader),
        None => None,
    };
    if config.is_some() && reader.dialect == Dialect::AwsExpress {
        let message = "Express state machine does not support Map state with mode DISTRIBUTED";
        reader.problems.schema(node.span, message);
    }
    let Some(execution_type) = config else {
        distributed::refuse(fields, reader);
        return reader.sub_scope(processor).map(Mode::Inline);
    };
    let distributed = distributed::read(fields, processor, execution_type, reader)?;
    Some(Mode::Distributed(Box::new(distributed)))
}

/// The type of a distributed processor's children; `None` for an inline one.
fn processor_config<'n>(
    node: &'n Node,
    reader: &mut DefinitionReader<'n>,
) -> Option<ExecutionType> {
    let problems = &mut reader.problems;
    let mut fields = Fields::of(node, "a processor configuration", problems)?;
    let modes = [("INLINE", false), ("DISTRIBUTED", true)];
    let distributed = if fields.has("Mode") {
        fields.word("Mode", &modes, problems)
    } else {
        fields.take("Mode");
        Some(false)
    };
    let types = [
        ("STANDARD", ExecutionType::Standard),
        ("EXPRESS", ExecutionType::Express),
    ];
    let execution_type = fields.word("ExecutionType", &types, problems);
    if distributed == Some(true) && !fields.has("ExecutionType") {
        problems.schema(
            node.span,
            "a distributed processor needs the field \"ExecutionType\"",
        );
    }
    fields.finish(problems);
    // Where the mode is wrong, more messages about what depends on it would not help.
    distributed
        .unwrap_or(true)
        .then(|| execution_type.unwrap_or(ExecutionType::Standard))
}
