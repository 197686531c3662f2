//! The functions that AWS adds to JSONata, and those of JSONata that would draw or read a clock.
//!
//! Chance comes from the scope: one draw seeds the functions of one evaluation. Time is the step's.
//! `$eval` is refused, as AWS does. Only what an expression names is registered.

use std::{cell::Cell, rc::Rc};

use jsonata_core::{
    evaluator::{Context, Evaluator, EvaluatorError, EvaluatorOptions},
    parser,
    value::JValue,
};
use serde_json::Value;

use super::{
    super::{intrinsic, path::Budget, template::Scope},
    url,
    uses::Uses,
    value,
};

/// Longest array that `$range` makes: AWS's bound for the function that it stands for.
const RANGE_ITEMS_MAX: f64 = 1000.0;

/// Largest value that `$parse` may make, in bytes of JSON.
const PARSE_BYTES_MAX: u64 = 16 * 1024 * 1024;

type Outcome = Result<JValue, EvaluatorError>;

fn refuse(message: impl Into<String>) -> EvaluatorError {
    EvaluatorError::EvaluationError(message.into())
}

/// Registers what the expression names.
pub(super) fn register(
    evaluator: &mut Evaluator,
    uses: &Uses,
    scope: &mut Scope<'_>,
) -> Result<(), String> {
    let named = |name: &str| uses.functions.contains(name);
    let mut done = Ok(());
    let mut add = |result: Result<(), EvaluatorError>| {
        if let Err(error) = result {
            done = Err(error.message().to_owned());
        }
    };
    if ["random", "shuffle", "uuid"].into_iter().any(named) {
        let draws = Draws(Rc::new(Cell::new((scope.random)())));
        let own = draws.clone();
        add(evaluator.register_fn_override("random", move |args: &[JValue]| random(args, &own)));
        let own = draws.clone();
        add(evaluator
            .register_fn_override("shuffle", move |args: &[JValue]| Ok(shuffle(args, &own))));
        add(evaluator.register_fn("uuid", move |_: &[JValue]| {
            let text = intrinsic::uuid_of(draws.next(), draws.next());
            Ok(JValue::string(text))
        }));
    }
    if named("now") || named("millis") {
        #[expect(
            clippy::cast_precision_loss,
            reason = "milliseconds of our centuries have fewer than 53 bits"
        )]
        let millis = scope.now.as_millis() as f64;
        add(evaluator
            .register_fn_override("millis", move |_: &[JValue]| Ok(JValue::Number(millis))));
        add(evaluator.register_fn_override("now", move |args: &[JValue]| now(args, millis)));
    }
    if named("eval") {
        add(evaluator.register_fn_override("eval", |_: &[JValue]| {
            Err(refuse("T1006: Attempted to invoke a non-function"))
        }));
    }
    for name in url::NAMES
        .into_iter()
        .filter(|name| named(name) && !uses.bare.contains(*name))
    {
        let own = move |args: &[JValue]| url::apply(name, args);
        add(evaluator.register_fn_override(name, own));
    }
    if named("partition") {
        add(evaluator.register_fn("partition", partition));
    }
    if named("range") {
        add(evaluator.register_fn("range", range));
    }
    if named("hash") {
        add(evaluator.register_fn("hash", hash));
    }
    if named("parse") {
        add(evaluator.register_fn("parse", parse));
    }
    done
}

/// The numbers of one evaluation (splitmix64): from one draw of the step.
#[derive(Clone)]
struct Draws(Rc<Cell<u64>>);

