//! Keeps an expression from making values that nothing holds.
//!
//! The crate bounds time, depth and the length of sequences, and looks at them between nodes. One node can
//! do too much: a value that shares its parts is a few bytes in memory and without end as text
//! (`$reduce([1..60], function($a){[$a, $a]}, 1)`), a text doubles itself sixty times. So where an
//! expression could do that, what it puts together or walks through is measured first, by functions of
//! ours that stand round it in its tree. Expressions that cannot are left as they are, at full speed.
//!
//! What one argument may be can depend on the one before it: how often a separator is put between texts,
//! how long a text is in which a pattern is sought. The first is noted when it has its value, the last one
//! is held against it. Calls nest, so notes are a stack: whoever takes one is the call that put it there.
//! A pattern is sought once before, against the clock, because the search itself cannot be broken off.

use std::{
    cell::RefCell,
    rc::Rc,
    time::{Duration, Instant},
};

use jsonata_core::{
    ast::{AstNode, BinaryOp, PathStep, Stage},
    evaluator::{Evaluator, EvaluatorError},
    functions::string::build_regex,
    value::{JValue, with_stack},
};

/// Largest value that is put into another or walked through, in bytes of JSON (about): some 16 times the
/// largest payload of AWS.
const BYTES_MAX: usize = 4 * 1024 * 1024;

/// How often the parts of a value may be in it at the most, for an expression to be left as it is.
const COPIES_MAX: usize = 16;

/// Longest time that all matches of a pattern may take, and the length of a text from which on it is
/// looked at: in a shorter one no pattern takes as long.
const SEARCH_MAX: Duration = Duration::from_secs(1);
const LONG_TEXT: usize = 4096;

/// Matches between two looks at the clock.
const LOOK_EVERY: usize = 64;

/// No expression can name them: a name has no space.
const MEASURE: &str = "of bounded size";
const WIDTH: &str = "of bounded width";
const FIRST: &str = "noted";
const PRODUCT: &str = "of bounded product";
const PATTERN: &str = "of bounded time";
const LAST_PATTERN: &str = "of bounded time, at last";

/// Functions of JSONata that walk through their arguments.
const WALKERS: [&str; 8] = [
    "string", "boolean", "not", "distinct", "join", "append", "merge", "replace",
];

/// Functions whose first argument is noted.
const NOTED: [&str; 5] = ["join", "replace", "match", "split", "contains"];

/// Whether the tree may use up its time by what is in it: a pattern, or a filter within another.
pub(super) fn is_heavy(tree: &mut AstNode) -> bool {
    filters(tree, 0)
}

/// Whether there is a pattern, or a filter so deep within others that the second is one of them.
fn filters(node: &mut AstNode, depth: u32) -> bool {
    with_stack(|| {
        if matches!(node, AstNode::Regex { .. }) {
            return true;
        }
        let mut heavy = false;
        if let AstNode::Path { steps } = node {
            for step in steps {
                heavy |= filters(&mut step.node, depth);
                for stage in &mut step.stages {
                    if let Stage::Filter(within) = stage {
                        heavy |= depth > 0 || filters(within, depth + 1);
                    }
                }
            }
            return heavy;
        }
        children(node, &mut |child| heavy |= filters(child, depth));
        heavy
    })
}

/// Puts the measuring functions into the tree; the answer is whether there are any.
pub(super) fn guard(tree: &mut AstNode) -> bool {
    let mut guard = Guard {
        always: copies(tree) > COPIES_MAX,
        used: false,
    };
    guard.node(tree);
    guard.used
}

