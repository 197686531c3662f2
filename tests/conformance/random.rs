//! Definitions by chance: whatever they are, they are refused with diagnostics or run to an end, and it makes
//! no difference how often an execution is stored and read back.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::world::{Answer, World};

/// Choices that a definition is made of; where they run out, the first of each kind is taken.
struct Choices {
    left: std::vec::IntoIter<u16>,
    names: usize,
    depth: usize,
}

impl Choices {
    fn one<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[usize::from(self.left.next().unwrap_or(0)) % of.len()]
    }

    fn number(&mut self, below: usize) -> usize {
        usize::from(self.left.next().unwrap_or(0)) % below
    }

    /// A path of JSONPath, now and then a wrong one.
    fn path(&mut self) -> &'static str {
        self.one(&[
            "$",
            "$.a",
            "$.l",
            "$.l[0]",
            "$.none",
            "$x",
            "$y",
            "$x.k",
            "$$.State.Name",
            "$$.Map.Item.Value",
            "$..a",
            "$.l[?(@ > 1)]",
            "$[",
            "$$.Execution.Input",
        ])
    }

    /// A text of a JSONata state, now and then a wrong one.
    fn expression(&mut self) -> &'static str {
        self.one(&[
            "{% $states.input %}",
            "{% $states.input.a %}",
            "{% 1 + 1 %}",
            "{% $x %}",
            "{% $y & 'z' %}",
            "{% $states.result %}",
            "{% $states.context.Map.Item.Value %}",
            "{% [1, 2, 3] %}",
            "{% $states.input.l %}",
            "{% {'k': $x} %}",
            "{% true %}",
            "{% $none %}",
            "{% 1 / 0 %}",
            "{% ( %}",
            "plain",
            "{% $count($states.input) > 1 %}",
            "{% $random() < 2 %}",
        ])
    }

    fn template(&mut self, jsonata: bool) -> Value {
        if jsonata {
            return match self.number(3) {
                0 => json!(self.expression()),
                1 => json!({ "a": self.expression(), "l": [self.expression(), 2] }),
                _ => json!({ "l": [1, 2], "k": null }),
            };
        }
        match self.number(3) {
            0 => json!({ "a.$": self.path(), "l": [1, 2] }),
            1 => json!({ "a.$": "States.Format('{}', $)", "l.$": self.path() }),
            _ => json!({ "l": [1, 2], "k": null }),
        }
    }

    fn name(&mut self) -> String {
        self.names += 1;
        format!("S{}", self.names)
    }

    /// A scope of one to four states, each leading only to later ones.
    fn scope(&mut self) -> Map<String, Value> {
        let names: Vec<_> = (0..=self.number(4)).map(|_| self.name()).collect();
        let mut states = Map::new();
        for (place, name) in names.iter().enumerate() {
            let state = self.state(names.get(place + 1));
            states.insert(name.clone(), state);
        }
        let mut scope = Map::new();
        scope.insert("StartAt".into(), names[0].as_str().into());
        scope.insert("States".into(), states.into());
        scope
    }

    fn state(&mut self, next: Option<&String>) -> Value {
        let jsonata = self.number(2) == 0;
        let mut state = Map::new();
        if jsonata {
            state.insert("QueryLanguage".into(), "JSONata".into());
        }
        let deep = self.depth >= 2;
        let kinds: &[&str] = &[
            "Pass", "Task", "Choice", "Wait", "Succeed", "Fail", "Parallel", "Map",
        ];
        let kind = self.one(if deep { &kinds[..6] } else { kinds });
        let kind = if kind == "Choice" && next.is_none() {
            "Pass"
        } else {
            kind
        };
        state.insert("Type".into(), kind.into());
        self.data(&mut state, kind, jsonata);
        self.work(&mut state, kind, jsonata, next);
        if !matches!(kind, "Succeed" | "Fail" | "Choice") {
            match next {
                Some(next) => state.insert("Next".into(), next.as_str().into()),
                None => state.insert("End".into(), true.into()),
            };
        }
        state.into()
    }

    /// The fields of the data flow.
    fn data(&mut self, state: &mut Map<String, Value>, kind: &str, jsonata: bool) {
        if kind != "Fail" && self.number(2) == 0 {
            if jsonata {
                let output = self.template(true);
                state.insert("Output".into(), output);
            } else {
                state.insert("OutputPath".into(), self.path().into());
            }
        }
        if !matches!(kind, "Fail" | "Succeed") && self.number(3) == 0 {
            let name = self.one(&["x", "y"]);
            let assigned = if jsonata {
                json!({ name: self.expression() })
            } else {
                json!({ format!("{name}.$"): self.path() })
            };
            state.insert("Assign".into(), assigned);
        }
    }

    /// What only this type has.
    fn work(
        &mut self,
        state: &mut Map<String, Value>,
        kind: &str,
        jsonata: bool,
        next: Option<&String>,
    ) {
        match kind {
            "Pass" if !jsonata => {
                let parameters = self.template(false);
                state.insert("Parameters".into(), parameters);
            }
            "Task" => {
                let resource = self.one(&[
                    "arn:aws:states:::lambda:invoke",
                    "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
                ]);
                state.insert("Resource".into(), resource.into());
                let key = if jsonata { "Arguments" } else { "Parameters" };
                let template = self.template(jsonata);
                state.insert(key.into(), template);
            }
            "Wait" => {
                let seconds = if jsonata && self.number(2) == 0 {
                    json!(self.expression())
                } else {
                    json!(1)
                };
                state.insert("Seconds".into(), seconds);
            }
            "Choice" => {
                let next = next.map_or("", String::as_str);
                let rule = if jsonata {
                    json!({ "Condition": self.expression(), "Next": next })
                } else {
                    json!({ "Variable": self.path(), "IsPresent": true, "Next": next })
                };
                state.insert("Choices".into(), json!([rule]));
                if self.number(2) == 0 {
                    state.insert("Default".into(), next.into());
                }
            }
            "Parallel" => {
                self.depth += 1;
                let branches: Vec<_> = (0..=self.number(3)).map(|_| self.scope().into()).collect();
                self.depth -= 1;
                state.insert("Branches".into(), Value::Array(branches));
            }
            "Map" => {
                self.depth += 1;
                state.insert("ItemProcessor".into(), self.scope().into());
                self.depth -= 1;
                if jsonata {
                    state.insert("Items".into(), self.expression().into());
                } else {
                    state.insert("ItemsPath".into(), self.path().into());
                }
                state.insert("MaxConcurrency".into(), self.number(3).into());
            }
            _ => {}
        }
        if matches!(kind, "Task" | "Parallel" | "Map") {
            if self.number(2) == 0 {
                state.insert(
                    "Retry".into(),
                    json!([{ "ErrorEquals": ["States.ALL"], "MaxAttempts": 1 }]),
                );
            }
            if let Some(next) = next
                && self.number(2) == 0
            {
                state.insert(
                    "Catch".into(),
                    json!([{ "ErrorEquals": ["States.ALL"], "Next": next }]),
                );
            }
        }
    }
}

