//! Amazon resource names of what the Step Functions API speaks of: state machines, executions, Map
//! Runs, activities.
//!
//! Owns how such a name is written and read back. It knows nothing of what exists: a name that is well
//! formed may lead nowhere. Spec: `arn:PARTITION:states:REGION:ACCOUNT:KIND:REST`, REST by kind:
//!
//! | kind | rest |
//! |---|---|
//! | `stateMachine` | `NAME`, `NAME:VERSION`, `NAME:ALIAS`, `NAME/LABEL` |
//! | `execution` | `NAME:EXECUTION`, `NAME/LABEL:EXECUTION` |
//! | `express` | `NAME:EXECUTION:UUID`, `NAME/LABEL:EXECUTION:UUID` |
//! | `mapRun` | `NAME/LABEL:RUN` |
//! | `activity` | `NAME` |

use std::{fmt, str::FromStr};

/// The longest text that is looked at; AWS takes 2,000 characters for the longest kind.
pub const ARN_BYTES_MAX: usize = 8000;

/// Where names lie: what stands in all of them between the service and the kind.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    /// The region.
    pub region: String,
    /// The account: twelve digits.
    pub account: String,
}

/// A name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Arn {
    /// Where.
    pub place: Place,
    /// What.
    pub resource: Resource,
}

/// What a name speaks of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Resource {
    /// A state machine, one of its versions or aliases, or one of its labelled parts.
    Machine(MachineRef),
    /// An execution of a standard machine, or a child of a Map Run.
    Execution {
        /// Of which machine, or of which labelled part of it.
        machine: Part,
        /// Its name.
        name: String,
    },
    /// An execution of an express machine.
    Express {
        /// Of which machine, or of which labelled part of it.
        machine: Part,
        /// Its name.
        name: String,
        /// Tells it from others of that name.
        id: String,
    },
    /// A Map Run.
    MapRun {
        /// Of which labelled part of which machine.
        machine: Part,
        /// Its own name.
        run: String,
    },
    /// An activity.
    Activity {
        /// Its name.
        name: String,
    },
}

/// A machine, or the processor of one of its distributed Maps.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Part {
    /// The machine's name.
    pub name: String,
    /// The label of the Map.
    pub label: Option<String>,
}

/// A machine as a caller named it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MachineRef {
    /// The machine, or its labelled part.
    pub part: Part,
    /// Which of its definitions; `None`: the one of now.
    pub qualifier: Option<Qualifier>,
}

/// Which of a machine's definitions is meant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Qualifier {
    /// A published version.
    Version(u32),
    /// The one that an alias leads to.
    Alias(String),
}

/// Why a text is no name that we know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArnError {
    /// It does not begin as a name does.
    #[error("Invalid ARN prefix: {0}")]
    Prefix(String),
    /// It is a name of another service, or lacks a part.
    #[error("Invalid ARN: {0}")]
    Form(String),
    /// Step Functions has no such kind.
    #[error("Invalid resource type: {0}")]
    Kind(String),
}

/// A text as an error quotes it: at most so many characters of it.
const QUOTED_CHARS_MAX: usize = 2000;

/// What no name of a machine, an activity or an execution may have in it beside white space and control
/// characters. Spec: `Name` in the model.
pub const FORBIDDEN_IN_NAMES: &str = "<>{}[]?*\"#%\\^|~`$&,;:/";

/// Whether a new machine, activity or execution may be called so, whatever its length.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let is_forbidden = |c: char| {
        let control = matches!(c, '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}');
        // Spec: "surrogates (U+D800-DFFF)", which is how AWS sees everything beyond U+FFFF.
        control || c > '\u{ffff}' || c.is_whitespace() || FORBIDDEN_IN_NAMES.contains(c)
    };
    !name.chars().any(is_forbidden)
}

