//! One state read by itself, as it is tested: a definition of which it is the only state.
//!
//! Its own transitions may lead to any name, because the states there are somebody else's: each such
//! name becomes a Succeed state that nothing is known of. What lies within the state (the processor of
//! a Map, the branches of a Parallel) is checked as ever.

use super::{
    definition::{Definition, Dialect, QueryLanguage, StateId},
    diagnostic::{DefinitionError, Problems},
    reader::Reader,
    states::State,
    text::{self, Json, Member, Node},
};

/// What the state is called, whatever it was called where it stood. Recorded: messages, places of
/// problems and the context object of a state that is tested name it so.
pub const LONE_STATE_NAME: &str = "StateName";

impl Definition {
    /// Reads a state by itself: the text is that state, or, where a name is given, a whole machine that
    /// has a state of that name, at whatever depth; `None` where it has none.
    ///
    /// # Errors
    /// Everything that is wrong with the state, or with the machine.
    pub fn parse_state(
        text: &str,
        named: Option<&str>,
        dialect: Dialect,
    ) -> Result<Option<Self>, DefinitionError> {
        if named.is_some() {
            Self::parse(text, dialect)?;
        }
        let mut problems = Problems::default();
        let Some(root) = text::read(text, &mut problems) else {
            return Err(problems.into_error(text, None));
        };
        let (node, language) = match named {
            None => (root, QueryLanguage::JsonPath),
            Some(name) => match state_in(root, name, QueryLanguage::JsonPath) {
                Some(found) => found,
                None => return Ok(None),
            },
        };
        let member = Member {
            key: LONE_STATE_NAME.into(),
            key_span: node.span,
            value: node,
        };
        read(text, &member, language, problems, dialect).map(Some)
    }
}

fn read(
    text: &str,
    member: &Member,
    language: QueryLanguage,
    problems: Problems,
    dialect: Dialect,
) -> Result<Definition, DefinitionError> {
    let mut reader = Reader::of_lone_state(dialect, problems, language);
    let state = State::read(member, &mut reader);
    match state {
        Some(state) if reader.problems.is_empty() => Ok(reader.lone(state)),
        _ => Err(reader.problems.into_error(text, Some(&member.value))),
    }
}

/// The state of that name in a scope (a machine, a processor, a branch) or in one within, and the
/// language of states there that do not name theirs. The depth is that of the text, which is bounded.
fn state_in(scope: Node, name: &str, around: QueryLanguage) -> Option<(Node, QueryLanguage)> {
    let language = language_of(&scope).unwrap_or(around);
    let Json::Object(members) = field(scope, "States")?.json else {
        return None;
    };
    for member in members {
        if &*member.key == name {
            return Some((member.value, language));
        }
        let Json::Object(fields) = member.value.json else {
            continue;
        };
        for field in fields {
            let scopes = match (&*field.key, field.value.json) {
                ("Branches", Json::Array(branches)) => branches,
                ("ItemProcessor" | "Iterator", json @ Json::Object(_)) => vec![Node {
                    span: field.value.span,
                    json,
                }],
                _ => continue,
            };
            for scope in scopes {
                if let Some(found) = state_in(scope, name, language) {
                    return Some(found);
                }
            }
        }
    }
    None
}

fn field(node: Node, key: &str) -> Option<Node> {
    let Json::Object(members) = node.json else {
        return None;
    };
    let found = members.into_iter().find(|member| &*member.key == key)?;
    Some(found.value)
}

fn language_of(scope: &Node) -> Option<QueryLanguage> {
    let Json::Object(members) = &scope.json else {
        return None;
    };
    let found = members
        .iter()
        .find(|member| &*member.key == "QueryLanguage")?;
    match found.value.as_str() {
        Some("JSONata") => Some(QueryLanguage::Jsonata),
        Some("JSONPath") => Some(QueryLanguage::JsonPath),
        _ => None,
    }
}

/// The only state of a definition that was read so.
pub(super) const LONE: StateId = StateId(0);

#[cfg(test)]
mod tests {
    use super::*;

    fn lone(text: &str, named: Option<&str>) -> Definition {
        Definition::parse_state(text, named, Dialect::Aws)
            .unwrap()
            .unwrap()
    }

    #[test]
    fn a_state_by_itself_leads_to_states_that_are_not_there() {
        let text = r#"{"Type": "Task", "Resource": "arn:aws:states:::http:invoke", "Next": "There",
            "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Elsewhere"}]}"#;
        let definition = lone(text, None);
        let state = definition.state(definition.start());
        assert_eq!(&*state.name, LONE_STATE_NAME);
        let next = state.next.map(|next| &*definition.state(next).name);
        assert_eq!(next, Some("There"));
        assert_eq!(
            &*definition.state(state.catch[0].next).name,
            "Elsewhere",
            "a catcher's, too"
        );
    }

    #[test]
    fn what_lies_within_a_state_is_checked_as_ever() {
        let text = r#"{"Type": "Parallel", "End": true, "Branches": [
            {"StartAt": "A", "States": {"A": {"Type": "Pass", "Next": "B"}}}]}"#;
        let error = Definition::parse_state(text, None, Dialect::Aws).unwrap_err();
        assert_eq!(
            error.diagnostics[0].pointer, "/Branches/0/States/A/Next",
            "{error}"
        );
    }

    #[test]
    fn a_state_is_found_at_any_depth_and_keeps_the_language_around_it() {
        let text = r#"{"StartAt": "M", "QueryLanguage": "JSONata", "States": {"M": {"Type": "Map", "End": true,
            "ItemProcessor": {"StartAt": "P", "States": {"P": {"Type": "Parallel", "End": true, "Branches": [
                {"StartAt": "A", "States": {"A": {"Type": "Pass", "End": true}}}]}}}}}}"#;
        let definition = lone(text, Some("A"));
        let state = definition.state(definition.start());
        assert_eq!(state.language, QueryLanguage::Jsonata);
        assert_eq!(state.kind.name(), "Pass");
        let nobody = Definition::parse_state(text, Some("B"), Dialect::Aws).unwrap();
        assert!(nobody.is_none());
    }

    #[test]
    fn a_machine_that_is_none_has_no_states_to_test() {
        let text = r#"{"StartAt": "B", "States": {"A": {"Type": "Pass", "End": true}}}"#;
        assert!(Definition::parse_state(text, Some("A"), Dialect::Aws).is_err());
        assert!(Definition::parse_state("{}", None, Dialect::Aws).is_err());
        assert!(Definition::parse_state("[", None, Dialect::Aws).is_err());
    }
}