/// Registers the measuring functions.
pub(super) fn register(evaluator: &mut Evaluator) -> Result<(), EvaluatorError> {
    let first = |args: &[JValue]| args.first().cloned().unwrap_or(JValue::Undefined);
    evaluator.register_fn(MEASURE, move |args: &[JValue]| {
        args.iter().try_for_each(measure)?;
        Ok(first(args))
    })?;
    evaluator.register_fn(WIDTH, move |args: &[JValue]| {
        let width = args.first().and_then(JValue::as_f64).unwrap_or(0.0);
        // Why: any number, written as bytes; an exact bound is no concern here.
        if width.abs() > 1_000_000.0 {
            return Err(too_large());
        }
        Ok(first(args))
    })?;
    let notes: Notes = Rc::default();
    let own = Rc::clone(&notes);
    evaluator.register_fn(FIRST, move |args: &[JValue]| {
        own.borrow_mut().push(first(args));
        Ok(first(args))
    })?;
    let own = Rc::clone(&notes);
    evaluator.register_fn(PRODUCT, move |args: &[JValue]| {
        let items = own.borrow_mut().pop().unwrap_or(JValue::Undefined);
        let text = items.as_str().map_or(1, |text| text.len() + 1);
        let count = items.as_array().map_or(text, Vec::len);
        let each = args.first().and_then(JValue::as_str).map_or(0, str::len);
        if count.saturating_mul(each) > BYTES_MAX {
            return Err(too_large());
        }
        Ok(first(args))
    })?;
    let own = Rc::clone(&notes);
    evaluator.register_fn(PATTERN, move |args: &[JValue]| {
        let text = own.borrow().last().cloned();
        search(text.as_ref(), args.first())?;
        Ok(first(args))
    })?;
    evaluator.register_fn(LAST_PATTERN, move |args: &[JValue]| {
        let text = notes.borrow_mut().pop();
        search(text.as_ref(), args.first())?;
        Ok(first(args))
    })
}

/// First arguments of the calls that are being evaluated, the innermost last.
type Notes = Rc<RefCell<Vec<JValue>>>;

/// Fails where all matches of the pattern in the text take longer than they may.
fn search(text: Option<&JValue>, pattern: Option<&JValue>) -> Result<(), EvaluatorError> {
    let (Some(text), Some(JValue::Regex { pattern, flags })) =
        (text.and_then(JValue::as_str), pattern)
    else {
        return Ok(());
    };
    // Why nothing where it is no pattern: the function itself says what is wrong with it.
    let Some(regex) = build_regex(pattern, flags)
        .ok()
        .filter(|_| text.len() > LONG_TEXT)
    else {
        return Ok(());
    };
    let begun = Instant::now();
    for (count, _) in regex.find_iter(text).enumerate() {
        if count % LOOK_EVERY == 0 && begun.elapsed() > SEARCH_MAX {
            let message = "the matches of a pattern take longer than they may";
            return Err(EvaluatorError::EvaluationError(message.to_owned()));
        }
    }
    Ok(())
}

fn too_large() -> EvaluatorError {
    EvaluatorError::EvaluationError("the expression makes a value that is too large".to_owned())
}

/// Fails where the value has more than the largest size, as soon as that is seen.
fn measure(value: &JValue) -> Result<(), EvaluatorError> {
    let mut left = BYTES_MAX;
    let mut open = vec![value];
    while let Some(value) = open.pop() {
        let size = match value {
            JValue::String(text) => text.len() + 2,
            JValue::Array(items) => {
                open.extend(items.iter());
                2 + items.len()
            }
            JValue::Object(fields) => {
                open.extend(fields.values());
                2 + fields.keys().map(|key| key.len() + 3).sum::<usize>()
            }
            JValue::Null
            | JValue::Bool(_)
            | JValue::Number(_)
            | JValue::Undefined
            | JValue::Lambda(_)
            | JValue::Builtin { .. }
            | JValue::Regex { .. } => 1,
        };
        left = left.checked_sub(size).ok_or_else(too_large)?;
        if open.len() > BYTES_MAX {
            return Err(too_large());
        }
    }
    Ok(())
}

/// How often a part can be in the value that the tree makes, at the most; anything where functions of the
/// expression's own may do it over and over.
fn copies(node: &mut AstNode) -> usize {
    with_stack(|| {
        let own = match &*node {
            AstNode::Lambda { .. } | AstNode::Call { .. } | AstNode::Descendant => usize::MAX,
            AstNode::Array(items) | AstNode::ArrayGroup(items) => items.len().max(1),
            AstNode::Object(pairs) | AstNode::ObjectTransform { pattern: pairs, .. } => {
                pairs.len().max(1)
            }
            AstNode::Binary {
                op: BinaryOp::Concatenate,
                ..
            } => 2,
            AstNode::Function { name, .. } if WALKERS.contains(&name.as_str()) => 2,
            AstNode::Binary { .. }
            | AstNode::Function { .. }
            | AstNode::String(_)
            | AstNode::Name(_)
            | AstNode::Number(_)
            | AstNode::Boolean(_)
            | AstNode::Null
            | AstNode::Undefined
            | AstNode::Placeholder
            | AstNode::Regex { .. }
            | AstNode::Variable(_)
            | AstNode::ParentVariable(_)
            | AstNode::Path { .. }
            | AstNode::Unary { .. }
            | AstNode::Block(_)
            | AstNode::Conditional { .. }
            | AstNode::Wildcard
            | AstNode::Parent(_)
            | AstNode::FunctionApplication(_)
            | AstNode::Sort { .. }
            | AstNode::Transform { .. } => 1,
        };
        let mut product = own;
        children(node, &mut |child| {
            product = product.saturating_mul(copies(child));
        });
        product
    })
}

