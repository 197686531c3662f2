//! Where an alias leads, as requests have it: one version of a machine, or two by weight.

use serde::Deserialize;
use serde_json::{Value, json};

use super::names;
use crate::{
    api::{Api, ApiError, ErrorKind, Fault},
    arn::{Place, Qualifier},
    store::{MachineRow, Route, Routing},
};

/// One of the versions that an alias is to lead to.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Item {
    state_machine_version_arn: String,
    weight: u8,
}

/// Reads where an alias is to lead: the machine, and the routing. All of it exists.
pub(super) fn resolve(api: &Api, items: &[Item]) -> Result<(MachineRow, Routing), ApiError> {
    let arns: Vec<&str> = items
        .iter()
        .map(|item| item.state_machine_version_arn.as_str())
        .collect();
    let refuse = |why: &str| Err(invalid(&format!("{why}. Received: [{}]", arns.join(", "))));
    let mut routes = Vec::with_capacity(items.len());
    let mut machine = None;
    for item in items {
        let Ok((name, Qualifier::Version(version))) =
            names::qualified(&item.state_machine_version_arn)
        else {
            return refuse("Routing configuration must contain state machine version ARNs");
        };
        let known = machine.get_or_insert_with(|| name.clone());
        if *known != name {
            return refuse("Routing configuration must contain versions of the same state machine");
        }
        let weight = item.weight;
        routes.push(Route { version, weight });
    }
    let routing = match routes.as_slice() {
        [first] => Routing {
            first: *first,
            second: None,
        },
        [first, second] if first.version != second.version => Routing {
            first: *first,
            second: Some(*second),
        },
        _ => {
            return refuse(
                "Routing configuration must contain distinct state machine version ARNs",
            );
        }
    };
    if routing
        .routes()
        .map(|route| u32::from(route.weight))
        .sum::<u32>()
        != 100
    {
        let weights: Vec<String> = items.iter().map(|item| item.weight.to_string()).collect();
        let weights = weights.join(", ");
        let why =
            format!("Sum of routing configuration weights must equal 100. Received: [{weights}]");
        return Err(invalid(&why));
    }
    let row = existing(api, arns[0], routing)?;
    Ok((row, routing))
}

/// The machine, where all the versions exist.
fn existing(api: &Api, arn: &str, routing: Routing) -> Result<MachineRow, ApiError> {
    let row = match names::machine(api, arn) {
        Ok(found) => found.row,
        Err(error) if error.kind == ErrorKind::States(Fault::StateMachineDoesNotExist) => {
            return Err(names::unknown_resource());
        }
        Err(error) => return Err(error),
    };
    if row.deleting {
        return Err(names::deleting(&api.place().machine(&row.name)));
    }
    for route in routing.routes() {
        if api.store.machine_version(row.id, route.version)?.is_none() {
            return Err(names::unknown_resource());
        }
    }
    Ok(row)
}

fn invalid(message: &str) -> ApiError {
    ApiError::validation(message).with("reason", "INVALID_ROUTING_CONFIGURATION")
}

/// A routing as it is told.
pub(super) fn told(place: &Place, machine: &str, routing: Routing) -> Value {
    let item = |route: Route| {
        json!({
            "stateMachineVersionArn": place.version(machine, route.version),
            "weight": route.weight,
        })
    };
    routing.routes().map(item).collect()
}
