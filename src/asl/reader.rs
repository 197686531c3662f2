//! From the positioned JSON to a [`Definition`]: scopes of states, their names, their transitions.
//!
//! A scope is what has a `StartAt` and `States`: the machine, an item processor. Transitions stay
//! within their scope, names are unique over all of them. The fields of each state are read in
//! `states/`. Recursion follows the nesting of the text, which `text` bounds.

use std::{
    collections::{HashMap, HashSet},
    mem,
    sync::Arc,
    time::Duration,
};

use super::{
    definition::{Definition, Dialect, QueryLanguage, Setting, StateId},
    diagnostic::{Code, DefinitionError, Problems, quote},
    fields::{Fields, wrong_kind},
    jsonata::{self, Jsonata},
    lone_state::LONE,
    path::{Path, VARIABLE_CHARS_MAX},
    states::State,
    template::{Expression, Template},
    text::{self, Json, Member, Node},
};

/// Longest name of a state, in characters.
const NAME_CHARS_MAX: usize = 80;

/// Longest time anything may take, in seconds: AWS's bound, some three years.
pub(crate) const SECONDS_MAX: u64 = 99_999_999;

/// Reads a whole definition.
pub(crate) fn read(text: &str, dialect: Dialect) -> Result<Definition, DefinitionError> {
    let mut problems = Problems::default();
    let Some(root) = text::read(text, &mut problems) else {
        return Err(problems.into_error(text, None));
    };
    if !matches!(root.json, Json::Object(_)) {
        problems.schema(root.span, "Definition must be a valid JSON object");
        return Err(problems.into_error(text, Some(&root)));
    }
    let mut reader = Reader::new(dialect, problems);
    let definition = reader.machine(&root);
    match definition {
        Some(definition) if reader.problems.is_empty() => Ok(definition),
        _ => Err(reader.problems.into_error(text, Some(&root))),
    }
}

pub(crate) struct Reader<'n> {
    pub(crate) dialect: Dialect,
    pub(crate) problems: Problems,
    /// The list of the definition under way; a state is `None` until it is read.
    states: Vec<Option<State>>,
    /// The names that a transition may lead to from here.
    scope: HashMap<&'n str, StateId>,
    /// All names of the text.
    names: HashSet<&'n str>,
    /// All labels of the text.
    pub(crate) labels: HashSet<&'n str>,
    uses_context: bool,
    /// The language of the state under way.
    pub(crate) language: QueryLanguage,
    /// The language of states that do not name theirs.
    default_language: QueryLanguage,
    /// The variables that the state under way reads.
    pub(crate) references: Vec<Arc<str>>,
    /// The variables that the scopes around the one under way assign, and those of its own.
    assigned: Vec<HashSet<&'n str>>,
    /// Where a state is read by itself: the states that it leads to, by name.
    elsewhere: Option<HashMap<Box<str>, StateId>>,
}

impl<'n> Reader<'n> {
    fn new(dialect: Dialect, problems: Problems) -> Self {
        Self {
            dialect,
            problems,
            states: Vec::new(),
            scope: HashMap::new(),
            names: HashSet::new(),
            labels: HashSet::new(),
            uses_context: false,
            language: QueryLanguage::JsonPath,
            default_language: QueryLanguage::JsonPath,
            references: Vec::new(),
            assigned: Vec::new(),
            elsewhere: None,
        }
    }

    /// For a state that is read by itself; `language` is that of what it stood in.
    pub(crate) fn of_lone_state(
        dialect: Dialect,
        problems: Problems,
        language: QueryLanguage,
    ) -> Self {
        Self {
            language,
            default_language: language,
            states: vec![None],
            elsewhere: Some(HashMap::new()),
            ..Self::new(dialect, problems)
        }
    }