impl Place {
    /// The partition that the region lies in.
    fn partition(&self) -> &'static str {
        if self.region.starts_with("cn-") {
            "aws-cn"
        } else if self.region.starts_with("us-gov-") {
            "aws-us-gov"
        } else {
            "aws"
        }
    }

    /// The name of something that lies here.
    #[must_use]
    pub fn arn(&self, resource: Resource) -> Arn {
        Arn {
            place: self.clone(),
            resource,
        }
    }

    /// A machine's name, as text.
    #[must_use]
    pub fn machine(&self, name: &str) -> String {
        self.qualified(name, None)
    }

    /// The name of a machine's version, as text.
    #[must_use]
    pub fn version(&self, machine: &str, version: u32) -> String {
        self.qualified(machine, Some(Qualifier::Version(version)))
    }

    /// The name of a machine's alias, as text.
    #[must_use]
    pub fn alias(&self, machine: &str, alias: &str) -> String {
        self.qualified(machine, Some(Qualifier::Alias(alias.to_owned())))
    }

    fn qualified(&self, name: &str, qualifier: Option<Qualifier>) -> String {
        let part = Part::whole(name);
        let machine = MachineRef { part, qualifier };
        self.arn(Resource::Machine(machine)).to_string()
    }

    /// The name of a standard execution, as text.
    #[must_use]
    pub fn execution(&self, machine: &str, name: &str) -> String {
        let resource = Resource::Execution {
            machine: Part::whole(machine),
            name: name.to_owned(),
        };
        self.arn(resource).to_string()
    }

    /// The name of an express execution, as text.
    #[must_use]
    pub fn express(&self, machine: &str, name: &str, id: &str) -> String {
        let resource = Resource::Express {
            machine: Part::whole(machine),
            name: name.to_owned(),
            id: id.to_owned(),
        };
        self.arn(resource).to_string()
    }

    /// The name of a Map Run, as text.
    #[must_use]
    pub fn map_run(&self, machine: &str, label: &str, run: &str) -> String {
        let resource = Resource::MapRun {
            machine: Part::labelled(machine, label),
            run: run.to_owned(),
        };
        self.arn(resource).to_string()
    }

    /// The name of a Map Run's child, as text.
    #[must_use]
    pub fn child(&self, machine: &str, label: &str, name: &str) -> String {
        let resource = Resource::Execution {
            machine: Part::labelled(machine, label),
            name: name.to_owned(),
        };
        self.arn(resource).to_string()
    }

    /// An activity's name, as text.
    #[must_use]
    pub fn activity(&self, name: &str) -> String {
        let name = name.to_owned();
        self.arn(Resource::Activity { name }).to_string()
    }
}

impl Part {
    /// All of a machine.
    #[must_use]
    pub fn whole(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            label: None,
        }
    }

    /// The processor of the distributed Map with that label.
    #[must_use]
    pub fn labelled(name: &str, label: &str) -> Self {
        Self {
            name: name.to_owned(),
            label: Some(label.to_owned()),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let (name, label) = match text.split_once('/') {
            Some((name, label)) => (name, Some(label)),
            None => (text, None),
        };
        let filled = !name.is_empty() && label.is_none_or(|label| !label.is_empty());
        filled.then(|| Self {
            name: name.to_owned(),
            label: label.map(str::to_owned),
        })
    }
}

impl Qualifier {
    /// A whole number from 1 is a version, anything else an alias: an alias cannot be all digits.
    fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return None;
        }
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            let number = text.parse().ok().filter(|_| !text.starts_with('0'));
            return number.map(Self::Version);
        }
        Some(Self::Alias(text.to_owned()))
    }
}

impl Resource {
    /// The kind, as it is written.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Machine(_) => "stateMachine",
            Self::Execution { .. } => "execution",
            Self::Express { .. } => "express",
            Self::MapRun { .. } => "mapRun",
            Self::Activity { .. } => "activity",
        }
    }

    /// From the kind and what follows it; `None` where a part is missing or there is one too many.
    fn parse(kind: &str, rest: &str) -> Option<Self> {
        let parts: Vec<&str> = rest.split(':').collect();
        if parts.iter().any(|part| part.is_empty()) {
            return None;
        }
        let owned = |text: &str| text.to_owned();
        Some(match (kind, parts.as_slice()) {
            ("stateMachine", [part]) => Self::Machine(MachineRef {
                part: Part::parse(part)?,
                qualifier: None,
            }),
            ("stateMachine", [part, qualifier]) => Self::Machine(MachineRef {
                part: Part::parse(part)?,
                qualifier: Some(Qualifier::parse(qualifier)?),
            }),
            ("execution", [machine, name]) => Self::Execution {
                machine: Part::parse(machine)?,
                name: owned(name),
            },
            ("express", [machine, name, id]) => Self::Express {
                machine: Part::parse(machine)?,
                name: owned(name),
                id: owned(id),
            },
            ("mapRun", [machine, run]) => Self::MapRun {
                machine: Part::parse(machine).filter(|part| part.label.is_some())?,
                run: owned(run),
            },
            ("activity", [name]) => Self::Activity { name: owned(name) },
            _ => return None,
        })
    }
}

const KINDS: [&str; 5] = ["stateMachine", "execution", "express", "mapRun", "activity"];

impl FromStr for Arn {
    type Err = ArnError;

    fn from_str(text: &str) -> Result<Self, ArnError> {
        let quoted = || text.chars().take(QUOTED_CHARS_MAX).collect::<String>();
        if text.len() > ARN_BYTES_MAX {
            return Err(ArnError::Form(quoted()));
        }
        let mut parts = text.splitn(7, ':');
        let mut next = || parts.next().unwrap_or("");
        let (arn, partition) = (next(), next());
        if arn != "arn" || !(partition == "aws" || partition.starts_with("aws-")) {
            return Err(ArnError::Prefix(quoted()));
        }
        let (service, region, account, kind, rest) = (next(), next(), next(), next(), next());
        let placed = service == "states" && !region.is_empty() && !account.is_empty();
        if !placed || kind.is_empty() {
            return Err(ArnError::Form(quoted()));
        }
        if !KINDS.contains(&kind) {
            return Err(ArnError::Kind(
                kind.chars().take(QUOTED_CHARS_MAX).collect(),
            ));
        }
        let resource = Resource::parse(kind, rest).ok_or_else(|| ArnError::Form(quoted()))?;
        let place = Place {
            region: region.to_owned(),
            account: account.to_owned(),
        };
        Ok(Self { place, resource })
    }
}

