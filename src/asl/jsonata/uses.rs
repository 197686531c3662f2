//! What an expression looks at: found once, so that nothing else is converted or registered for it.

use std::collections::{BTreeMap, BTreeSet};

/// JSONata's own functions and those that AWS adds, which are handed on by name as variables are.
pub(super) const FUNCTIONS: &[&str] = &[
    "abs",
    "append",
    "assert",
    "average",
    "base64decode",
    "base64encode",
    "boolean",
    "ceil",
    "contains",
    "count",
    "decodeUrl",
    "decodeUrlComponent",
    "distinct",
    "each",
    "encodeUrl",
    "encodeUrlComponent",
    "error",
    "eval",
    "exists",
    "filter",
    "floor",
    "formatBase",
    "formatInteger",
    "formatNumber",
    "fromMillis",
    "hash",
    "join",
    "keys",
    "length",
    "lookup",
    "lowercase",
    "map",
    "match",
    "max",
    "merge",
    "millis",
    "min",
    "not",
    "now",
    "number",
    "pad",
    "parse",
    "parseInteger",
    "partition",
    "power",
    "random",
    "range",
    "reduce",
    "replace",
    "reverse",
    "round",
    "shuffle",
    "sift",
    "single",
    "sort",
    "split",
    "spread",
    "sqrt",
    "string",
    "substring",
    "substringAfter",
    "substringBefore",
    "sum",
    "toMillis",
    "trim",
    "type",
    "uppercase",
    "uuid",
    "zip",
];

use jsonata_core::{
    ast::{AstNode, PathStep, Stage},
    value::with_stack,
};

/// What an expression looks at.
#[derive(Debug, Default, Clone)]
pub(super) struct Uses {
    /// `$states.input`
    pub(super) input: Wanted,
    /// `$states.result`
    pub(super) result: Wanted,
    /// `$states.errorOutput`
    pub(super) error: Wanted,
    /// `$states.context`
    pub(super) context: Wanted,
    /// `$states` as such; its parts may all be absent.
    named: bool,
    /// Variables that the expression does not bind itself; functions are among them by name.
    pub(super) variables: Box<[Box<str>]>,
    /// Functions, by the name they are called or handed on by.
    pub(super) functions: BTreeSet<Box<str>>,
    /// Those of them that are called without arguments, and may take the context instead: something
    /// that a function of ours is not told.
    pub(super) bare: BTreeSet<Box<str>>,
}

/// What of a value is looked at.
#[derive(Debug, Default, Clone)]
pub(super) enum Wanted {
    /// Nothing.
    #[default]
    Nothing,
    /// These fields, where it is an object; else all of it.
    Fields(BTreeMap<Box<str>, Wanted>),
    /// All of it.
    Whole,
}

impl Wanted {
    /// Whether anything is looked at.
    pub(super) const fn is_something(&self) -> bool {
        !matches!(self, Self::Nothing)
    }

    /// What the names lead to is wanted, too.
    fn want<'n>(&mut self, mut names: impl Iterator<Item = &'n str>) {
        match (names.next(), &mut *self) {
            (_, Self::Whole) => {}
            (None, _) => *self = Self::Whole,
            (Some(name), Self::Fields(fields)) => {
                fields.entry(name.into()).or_default().want(names);
            }
            (Some(name), Self::Nothing) => {
                let mut field = Self::Nothing;
                field.want(names);
                *self = Self::Fields(BTreeMap::from([(name.into(), field)]));
            }
        }
    }
}

impl Uses {
    pub(super) fn of(tree: &AstNode) -> Self {
        let mut walk = Walk::default();
        walk.node(tree);
        if walk.parents {
            // What a path came through can be asked for from its end.
            walk.widen();
        }
        let mut uses = walk.uses;
        let free = walk.read.difference(&walk.bound);
        uses.variables = free
            .filter(|name| !matches!(&***name, "" | "$" | "states"))
            .map(|name| name.as_str().into())
            .collect();
        uses
    }

    /// Whether `$states` is needed at all.
    pub(super) const fn states(&self) -> bool {
        self.named
    }
}

#[derive(Default)]
struct Walk {
    uses: Uses,
    read: BTreeSet<String>,
    bound: BTreeSet<String>,
    /// Whether `%` occurs.
    parents: bool,
}