    /// The definition of a state that was read by itself, and of those that it leads to.
    pub(crate) fn lone(mut self, state: State) -> Definition {
        self.states[LONE.0 as usize] = Some(state);
        Definition {
            timeout: None,
            start: LONE,
            states: self.states.into_iter().flatten().collect(),
            uses_context: self.uses_context,
        }
    }

    /// The state elsewhere that a state leads to which is read by itself, and not a state within it.
    fn elsewhere(&mut self, name: &str) -> Option<StateId> {
        if !self.assigned.is_empty() {
            return None;
        }
        let known = self.elsewhere.as_mut()?;
        let id = StateId(u32::try_from(self.states.len()).unwrap_or(u32::MAX));
        if let Some(known) = known.get(name) {
            return Some(*known);
        }
        known.insert(name.into(), id);
        self.states.push(Some(State::unknown(name)));
        Some(id)
    }

    fn machine(&mut self, root: &'n Node) -> Option<Definition> {
        let mut fields = Fields::of(root, "a state machine", &mut self.problems)?;
        let version = fields.take("Version");
        if let Some(version) = version.filter(|version| version.as_str() != Some("1.0")) {
            wrong_kind(version, "Version", "\"1.0\"", &mut self.problems);
        }
        let timeout = fields
            .integer("TimeoutSeconds", 0..=SECONDS_MAX, &mut self.problems)
            .map(Duration::from_secs);
        if let Some(language) = self.query_language(&mut fields) {
            (self.language, self.default_language) = (language, language);
        }
        let start = self.scope(&mut fields);
        fields.finish(&mut self.problems);
        self.definition(start?, timeout)
    }

    /// The definition of what was read since the list was empty.
    fn definition(&mut self, start: StateId, timeout: Option<Duration>) -> Option<Definition> {
        let states = mem::take(&mut self.states);
        Some(Definition {
            timeout,
            start,
            states: states.into_iter().collect::<Option<_>>()?,
            uses_context: mem::take(&mut self.uses_context),
        })
    }

    /// A processor whose children are executions: a definition of its own. Its configuration was
    /// read by the caller.
    pub(crate) fn sub_definition(&mut self, fields: Fields<'n>) -> Option<Arc<Definition>> {
        let outer_states = mem::take(&mut self.states);
        let outer_context = mem::take(&mut self.uses_context);
        // Its children are executions of their own, which see no variable of this one.
        let outer_assigned = mem::take(&mut self.assigned);
        let start = self.sub_scope(fields);
        self.assigned = outer_assigned;
        let definition = start.and_then(|start| self.definition(start, None));
        self.states = outer_states;
        self.uses_context = outer_context;
        definition.map(Arc::new)
    }

    /// A processor that runs within this definition.
    pub(crate) fn sub_scope(&mut self, mut fields: Fields<'n>) -> Option<StateId> {
        let outer = mem::take(&mut self.scope);
        let outer_language = (self.language, self.default_language);
        let outer_references = mem::take(&mut self.references);
        if let Some(language) = self.query_language(&mut fields) {
            self.default_language = language;
        }
        let start = self.scope(&mut fields);
        fields.finish(&mut self.problems);
        self.scope = outer;
        (self.language, self.default_language) = outer_language;
        self.references = outer_references;
        start
    }

    /// The language that an object names. Spec: where JSONata is the language of the whole, no part can
    /// go back to JSONPath.
    pub(crate) fn query_language(&mut self, fields: &mut Fields<'n>) -> Option<QueryLanguage> {
        let node = fields.take("QueryLanguage")?;
        match node.as_str() {
            Some("JSONPath") if self.default_language == QueryLanguage::Jsonata => {
                self.problems.schema(
                    fields.node.span,
                    "'QueryLanguage' can not be 'JSONPath' if set to 'JSONata' for whole state machine",
                );
                None
            }
            Some("JSONPath") => Some(QueryLanguage::JsonPath),
            Some("JSONata") => Some(QueryLanguage::Jsonata),
            _ => {
                let wanted = "\"JSONPath\" or \"JSONata\"";
                wrong_kind(node, "QueryLanguage", wanted, &mut self.problems);
                None
            }
        }
    }

