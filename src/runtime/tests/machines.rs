//! State machines, found by whatever name somebody gives them.

use super::*;
use crate::{
    ids::MachineId,
    store::{MachineAliasRow, MachineChange, MachineKind, NewRevision, Route, Routing, TagOwner},
};

const MACHINE: &str = "arn:aws:states:us-east-1:000000000000:stateMachine:pay";

fn revision(text: &str, id: Option<&str>) -> Box<NewRevision> {
    Box::new(NewRevision {
        definition: text.to_owned(),
        role_arn: "arn:aws:iam::000000000000:role/any".to_owned(),
        id: id.map(str::to_owned),
        logging: "{}".to_owned(),
        tracing: "{}".to_owned(),
        encryption: "{}".to_owned(),
    })
}

/// A machine that was made, published, updated and published again.
fn published(engine: &Engine) -> MachineId {
    let id = engine.store().next_machine_id();
    let publish = |version| MachineChange::Publish {
        machine: id,
        version,
        description: None,
        at: Timestamp(3),
    };
    let changes = [
        MachineChange::New {
            id,
            name: "pay".to_owned(),
            kind: MachineKind::Express,
            revision: revision("first", None),
            at: Timestamp(1),
        },
        publish(1),
        MachineChange::Update {
            id,
            revision: revision("second", Some("r2")),
            at: Timestamp(2),
        },
        publish(2),
    ];
    tokio::task::block_in_place(|| {
        engine
            .store()
            .commit_blocking(changes.map(Change::from).into())
    })
    .unwrap();
    id
}

fn write(engine: &Engine, change: MachineChange) {
    tokio::task::block_in_place(|| engine.store().commit_blocking(vec![change.into()])).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_is_found_by_its_name_its_versions_and_its_aliases() {
    let world = World::new(0);
    let engine = world.open();
    let id = published(&engine);
    let text = |id| engine.store().definition(id).unwrap().unwrap();
    let found = engine.resolve_machine(MACHINE).unwrap();
    assert_eq!(
        (&*text(found.definition_id), found.kind),
        ("second", MachineKind::Express)
    );
    assert_eq!(
        (found.version, found.revision.as_deref()),
        (None, Some("r2"))
    );
    let first = engine.resolve_machine(&format!("{MACHINE}:1")).unwrap();
    assert_eq!(
        (&*text(first.definition_id), first.version),
        ("first", Some(1))
    );
    assert_eq!((first.revision, first.arn.as_str()), (None, MACHINE));
    let route = |version, weight| Route { version, weight };
    write(
        &engine,
        MachineChange::PutAlias(MachineAliasRow {
            machine: id,
            name: "live".to_owned(),
            description: None,
            routing: Routing {
                first: route(1, 0),
                second: Some(route(2, 100)),
            },
            created: Timestamp(4),
            updated: Timestamp(4),
        }),
    );
    let live = engine.resolve_machine(&format!("{MACHINE}:live")).unwrap();
    assert_eq!(
        (live.version, live.alias.as_deref()),
        (Some(2), Some("live"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_is_not_there_is_told_by_the_name_that_was_given() {
    let world = World::new(0);
    let engine = world.open();
    published(&engine);
    for (tail, here) in [
        ("us-east-1:000000000000:stateMachine:other", false),
        ("us-east-1:000000000000:stateMachine:pay:3", false),
        ("us-east-1:000000000000:stateMachine:pay:dev", false),
        ("eu-west-1:000000000000:stateMachine:pay", false),
        ("us-east-1:000000000001:stateMachine:pay", false),
        ("us-east-1:000000000000:stateMachine:pay", true),
    ] {
        let arn = format!("arn:aws:states:{tail}");
        match engine.resolve_machine(&arn) {
            Ok(_) => assert!(here, "{arn}"),
            Err(RuntimeError::UnknownMachine { arn: told }) => {
                assert_eq!((told, here), (arn, false));
            }
            Err(other) => panic!("{arn}: {other}"),
        }
    }
    let activity = "arn:aws:states:us-east-1:000000000000:activity:pay";
    let error = engine.resolve_machine(activity).unwrap_err();
    assert!(
        matches!(
            error,
            RuntimeError::ArnKind {
                kind: "activity",
                ..
            }
        ),
        "{error}"
    );
    let error = engine.resolve_machine("pay").unwrap_err();
    assert!(matches!(error, RuntimeError::Arn(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_machine_is_refused_and_goes_with_all_that_is_its() {
    let world = World::new(0);
    let engine = world.open();
    let id = published(&engine);
    let tags = vec![("team".to_owned(), "blue".to_owned())];
    let owner = TagOwner::Machine(id);
    write(&engine, MachineChange::PutTags { owner, tags });
    write(&engine, MachineChange::Delete { id });
    let error = engine.resolve_machine(MACHINE).unwrap_err();
    assert!(
        matches!(error, RuntimeError::MachineDeleting { .. }),
        "{error}"
    );
    assert_eq!(engine.store().machines("", 9).unwrap(), []);
    write(&engine, MachineChange::FinishDeletes);
    let error = engine.resolve_machine(MACHINE).unwrap_err();
    assert!(
        matches!(error, RuntimeError::UnknownMachine { .. }),
        "{error}"
    );
    assert_eq!(engine.store().machine_versions(id, 9, 9).unwrap(), []);
    assert_eq!(engine.store().tags(owner).unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn revisions_of_the_same_text_share_it() {
    let world = World::new(0);
    let engine = world.open();
    let id = published(&engine);
    let second = engine.resolve_machine(MACHINE).unwrap().definition_id;
    let again = revision("first", Some("r3"));
    write(
        &engine,
        MachineChange::Update {
            id,
            revision: again,
            at: Timestamp(5),
        },
    );
    let now = engine.resolve_machine(MACHINE).unwrap().definition_id;
    let first = engine.resolve_machine(&format!("{MACHINE}:1")).unwrap();
    assert_eq!((now, now == second), (first.definition_id, false));
}