impl Walk {
    fn all<'n>(&mut self, nodes: impl IntoIterator<Item = &'n AstNode>) {
        for node in nodes {
            self.node(node);
        }
    }

    fn pairs(&mut self, pairs: &[(AstNode, AstNode)]) {
        for (key, value) in pairs {
            self.node(key);
            self.node(value);
        }
    }

    fn node(&mut self, node: &AstNode) {
        // A tree nests as deep as its text; the crate's own walkers do the same.
        with_stack(|| self.look(node));
    }

    fn look(&mut self, node: &AstNode) {
        match node {
            AstNode::Variable(name) => {
                if name == "states" {
                    self.whole();
                }
                self.read.insert(name.clone());
                self.uses.functions.insert(name.as_str().into());
            }
            AstNode::Path { steps } => self.path(steps),
            AstNode::Binary { lhs, rhs, op } => {
                use jsonata_core::ast::BinaryOp;
                if let (BinaryOp::ColonEqual, AstNode::Variable(name)) = (op, &**lhs) {
                    self.bound.insert(name.clone());
                } else {
                    self.node(lhs);
                }
                self.node(rhs);
            }
            AstNode::Unary { operand, .. } => self.node(operand),
            AstNode::Function { name, args, .. } => {
                self.uses.functions.insert(name.as_str().into());
                if args.is_empty() {
                    self.uses.bare.insert(name.as_str().into());
                }
                self.all(args);
            }
            AstNode::Call { procedure, args } => {
                self.node(procedure);
                self.all(args);
            }
            AstNode::Lambda { params, body, .. } => {
                self.bound.extend(params.iter().cloned());
                self.node(body);
            }
            AstNode::Array(items) | AstNode::ArrayGroup(items) | AstNode::Block(items) => {
                self.all(items);
            }
            AstNode::Object(pairs) => self.pairs(pairs),
            AstNode::ObjectTransform { input, pattern } => {
                self.node(input);
                self.pairs(pattern);
            }
            AstNode::Conditional {
                condition,
                then_branch,
                else_branch,
            } => {
                self.node(condition);
                self.node(then_branch);
                self.all(else_branch.as_deref());
            }
            AstNode::FunctionApplication(inner) => self.node(inner),
            AstNode::Sort { input, terms } => {
                self.node(input);
                self.all(terms.iter().map(|(term, _)| term));
            }
            AstNode::Transform {
                location,
                update,
                delete,
            } => {
                self.node(location);
                self.node(update);
                self.all(delete.as_deref());
            }
            AstNode::String(_)
            | AstNode::Name(_)
            | AstNode::Number(_)
            | AstNode::Boolean(_)
            | AstNode::Null
            | AstNode::Undefined
            | AstNode::Placeholder
            | AstNode::Regex { .. }
            | AstNode::ParentVariable(_)
            | AstNode::Wildcard
            | AstNode::Descendant => {}
            AstNode::Parent(_) => self.parents = true,
        }
    }

    /// `$states.input.a` looks at the input alone.
    fn path(&mut self, steps: &[PathStep]) {
        let mut rest = steps;
        if let [first, second, ..] = steps
            && let (AstNode::Variable(variable), AstNode::Name(part)) = (&first.node, &second.node)
            && variable == "states"
            && first.stages.is_empty()
        {
            self.uses.named = true;
            let wanted = match part.as_str() {
                "input" => Some(&mut self.uses.input),
                "result" => Some(&mut self.uses.result),
                "errorOutput" => Some(&mut self.uses.error),
                "context" => Some(&mut self.uses.context),
                _ => None,
            };
            if let Some(wanted) = wanted {
                wanted.want(plain_names(&steps[1..]));
            }
            rest = &steps[1..];
        }
        for step in rest {
            self.node(&step.node);
            for stage in &step.stages {
                match stage {
                    Stage::Filter(filter) => self.node(filter),
                    Stage::Index(name) => {
                        self.bound.insert(name.clone());
                    }
                    Stage::KeepArray => {}
                }
            }
            self.bound.extend(step.focus.clone());
            self.bound.extend(step.index_var.clone());
        }
    }

    fn whole(&mut self) {
        let uses = &mut self.uses;
        uses.named = true;
        for wanted in [
            &mut uses.input,
            &mut uses.result,
            &mut uses.error,
            &mut uses.context,
        ] {
            *wanted = Wanted::Whole;
        }
    }

    /// Wants the whole of what it wants a part of.
    fn widen(&mut self) {
        let uses = &mut self.uses;
        for wanted in [
            &mut uses.input,
            &mut uses.result,
            &mut uses.error,
            &mut uses.context,
        ] {
            if wanted.is_something() {
                *wanted = Wanted::Whole;
            }
        }
    }
}

/// The names behind the first step, as long as they only lead deeper: a step that filters, binds or
/// sorts looks at all of what it stands on.
fn plain_names(steps: &[PathStep]) -> impl Iterator<Item = &str> {
    let is_plain = |step: &PathStep| {
        step.stages.is_empty() && step.focus.is_none() && step.index_var.is_none()
    };
    steps.windows(2).map_while(move |pair| {
        let AstNode::Name(name) = &pair[1].node else {
            return None;
        };
        is_plain(&pair[0]).then_some(name.as_str())
    })
}