struct Guard {
    /// Whether everything that is put together is measured.
    always: bool,
    used: bool,
}

impl Guard {
    fn node(&mut self, node: &mut AstNode) {
        with_stack(|| {
            children(node, &mut |child| self.node(child));
            self.around(node);
        });
    }

    /// Measures what this node puts together or walks through.
    fn around(&mut self, node: &mut AstNode) {
        if let AstNode::Function { name, args, .. } = node {
            if args.contains(&AstNode::Placeholder) {
                if NOTED.contains(&name.as_str()) {
                    return self.later(node);
                }
            } else {
                match (name.as_str(), args.as_mut_slice()) {
                    ("pad", [_, width, ..]) => self.wrap(WIDTH, width),
                    (name, [first, rest @ ..]) => self.note(name, first, rest),
                    (_, []) => {}
                }
            }
        } else if let AstNode::Binary {
            op: BinaryOp::ChainPipe,
            lhs,
            rhs,
        } = node
            && let AstNode::Function { name, args, .. } = &mut **rhs
            && !args.contains(&AstNode::Placeholder)
        {
            self.note(name, lhs, args);
        }
        if self.always {
            self.parts(node);
        }
    }

    /// Measures all that this node puts together or walks through.
    fn parts(&mut self, node: &mut AstNode) {
        match node {
            AstNode::Function { name, args, .. } if WALKERS.contains(&name.as_str()) => {
                for arg in args {
                    self.wrap(MEASURE, arg);
                }
            }
            AstNode::Binary {
                op: BinaryOp::Concatenate | BinaryOp::Equal | BinaryOp::NotEqual | BinaryOp::In,
                lhs,
                rhs,
            } => {
                self.wrap(MEASURE, lhs);
                self.wrap(MEASURE, rhs);
            }
            AstNode::Array(items) | AstNode::ArrayGroup(items) => {
                for item in items {
                    self.wrap(MEASURE, item);
                }
            }
            AstNode::Object(pairs) | AstNode::ObjectTransform { pattern: pairs, .. } => {
                for (_, value) in pairs {
                    self.wrap(MEASURE, value);
                }
            }
            AstNode::Function { .. }
            | AstNode::Binary { .. }
            | AstNode::String(_)
            | AstNode::Name(_)
            | AstNode::Number(_)
            | AstNode::Boolean(_)
            | AstNode::Null
            | AstNode::Undefined
            | AstNode::Placeholder
            | AstNode::Regex { .. }
            | AstNode::Variable(_)
            | AstNode::ParentVariable(_)
            | AstNode::Path { .. }
            | AstNode::Unary { .. }
            | AstNode::Call { .. }
            | AstNode::Lambda { .. }
            | AstNode::Block(_)
            | AstNode::Conditional { .. }
            | AstNode::Wildcard
            | AstNode::Descendant
            | AstNode::Parent(_)
            | AstNode::FunctionApplication(_)
            | AstNode::Sort { .. }
            | AstNode::Transform { .. } => {}
        }
    }

    /// Notes a call's first argument, and holds the others against it.
    fn note(&mut self, name: &str, first: &mut AstNode, rest: &mut [AstNode]) {
        match (name, rest) {
            ("join", [separator]) => self.put(PRODUCT, separator),
            // Why not a function: it is no text, and what it answers is measured by nobody else's length.
            ("replace", [pattern, by, ..]) if !matches!(by, AstNode::Lambda { .. }) => {
                self.put(PATTERN, pattern);
                self.put(PRODUCT, by);
            }
            ("replace" | "match" | "split" | "contains", [pattern, ..]) => {
                self.put(LAST_PATTERN, pattern);
            }
            _ => return,
        }
        self.put(FIRST, first);
    }