    /// The language that a state names, or the whole.
    pub(crate) fn state_language(&mut self, fields: &mut Fields<'n>) {
        self.language = self.query_language(fields).unwrap_or(self.default_language);
    }

    /// Reads `StartAt` and `States`; where the result is none, the reason is reported.
    fn scope(&mut self, fields: &mut Fields<'n>) -> Option<StateId> {
        let states = fields.take("States");
        let start = fields.take("StartAt");
        let missing: Vec<_> = [("States", states), ("StartAt", start)]
            .into_iter()
            .filter_map(|(key, node)| node.is_none().then_some(key))
            .collect();
        if !missing.is_empty() {
            // In AWS's words.
            let message = format!("These fields are required: [{}]", missing.join(", "));
            self.problems.schema(fields.node.span, message);
        }
        let states = states?;
        let Json::Object(members) = &states.json else {
            wrong_kind(states, "States", "an object", &mut self.problems);
            return None;
        };
        if members.is_empty() {
            self.problems
                .schema(states.span, "there must be at least one state");
            return None;
        }
        let first = self.states.len();
        self.declare(members);
        self.assigned.push(variables_of(members));
        for (place, member) in members.iter().enumerate() {
            let state = State::read(member, self);
            self.states[first + place] = state;
        }
        self.assigned.pop();
        let start = self.target(start?, "StartAt")?;
        self.check_flow(first, members, start);
        Some(start)
    }

    /// Gives each state its place, so that transitions can be resolved while states are read.
    fn declare(&mut self, members: &'n [Member]) {
        for member in members {
            let name = &*member.key;
            // A definition of a megabyte has fewer than 2^32 states.
            let id = StateId(u32::try_from(self.states.len()).unwrap_or(u32::MAX));
            self.states.push(None);
            let twice_here = self.scope.insert(name, id).is_some();
            if !self.names.insert(name) && !twice_here {
                self.problems.schema(
                    member.key_span,
                    format!(
                        "the name {} is used twice; names are unique in the whole machine",
                        quote(name)
                    ),
                );
            }
            if name.is_empty() || name.chars().count() > NAME_CHARS_MAX {
                self.problems.schema(
                    member.key_span,
                    format!(
                        "the state's name {} must have 1 to {NAME_CHARS_MAX} characters",
                        quote(name)
                    ),
                );
            }
        }
    }

    /// Every state can be reached, and one of them ends the scope.
    fn check_flow(&mut self, first: usize, members: &[Member], start: StateId) {
        let place = |id: StateId| id.0 as usize - first;
        let mut reached = vec![false; members.len()];
        let mut queue = vec![start];
        let mut ends = false;
        while let Some(id) = queue.pop() {
            if mem::replace(&mut reached[place(id)], true) {
                continue;
            }
            let Some(state) = &self.states[id.0 as usize] else {
                // What a broken state leads to is unknown.
                return;
            };
            ends |= state.ends();
            queue.extend(state.targets());
        }
        for (member, reached) in members.iter().zip(&reached) {
            if !reached {
                self.problems.report(
                    member.key_span,
                    Code::UnreachableState,
                    format!("no transition leads to the state {}", quote(&member.key)),
                );
            }
        }
        if !ends && let Some(member) = members.first() {
            self.problems.schema(
                member.key_span,
                "no state ends: one needs \"End\": true, or to be a Succeed or Fail state",
            );
        }
    }

    /// The state that a transition names.
    pub(crate) fn target(&mut self, node: &Node, key: &str) -> Option<StateId> {
        let Some(name) = node.as_str() else {
            wrong_kind(node, key, "the name of a state", &mut self.problems);
            return None;
        };
        let known = self.scope.get(name).copied();
        let target = known.or_else(|| self.elsewhere(name));
        if target.is_none() {
            self.problems.report(
                node.span,
                Code::MissingTransitionTarget,
                format!("{key:?} leads to {}, which is no state here", quote(name)),
            );
        }
        target
    }

