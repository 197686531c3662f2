//! What names may be made of, and what the names of resources lead to.

use crate::{
    api::{Api, ApiError, ErrorKind, Fault},
    arn::{Arn, MachineRef, Part, Qualifier, Resource, is_name},
    runtime::{NamedMachine, RuntimeError, named_machine},
    store::{ActivityRow, MachineRow, TagOwner},
};

/// Whether a new machine or activity may be called so.
pub(super) fn check_name(name: &str) -> Result<(), ApiError> {
    if !is_name(name) {
        let message = format!("Invalid Name: '{name}'");
        return Err(ApiError::states(Fault::InvalidName, message));
    }
    Ok(())
}

/// A role as machines name it; whether it exists is nobody's business here.
pub(super) fn check_role(arn: &str) -> Result<(), ApiError> {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let good = matches!(parts.as_slice(), ["arn", partition, "iam", "", account, role]
        if partition.starts_with("aws")
            && account.len() == 12
            && account.bytes().all(|byte| byte.is_ascii_digit())
            && role.strip_prefix("role/").is_some_and(|name| !name.is_empty()));
    if good {
        return Ok(());
    }
    let message = format!("Invalid Role Arn: '{arn}'");
    Err(ApiError::states(Fault::InvalidArn, message))
}

/// The machine that a name speaks of, whatever version or alias it adds.
pub(super) fn machine(api: &Api, arn: &str) -> Result<NamedMachine, ApiError> {
    Ok(named_machine(&api.store, &api.place(), arn)?)
}

/// The machine that a name speaks of, which adds nothing; for what changes a machine.
pub(super) fn plain_machine(api: &Api, arn: &str) -> Result<MachineRow, ApiError> {
    let NamedMachine { named, row } = machine(api, arn)?;
    if named.part.label.is_some() {
        return Err(labelled());
    }
    if named.qualifier.is_some() {
        return Err(unknown_machine(arn));
    }
    Ok(row)
}

/// The same, for what a machine that is being deleted does not take.
pub(super) fn active_machine(api: &Api, arn: &str) -> Result<MachineRow, ApiError> {
    let row = plain_machine(api, arn)?;
    if row.deleting {
        return Err(deleting(arn));
    }
    Ok(row)
}

pub(super) fn unknown_machine(arn: &str) -> ApiError {
    RuntimeError::UnknownMachine {
        arn: arn.to_owned(),
    }
    .into()
}

pub(super) fn deleting(arn: &str) -> ApiError {
    RuntimeError::MachineDeleting {
        arn: arn.to_owned(),
    }
    .into()
}

pub(super) fn labelled() -> ApiError {
    ApiError::validation("This API does not support labelled state machine ARNs")
        .with("reason", "API_DOES_NOT_SUPPORT_LABELED_ARNS")
}

/// What an alias or a routing speaks of is not there.
pub(super) fn unknown_resource() -> ApiError {
    let message = "Request references a resource that does not exist.";
    ApiError::new(ErrorKind::NotFound, message)
}

/// What the name of a version or an alias speaks of: the machine's name and what it adds.
pub(super) fn qualified(arn: &str) -> Result<(String, Qualifier), ApiError> {
    let parsed: Arn = arn.parse().map_err(RuntimeError::from)?;
    let kind = parsed.resource.kind();
    if let Resource::Machine(MachineRef {
        part: Part { name, label: None },
        qualifier: Some(qualifier),
    }) = parsed.resource
    {
        return Ok((name, qualifier));
    }
    Err(wrong_kind(arn, kind))
}

pub(super) fn wrong_kind(arn: &str, kind: &'static str) -> ApiError {
    RuntimeError::ArnKind {
        arn: arn.to_owned(),
        kind,
        wanted: "what this operation is about",
    }
    .into()
}

pub(super) fn unknown_activity(arn: &str) -> ApiError {
    let message = format!("Activity Does Not Exist: '{arn}'");
    ApiError::states(Fault::ActivityDoesNotExist, message)
}

/// The activity that a name speaks of; `None` where there is none.
pub(super) fn activity(api: &Api, arn: &str) -> Result<Option<ActivityRow>, ApiError> {
    let parsed: Arn = arn.parse().map_err(RuntimeError::from)?;
    let Resource::Activity { name } = &parsed.resource else {
        return Err(wrong_kind(arn, parsed.resource.kind()));
    };
    if parsed.place != api.place() {
        return Ok(None);
    }
    Ok(api.store.activity(name)?)
}

/// Whose tags a name speaks of: a machine's or an activity's.
pub(super) fn tagged(api: &Api, arn: &str) -> Result<TagOwner, ApiError> {
    let parsed: Arn = arn.parse().map_err(RuntimeError::from)?;
    let here = parsed.place == api.place();
    let owner = match &parsed.resource {
        Resource::Machine(MachineRef {
            part: Part { name, label: None },
            qualifier: None,
        }) if here => api
            .store
            .machine(name)?
            .map(|row| TagOwner::Machine(row.id)),
        Resource::Activity { name } if here => {
            let row = api.store.activity(name)?;
            row.map(|row| TagOwner::Activity(row.id))
        }
        Resource::Machine(_) | Resource::Activity { .. } => None,
        Resource::Execution { .. } | Resource::Express { .. } | Resource::MapRun { .. } => {
            return Err(wrong_kind(arn, parsed.resource.kind()));
        }
    };
    owner.ok_or_else(|| {
        let message = format!("Resource not found: '{arn}'");
        ApiError::new(ErrorKind::NotFound, message).with("resourceName", arn)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arn::FORBIDDEN_IN_NAMES;

    #[test]
    fn a_name_has_no_spaces_brackets_or_control_characters() {
        for good in [
            "a",
            "activity.name.v2",
            "A-b_1",
            "ünïcode",
            "名前",
            "a'b!(c)=+@",
        ] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        let forbidden = "\0\u{1f}\u{7f}\u{85}\u{9f}\u{fffe}\u{1f600} \t\u{2003}".chars();
        for c in forbidden.chain(FORBIDDEN_IN_NAMES.chars()) {
            let name = format!("activity{c}name");
            let error = check_name(&name).unwrap_err();
            assert_eq!(error.kind.name(), "InvalidName");
            assert_eq!(error.message, format!("Invalid Name: '{name}'"));
        }
    }

    #[test]
    fn a_role_is_named_with_its_account_and_its_path() {
        for good in [
            "arn:aws:iam::000000000000:role/any",
            "arn:aws:iam::000000000000:role/service-role/any",
            "arn:aws-cn:iam::000000000000:role/any",
        ] {
            assert_eq!(check_role(good), Ok(()), "{good}");
        }
        for wrong in [
            "any",
            "arn:aws:iam::000000000000:user/any",
            "arn:aws:iam::000000000000:role/",
            "arn:aws:iam::1:role/any",
            "arn:aws:iam:us-east-1:000000000000:role/any",
        ] {
            let error = check_role(wrong).unwrap_err();
            assert_eq!(error.kind.name(), "InvalidArn");
            assert_eq!(error.message, format!("Invalid Role Arn: '{wrong}'"));
        }
    }
}