    /// A call that is made later, when what its places stand for is known, is a function of its own:
    /// `$split(?, /x/)` is `function($a){$split($a, /x/)}`.
    fn later(&mut self, node: &mut AstNode) {
        let mut call = std::mem::replace(node, AstNode::Null);
        let mut params = Vec::new();
        if let AstNode::Function { args, .. } = &mut call {
            for arg in args {
                if *arg == AstNode::Placeholder {
                    let name = format!("place {}", params.len());
                    *arg = AstNode::Variable(name.clone());
                    params.push(name);
                }
            }
        }
        self.around(&mut call);
        *node = AstNode::Lambda {
            params,
            body: Box::new(call),
            signature: None,
            thunk: false,
        };
    }

    /// Puts a function round a node, unless the node's own form matters or is small.
    fn wrap(&mut self, name: &str, node: &mut AstNode) {
        let composite = matches!(
            node,
            AstNode::Variable(_)
                | AstNode::ParentVariable(_)
                | AstNode::Name(_)
                | AstNode::Path { .. }
                | AstNode::Function { .. }
                | AstNode::Call { .. }
                | AstNode::Block(_)
                | AstNode::Conditional { .. }
                | AstNode::Binary {
                    op: BinaryOp::ChainPipe | BinaryOp::Concatenate,
                    ..
                }
        );
        if composite || name == WIDTH {
            self.put(name, node);
        }
    }

    /// Puts a function round a node.
    fn put(&mut self, name: &str, node: &mut AstNode) {
        let inner = std::mem::replace(node, AstNode::Null);
        *node = AstNode::Function {
            name: name.to_owned(),
            args: vec![inner],
            is_builtin: true,
        };
        self.used = true;
    }
}

/// Shows each child of a node.
fn children(node: &mut AstNode, show: &mut dyn FnMut(&mut AstNode)) {
    match node {
        AstNode::Path { steps } => steps_of(steps, show),
        AstNode::Binary { lhs, rhs, .. } => {
            show(lhs);
            show(rhs);
        }
        AstNode::Unary { operand, .. } => show(operand),
        AstNode::Function { args, .. } => args.iter_mut().for_each(show),
        AstNode::Call { procedure, args } => {
            show(procedure);
            args.iter_mut().for_each(show);
        }
        AstNode::Lambda { body, .. } => show(body),
        AstNode::Array(items) | AstNode::ArrayGroup(items) | AstNode::Block(items) => {
            items.iter_mut().for_each(show);
        }
        AstNode::Object(pairs) => pairs_of(pairs, show),
        AstNode::ObjectTransform { input, pattern } => {
            show(input);
            pairs_of(pattern, show);
        }
        AstNode::Conditional {
            condition,
            then_branch,
            else_branch,
        } => {
            show(condition);
            show(then_branch);
            if let Some(branch) = else_branch {
                show(branch);
            }
        }
        AstNode::FunctionApplication(inner) => show(inner),
        AstNode::Sort { input, terms } => {
            show(input);
            for (term, _) in terms {
                show(term);
            }
        }
        AstNode::Transform {
            location,
            update,
            delete,
        } => {
            show(location);
            show(update);
            if let Some(delete) = delete {
                show(delete);
            }
        }
        AstNode::String(_)
        | AstNode::Name(_)
        | AstNode::Number(_)
        | AstNode::Boolean(_)
        | AstNode::Null
        | AstNode::Undefined
        | AstNode::Placeholder
        | AstNode::Regex { .. }
        | AstNode::Variable(_)
        | AstNode::ParentVariable(_)
        | AstNode::Wildcard
        | AstNode::Descendant
        | AstNode::Parent(_) => {}
    }
}

fn steps_of(steps: &mut [PathStep], show: &mut dyn FnMut(&mut AstNode)) {
    for step in steps {
        show(&mut step.node);
        for stage in &mut step.stages {
            match stage {
                Stage::Filter(filter) => show(filter),
                Stage::KeepArray | Stage::Index(_) => {}
            }
        }
    }
}

fn pairs_of(pairs: &mut [(AstNode, AstNode)], show: &mut dyn FnMut(&mut AstNode)) {
    for (key, value) in pairs {
        show(key);
        show(value);
    }
}