    /// A compiled path of a field's text.
    pub(crate) fn path(&mut self, node: &Node, key: &str) -> Option<Path> {
        let Some(text) = node.as_str() else {
            wrong_kind(node, key, "a path", &mut self.problems);
            return None;
        };
        match Path::parse(text) {
            Ok(path) => {
                self.uses_context |= path.root() == super::path::Root::Context;
                self.references.extend(path.variable().map(Into::into));
                Some(path)
            }
            Err(error) => {
                self.problems.expression(node.span, key, text, &error);
                None
            }
        }
    }

    /// A compiled path or intrinsic call of a field's text.
    pub(crate) fn expression(&mut self, node: &Node, key: &str) -> Option<Expression> {
        let Some(text) = node.as_str() else {
            let wanted = "a path or an intrinsic call";
            wrong_kind(node, key, wanted, &mut self.problems);
            return None;
        };
        match Expression::parse(text) {
            Ok(expression) => {
                self.note_expression(&expression);
                Some(expression)
            }
            Err(error) => {
                self.problems.expression(node.span, key, text, &error);
                None
            }
        }
    }

    fn note_expression(&mut self, expression: &Expression) {
        self.uses_context |= expression.uses_context();
        let mut found = Vec::new();
        expression.variables(&mut found);
        self.references.extend(found.into_iter().map(Into::into));
    }

    /// What the text of a JSONata state says: an expression, or itself.
    pub(crate) fn jsonata(&mut self, node: &Node, key: &str) -> Option<Jsonata> {
        let text = node.as_str()?;
        match Jsonata::parse(jsonata::within(text)?) {
            Ok(expression) => {
                self.uses_context |= expression.uses_context();
                let names = expression.variables().map(Into::into);
                self.references.extend(names);
                Some(expression)
            }
            Err(error) => {
                self.problems.expression(node.span, key, text, &error);
                None
            }
        }
    }

    /// Whether the state under way is one of JSONata, and the field has an expression.
    pub(crate) fn is_jsonata(&self, node: Option<&Node>) -> bool {
        let text = node.and_then(Node::as_str);
        self.language == QueryLanguage::Jsonata && text.and_then(jsonata::within).is_some()
    }

    /// `Assign`: names of variables, and what they are to be.
    pub(crate) fn assign(&mut self, fields: &mut Fields<'n>) -> Option<Template> {
        let node = fields.take("Assign")?;
        let Json::Object(members) = &node.json else {
            wrong_kind(node, "Assign", "an object", &mut self.problems);
            return None;
        };
        for member in members {
            let name = self.variable_name(&member.key);
            let outer = self.assigned.len().saturating_sub(1);
            if let Err(message) = variable(name) {
                self.problems.schema(member.key_span, message);
            } else if self.assigned[..outer]
                .iter()
                .any(|scope| scope.contains(name))
            {
                let message = format!(
                    "the variable {} of a scope around this one cannot be assigned here",
                    quote(name)
                );
                self.problems.schema(member.key_span, message);
            }
        }
        Some(self.read_template(node, "Assign"))
    }

