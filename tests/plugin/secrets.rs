//! Secrets that are rotated while workers have them, and that nobody else gets to see.

use std::{fs, path::Path, time::Duration};

use iterd::plugin::{Event, Outcome};

use crate::world::{Running, World, call};

/// Answers what it was given, after as long as the item says.
const TELL: &str = r#"
import os, time
def handle(item):
    print("holds", item)
    time.sleep(item)
    return os.environ["TOKEN"]
"#;

fn rotate(world: &World, value: &str) {
    let folder = world.root.join("credentials");
    fs::create_dir_all(&folder).unwrap();
    // As those do who rotate secrets: at once and whole.
    let (new, path) = (folder.join("new"), folder.join("token"));
    fs::write(&new, value).unwrap();
    fs::rename(new, path).unwrap();
}

fn start(world: &World, code: &str) -> Running {
    rotate(world, "first");
    world.python("secrets = { TOKEN = \"credential:token\" }", code)
}

async fn renewed(world: &World) {
    world
        .events
        .wait_for(|event| matches!(event, Event::Renewed { .. }).then_some(()))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_secret_reaches_new_workers_and_the_old_finish_what_they_hold() {
    let world = World::new();
    let mut host = start(&world, TELL);
    assert_eq!(host.result(1, "0").await, "\"first\"");
    host.pool.submit(vec![call(2, "1.5")]);
    world
        .events
        .wait_for(|event| {
            matches!(event, Event::Log { line, .. } if line == "holds 1.5").then_some(())
        })
        .await;
    rotate(&world, "second");
    host.pool.look_at_secrets().await;
    renewed(&world).await;
    host.pool.submit(vec![call(3, "0")]);
    let mut said = Vec::new();
    for _ in 0..2 {
        let answer = host.answer().await;
        let Outcome::Done(result) = answer.outcome else {
            panic!("{answer:?}");
        };
        said.push((answer.ticket, result.text().to_owned()));
    }
    said.sort();
    assert_eq!(
        said,
        [(2, "\"first\"".to_owned()), (3, "\"second\"".to_owned())]
    );
    let events = world.events.all();
    let deployed = |event: &Event| matches!(event, Event::Deployed { .. });
    assert!(!events.iter().any(deployed), "{events:#?}");
    // Nothing has changed since.
    host.pool.look_at_secrets().await;
    assert_eq!(host.result(4, "0").await, "\"second\"");
    assert_eq!(world.records.started.lock().unwrap().len(), 2);
    host.end().await;
    for event in world.events.all() {
        let text = format!("{event:?}");
        assert!(
            !text.contains("first") && !text.contains("second"),
            "{text}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_touched_and_holds_the_same_replaces_nobody() {
    let world = World::new();
    let mut host = start(&world, TELL);
    assert_eq!(host.result(1, "0").await, "\"first\"");
    rotate(&world, "first");
    host.pool.look_at_secrets().await;
    assert_eq!(host.result(2, "0").await, "\"first\"");
    assert_eq!(world.records.started.lock().unwrap().len(), 1);
    host.end().await;
}

/// What a volume of Kubernetes does: the name stays, and the link before it changes.
#[tokio::test(flavor = "multi_thread")]
async fn a_secret_behind_a_link_is_seen_to_change() {
    let world = World::new();
    let link = |to: &Path| {
        let (new, path) = (world.root.join("..new"), world.root.join("..data"));
        std::os::unix::fs::symlink(to, &new).unwrap();
        fs::rename(new, path).unwrap();
    };
    for (folder, value) in [("1st", "first"), ("2nd", "other")] {
        fs::create_dir(world.root.join(folder)).unwrap();
        fs::write(world.root.join(folder).join("token"), value).unwrap();
    }
    link(&world.root.join("1st"));
    let path = world.root.join("..data/token").display().to_string();
    let manifest = format!("secrets = {{ TOKEN = \"file:{path}\" }}");
    let mut host = world.python(&manifest, TELL);
    assert_eq!(host.result(1, "0").await, "\"first\"");
    host.pool.look_at_secrets().await;
    link(&world.root.join("2nd"));
    host.pool.look_at_secrets().await;
    renewed(&world).await;
    assert_eq!(host.result(2, "0").await, "\"other\"");
    host.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_cannot_be_read_changes_nothing_and_is_told_once() {
    let world = World::new();
    let mut host = start(&world, TELL);
    assert_eq!(host.result(1, "0").await, "\"first\"");
    fs::remove_file(world.root.join("credentials/token")).unwrap();
    host.pool.look_at_secrets().await;
    host.pool.look_at_secrets().await;
    assert_eq!(host.result(2, "0").await, "\"first\"");
    let causes: Vec<String> = world
        .events
        .all()
        .into_iter()
        .filter_map(|event| match event {
            Event::SecretUnreadable { cause, .. } => Some(cause),
            _ => None,
        })
        .collect();
    assert_eq!(causes.len(), 1, "{causes:?}");
    assert!(causes[0].starts_with("secret TOKEN: "), "{causes:?}");
    rotate(&world, "second");
    host.pool.look_at_secrets().await;
    renewed(&world).await;
    assert_eq!(host.result(3, "0").await, "\"second\"");
    host.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_go_on_where_none_starts_with_the_new_secret() {
    let world = World::new();
    let code = format!(
        "import os\nif os.environ['TOKEN'] == 'bad':\n    raise SystemExit('refused')\n{TELL}"
    );
    let mut host = start(&world, &code);
    assert_eq!(host.result(1, "0").await, "\"first\"");
    rotate(&world, "bad");
    host.pool.look_at_secrets().await;
    let cause = world
        .events
        .wait_for(|event| match event {
            Event::NotRenewed { cause, .. } => Some(cause.clone()),
            _ => None,
        })
        .await;
    assert!(cause.contains("refused"), "{cause}");
    assert_eq!(host.result(2, "0").await, "\"first\"");
    let started = world.records.started.lock().unwrap().len();
    host.pool.look_at_secrets().await;
    host.pool.look_at_secrets().await;
    assert_eq!(host.result(3, "0").await, "\"first\"");
    assert_eq!(
        world.records.started.lock().unwrap().len(),
        started,
        "not tried again"
    );
    rotate(&world, "third");
    host.pool.look_at_secrets().await;
    renewed(&world).await;
    assert_eq!(host.result(4, "0").await, "\"third\"");
    host.pool
        .shutdown(Duration::ZERO, Duration::from_secs(2))
        .await;
}
