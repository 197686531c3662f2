//! Parallel: branches, each with a start of its own.

use super::{Kind, Reader, State, WORK};
use crate::asl::{
    definition::StateId,
    fields::{Fields, wrong_kind},
    text::{Json, Node},
};

/// The fields of a Parallel state.
#[derive(Debug, PartialEq)]
pub struct Parallel {
    /// Where each branch starts; at least one.
    pub branches: Box<[StateId]>,
}

pub(super) fn read<'n>(
    state: &mut State,
    fields: &mut Fields<'n>,
    reader: &mut Reader<'n>,
) -> Option<Kind> {
    fields.rename("a Parallel state");
    state.read_flow(fields, WORK, reader);
    state.read_policy(fields, reader);
    let transition = state.read_transition(fields, reader);
    let node = fields.required("Branches", &mut reader.problems)?;
    let nodes: &[Node] = if let Json::Array(nodes) = &node.json {
        nodes
    } else {
        &[]
    };
    if nodes.is_empty() {
        if matches!(node.json, Json::Array(_)) {
            // In AWS's words.
            reader.problems.schema(node.span, "Value cannot be empty");
        } else {
            wrong_kind(
                node,
                "Branches",
                "an array of branches",
                &mut reader.problems,
            );
        }
    }
    let branches: Vec<_> = nodes.iter().map(|node| branch(node, reader)).collect();
    transition?;
    Some(Kind::Parallel(Parallel {
        branches: branches.into_iter().collect::<Option<_>>()?,
    }))
}

fn branch<'n>(node: &'n Node, reader: &mut Reader<'n>) -> Option<StateId> {
    let fields = Fields::of(node, "a branch", &mut reader.problems)?;
    reader.sub_scope(fields)
}