/// What a run ended with, and its events; the diagnostics of a definition that is refused.
fn run(definition: &str, answers: &[Answer], stored: bool) -> Result<(String, Vec<String>), usize> {
    let input = json!({ "a": 1, "l": [1, 2, 3] });
    let mut world =
        World::new(definition, input, stored).map_err(|error| error.diagnostics.len())?;
    let end = world.run(answers.iter().cycle());
    Ok((format!("{end:?}"), world.events()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_definition_is_refused_or_runs_to_an_end_however_often_it_is_stored(
        left in proptest::collection::vec(any::<u16>(), 0..120),
        fails in proptest::collection::vec(any::<bool>(), 1..4),
    ) {
        let mut choices = Choices { left: left.into_iter(), names: 0, depth: 0 };
        let definition = Value::Object(choices.scope()).to_string();
        let answers: Vec<_> = fails
            .into_iter()
            .map(|fails| if fails { Answer::failing() } else { Answer::giving(json!({"a": 2, "l": [4]})) })
            .collect();
        match run(&definition, &answers, false) {
            Err(diagnostics) => prop_assert!(diagnostics > 0),
            Ok(through) => {
                prop_assert!(through.0 != "None", "no end: {definition}");
                let stored = run(&definition, &answers, true);
                prop_assert_eq!(stored, Ok(through), "{}", definition);
            }
        }
    }
}

#[test]
fn many_of_the_definitions_by_chance_are_accepted_and_many_are_refused() {
    let mut state = 1_u64;
    let (mut accepted, mut succeeded) = (0, 0);
    for _ in 0..300 {
        let left: Vec<_> = (0..60)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                u16::try_from(state >> 48).unwrap_or_default()
            })
            .collect();
        let mut choices = Choices {
            left: left.into_iter(),
            names: 0,
            depth: 0,
        };
        let definition = Value::Object(choices.scope()).to_string();
        if let Ok((end, _)) = run(&definition, &[Answer::giving(json!({"a": 2}))], false) {
            accepted += 1;
            succeeded += usize::from(end.starts_with("Some(Ok"));
        }
    }
    assert!(
        (60..290).contains(&accepted),
        "{accepted} of 300 are accepted"
    );
    assert!(succeeded >= 20, "{succeeded} of 300 succeed");
}
