//! `iterd key`: keys with names and roles, for people and programs that are to do less than everything.
//!
//! Works on the files of the state directory, also beside a daemon, which looks at them for each request.

use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::{
    exit::{Code, DONE, Failure},
    session::Session,
};
use crate::api::{Key, KeyRing, Role};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a key; iterd env --key NAME tells what its holder needs
    Create {
        /// Letters, digits, - and _
        name: String,
        /// What it may do
        #[arg(long)]
        role: RoleName,
    },
    /// Show the keys there are, without their secrets
    List,
    /// Remove a key; it opens nothing from then on
    Remove { name: String },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum RoleName {
    /// Look at everything, and change nothing
    ReadOnly,
    /// Also start, stop, steer, and work on tasks
    Operator,
    /// Also change machines, handlers and jobs: everything
    Admin,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::ReadOnly => Self::ReadOnly,
            RoleName::Operator => Self::Operator,
            RoleName::Admin => Self::Admin,
        }
    }
}

pub(super) fn main(session: &Session, command: Command) -> Result<Code, Failure> {
    let ring = KeyRing::open(&session.paths_quietly()?)?;
    match command {
        Command::Create { name, role } => {
            let key = ring.create(&name, role.into())?;
            session.answer(&told(&key), |_| {
                let (id, role) = (&key.id, key.role);
                format!("key {id} ({role}); what its holder needs: iterd env --key {id}")
            })?;
        }
        Command::List => {
            let keys = ring.list()?;
            let all: Vec<Value> = keys.iter().map(told).collect();
            session.answer(&json!({ "keys": all }), |_| lines(&keys))?;
        }
        Command::Remove { name } => {
            ring.remove(&name)?;
            session.answer(&json!({ "name": name }), |_| {
                format!("key {name} is removed")
            })?;
        }
    }
    Ok(Code(DONE))
}

fn told(key: &Key) -> Value {
    json!({ "name": key.id, "role": key.role.as_str() })
}

fn lines(keys: &[Key]) -> String {
    if keys.is_empty() {
        return "no keys but the owner's own; iterd key create NAME --role ROLE makes one"
            .to_owned();
    }
    let lines: Vec<String> = keys
        .iter()
        .map(|key| format!("{}  {}", key.id, key.role))
        .collect();
    lines.join("\n")
}