impl Draws {
    fn next(&self) -> u64 {
        let state = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(state);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 up to and without 1, in steps of 2^-53.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit into a double")]
    fn unit(&self) -> f64 {
        (self.next() >> 11) as f64 / 9_007_199_254_740_992.0
    }
}

/// `$random([seed])`
fn random(args: &[JValue], draws: &Draws) -> Outcome {
    let Some(seed) = args.first().filter(|seed| !seed.is_undefined()) else {
        return Ok(JValue::Number(draws.unit()));
    };
    let seed = seed.as_f64().ok_or_else(|| argument(1, "random"))?;
    let seeded = Draws(Rc::new(Cell::new(seed.to_bits())));
    Ok(JValue::Number(seeded.unit()))
}

fn argument(place: usize, function: &str) -> EvaluatorError {
    refuse(format!(
        "T0410: Argument {place} of function \"{function}\" does not match function signature"
    ))
}

/// `$shuffle(array)`, by the step's chance.
fn shuffle(args: &[JValue], draws: &Draws) -> JValue {
    let Some(value) = args.first() else {
        return JValue::Undefined;
    };
    let Some(items) = value.as_array() else {
        return value.clone();
    };
    let mut items = items.clone();
    for place in (1..items.len()).rev() {
        let other = draws.next() % (u64::try_from(place).unwrap_or(0) + 1);
        items.swap(place, usize::try_from(other).unwrap_or(0));
    }
    JValue::array(items)
}

/// `$now([picture[, zone]])`: the step's instant, written as `$fromMillis` writes it.
fn now(args: &[JValue], millis: f64) -> Outcome {
    let tree =
        parser::parse("$fromMillis($m, $p, $z)").map_err(|error| refuse(error.to_string()))?;
    let mut context = Context::new();
    context.bind("m".to_owned(), JValue::Number(millis));
    for (name, value) in ["p", "z"].into_iter().zip(args) {
        context.bind(name.to_owned(), value.clone());
    }
    Evaluator::with_options(context, EvaluatorOptions::default())
        .evaluate(&tree, &JValue::Undefined)
}

/// `$partition(array, size)`
fn partition(args: &[JValue]) -> Outcome {
    let Some(value) = args.first().filter(|value| !value.is_undefined()) else {
        return Ok(JValue::Undefined);
    };
    let items = value.as_array().ok_or_else(|| argument(1, "partition"))?;
    let size = args.get(1).and_then(JValue::as_f64);
    let size = size.ok_or_else(|| argument(2, "partition"))?.round();
    if size < 1.0 {
        return Err(refuse("the size of the chunks must be positive"));
    }
    // Larger than any array is as good as any larger number.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 1 and 2^32"
    )]
    let size = size.min(f64::from(u32::MAX)) as usize;
    let chunks = items
        .chunks(size)
        .map(|chunk| JValue::array(chunk.to_vec()));
    Ok(JValue::array(chunks.collect()))
}

/// `$range(first, last, step)`, both ends included.
fn range(args: &[JValue]) -> Outcome {
    let number = |place: usize| {
        let number = args.get(place).and_then(JValue::as_f64);
        number.ok_or_else(|| argument(place + 1, "range"))
    };
    let (first, last, step) = (number(0)?, number(1)?, number(2)?);
    if step == 0.0 || !step.is_finite() || !first.is_finite() || !last.is_finite() {
        return Err(refuse("the step must not be 0"));
    }
    let steps = ((last - first) / step).floor();
    if steps < 0.0 {
        return Ok(JValue::array(Vec::new()));
    }
    if steps >= RANGE_ITEMS_MAX {
        return Err(refuse(format!(
            "the array would have more than {RANGE_ITEMS_MAX} items"
        )));
    }
    let mut items = Vec::new();
    let mut place = 0.0;
    while place <= steps {
        items.push(JValue::Number(first + place * step));
        place += 1.0;
    }
    Ok(JValue::array(items))
}

/// `$hash(value, algorithm)`
fn hash(args: &[JValue]) -> Outcome {
    let Some(value) = args.first().filter(|value| !value.is_undefined()) else {
        return Ok(JValue::Undefined);
    };
    let data = if let Some(text) = value.as_str() {
        text.to_owned()
    } else {
        let mut budget = Budget::of_bytes(PARSE_BYTES_MAX);
        let value = value::from_jsonata(value, &mut budget);
        value.map_err(|_| argument(1, "hash"))?.to_string()
    };
    let algorithm = args.get(1).and_then(JValue::as_str);
    let algorithm = algorithm.ok_or_else(|| argument(2, "hash"))?;
    let digest = intrinsic::digest(&data, algorithm).map_err(refuse)?;
    Ok(JValue::string(digest))
}

/// `$parse(text)`: JSON to its value.
fn parse(args: &[JValue]) -> Outcome {
    let Some(value) = args.first().filter(|value| !value.is_undefined()) else {
        return Ok(JValue::Undefined);
    };
    let text = value.as_str().ok_or_else(|| argument(1, "parse"))?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > PARSE_BYTES_MAX {
        return Err(refuse("the text is too long"));
    }
    let value: Value = serde_json::from_str(text)
        .map_err(|error| refuse(format!("the argument is no JSON: {error}")))?;
    Ok(value::to_jsonata(&value))
}