    /// The variable that a key of `Assign` names.
    fn variable_name<'k>(&self, key: &'k str) -> &'k str {
        match self.language {
            QueryLanguage::JsonPath => key.strip_suffix(".$").unwrap_or(key),
            QueryLanguage::Jsonata => key,
        }
    }

    fn read_template(&mut self, node: &Node, key: &str) -> Template {
        let template = Template::read(node, key, self.language, &mut self.problems);
        self.uses_context |= template.uses_context();
        let mut found = Vec::new();
        template.variables(&mut found);
        self.references.extend(found.into_iter().map(Into::into));
        template
    }

    /// A path field that must be one, where it is there.
    pub(crate) fn optional_path(
        &mut self,
        fields: &mut Fields<'n>,
        key: &'static str,
    ) -> Option<Path> {
        let node = fields.take(key)?;
        self.path(node, key)
    }

    /// A payload template, where the field is there.
    pub(crate) fn template(
        &mut self,
        fields: &mut Fields<'n>,
        key: &'static str,
    ) -> Option<Template> {
        let node = fields.take(key)?;
        Some(self.read_template(node, key))
    }

    /// A number, or the path to one (`MaxConcurrency`, `MaxConcurrencyPath`): one of them at most.
    pub(crate) fn setting<T>(
        &mut self,
        fields: &mut Fields<'n>,
        keys: (&'static str, &'static str),
        read: impl FnOnce(&mut Fields<'n>, &mut Problems) -> Option<T>,
    ) -> Option<Setting<T>> {
        let plain = fields.take(keys.0);
        if self.is_jsonata(plain) {
            let expression = self.jsonata(plain?, keys.0)?;
            return Some(Setting::Jsonata(Arc::new(expression)));
        }
        let fixed = read(fields, &mut self.problems);
        if self.language == QueryLanguage::Jsonata {
            return fixed.map(Setting::Fixed);
        }
        let path = fields.take(keys.1);
        if let Some(node) = path.filter(|_| fields.has(keys.0)) {
            self.problems.schema(
                node.span,
                format!("only one of {:?} and {:?} can be given", keys.0, keys.1),
            );
        }
        match path {
            Some(node) => self.path(node, keys.1).map(Setting::Path),
            None => fixed.map(Setting::Fixed),
        }
    }

    /// A time of more than zero seconds; fractions are iterd's own.
    pub(crate) fn seconds(
        fields: &mut Fields<'n>,
        key: &'static str,
        most: u64,
        dialect: Dialect,
        problems: &mut Problems,
    ) -> Option<Duration> {
        match dialect {
            Dialect::Aws | Dialect::AwsExpress => fields
                .integer(key, 1..=most, problems)
                .map(Duration::from_secs),
            Dialect::Iterd => {
                // A microsecond is the resolution of instants.
                let most = u32::try_from(most).map_or(f64::MAX, f64::from);
                let seconds = fields.number(key, 0.000_001..=most, problems)?;
                Duration::try_from_secs_f64(seconds).ok()
            }
        }
    }
}

/// The variables that the states of a scope assign when they are left. Recorded: what a catcher of a
/// Parallel assigns, its branches may assign, too.
fn variables_of(members: &[Member]) -> HashSet<&str> {
    let mut found = HashSet::new();
    for member in members {
        let Json::Object(fields) = &member.value.json else {
            continue;
        };
        for field in fields {
            if let ("Assign", Json::Object(assigned)) = (&*field.key, &field.value.json) {
                names_of(assigned, &mut found);
            }
        }
    }
    found
}

fn names_of<'n>(assigned: &'n [Member], found: &mut HashSet<&'n str>) {
    for member in assigned {
        found.insert(member.key.strip_suffix(".$").unwrap_or(&member.key));
    }
}

/// Whether a text can name a variable. Spec: an identifier of UAX #31 of at most 80 characters; `states`
/// is the language's own.
fn variable(name: &str) -> Result<(), String> {
    let mut chars = name.chars();
    let begins = chars.next().is_some_and(|c| c == '_' || c.is_alphabetic());
    if !begins || !chars.all(|c| c == '_' || c.is_alphanumeric()) {
        return Err(format!(
            "{} is no name of a variable: letters, digits and _, and no digit first",
            quote(name)
        ));
    }
    if name.chars().count() > VARIABLE_CHARS_MAX {
        return Err(format!(
            "the name of the variable {} has more than {VARIABLE_CHARS_MAX} characters",
            quote(name)
        ));
    }
    if name == "states" {
        return Err("\"states\" is the language's own, and cannot be assigned".to_owned());
    }
    Ok(())
}