impl fmt::Display for Arn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { region, account } = &self.place;
        let (partition, kind) = (self.place.partition(), self.resource.kind());
        write!(f, "arn:{partition}:states:{region}:{account}:{kind}:")?;
        match &self.resource {
            Resource::Machine(machine) => machine.fmt(f),
            Resource::Execution { machine, name } => write!(f, "{machine}:{name}"),
            Resource::Express { machine, name, id } => write!(f, "{machine}:{name}:{id}"),
            Resource::MapRun { machine, run } => write!(f, "{machine}:{run}"),
            Resource::Activity { name } => f.write_str(name),
        }
    }
}

impl fmt::Display for MachineRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.qualifier {
            None => self.part.fmt(f),
            Some(Qualifier::Version(version)) => write!(f, "{}:{version}", self.part),
            Some(Qualifier::Alias(alias)) => write!(f, "{}:{alias}", self.part),
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match &self.label {
            Some(label) => write!(f, "/{label}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        Place {
            region: "us-east-1".to_owned(),
            account: "000000000000".to_owned(),
        }
    }

    const HERE: &str = "arn:aws:states:us-east-1:000000000000:";

    #[test]
    fn every_kind_is_written_as_it_was_read() {
        for rest in [
            "stateMachine:pay.day",
            "stateMachine:pay:12",
            "stateMachine:pay:live",
            "stateMachine:pay/each",
            "execution:pay:0f9c",
            "execution:pay/each:0f9c",
            "express:pay:run:0f9c",
            "express:pay/each:run:0f9c",
            "mapRun:pay/each:0f9c",
            "activity:ask",
        ] {
            let text = format!("{HERE}{rest}");
            let arn: Arn = text.parse().unwrap();
            assert_eq!(arn.place, place());
            assert_eq!(arn.to_string(), text);
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_read_is_written_as_it_was(rest in "(stateMachine|execution|express|mapRun|activity|x)(:[a-z0-9/]{0,4}){0,4}") {
            let text = format!("{HERE}{rest}");
            if let Ok(arn) = text.parse::<Arn>() {
                proptest::prop_assert_eq!(arn.to_string(), text);
            }
        }
    }

    #[test]
    fn digits_are_a_version_and_everything_else_is_an_alias() {
        let qualifier = |text: &str| match format!("{HERE}stateMachine:pay:{text}").parse() {
            Ok(Arn {
                resource: Resource::Machine(machine),
                ..
            }) => machine.qualifier,
            _ => None,
        };
        assert_eq!(qualifier("7"), Some(Qualifier::Version(7)));
        assert_eq!(qualifier("v7"), Some(Qualifier::Alias("v7".to_owned())));
        for none in ["0", "007", "99999999999"] {
            assert_eq!(qualifier(none), None, "{none}");
        }
    }

    #[test]
    fn what_is_no_name_is_refused_with_the_part_that_is_wrong() {
        let error = |text: &str| text.parse::<Arn>().unwrap_err().to_string();
        assert_eq!(error("nonsense"), "Invalid ARN prefix: nonsense");
        assert_eq!(
            error("arn:azure:states:r:1:activity:a"),
            "Invalid ARN prefix: arn:azure:states:r:1:activity:a"
        );
        let lambda = "arn:aws:lambda:us-east-1:000000000000:function:f";
        assert_eq!(error(lambda), format!("Invalid ARN: {lambda}"));
        assert_eq!(
            error(&format!("{HERE}queue:q")),
            "Invalid resource type: queue"
        );
        for rest in [
            "stateMachine:",
            "stateMachine:/label",
            "stateMachine:a:b:c",
            "execution:a",
            "express:a:b",
            "mapRun:a:b",
            "activity:a:b",
            "activity",
        ] {
            let text = format!("{HERE}{rest}");
            assert_eq!(error(&text), format!("Invalid ARN: {text}"));
        }
        let long = "a".repeat(ARN_BYTES_MAX + 1);
        assert_eq!(error(&long).len(), "Invalid ARN: ".len() + QUOTED_CHARS_MAX);
    }

    #[test]
    fn the_partition_is_the_regions() {
        let in_region = |region: &str| Place {
            region: region.to_owned(),
            account: "1".to_owned(),
        };
        assert_eq!(
            in_region("cn-north-1").activity("a"),
            "arn:aws-cn:states:cn-north-1:1:activity:a"
        );
        assert_eq!(
            in_region("us-gov-west-1").activity("a"),
            "arn:aws-us-gov:states:us-gov-west-1:1:activity:a"
        );
    }
}
