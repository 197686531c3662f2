//! Handlers that take several items at a time: how they are handed over, and answered one by one.

use iterd::plugin::Outcome;

use crate::world::{Running, World, call};

/// A batch is what was submitted together, at the most so many.
const MANIFEST: &str = "workers = 1\nbatch = 4";

async fn outcomes(host: &mut Running, items: &[&str]) -> Vec<String> {
    let calls = items.iter().zip(1_u64..);
    let calls = calls.map(|(item, ticket)| call(ticket, item)).collect();
    host.pool.submit(calls);
    let mut outcomes = Vec::new();
    for _ in items {
        let answer = host.answer().await;
        outcomes.push(match answer.outcome {
            Outcome::Done(result) => format!("{} {}", answer.ticket, result.text()),
            Outcome::Failed(failure) => format!("{} {}", answer.ticket, failure.error),
            Outcome::FailedCanary(_) | Outcome::Reached(_) | Outcome::Interrupted => {
                format!("{} interrupted", answer.ticket)
            }
        });
    }
    outcomes.sort();
    outcomes
}

#[tokio::test(flavor = "multi_thread")]
async fn items_come_as_a_list_and_each_has_its_own_outcome() {
    let world = World::new();
    let code = "def handle(items, calls):\n    \
                assert [call.key for call in calls]\n    \
                return [ValueError('two') if item == 2 else [item, len(items)] for item in items]";
    let mut host = world.python(MANIFEST, code);
    let items = ["1", "2", "3", "4", "5"];
    assert_eq!(host.pool.capacity(), 4);
    assert_eq!(
        outcomes(&mut host, &items).await,
        [
            "1 [1, 4]",
            "2 ValueError",
            "3 [3, 4]",
            "4 [4, 4]",
            "5 [5, 1]"
        ]
    );
    host.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn partial_failures_are_named_by_their_keys_as_lambda_functions_do() {
    let world = World::new();
    let code = "def handle(items, calls):\n    \
                bad = [call.key for item, call in zip(items, calls) if item == 2]\n    \
                bad = ['nonsense'] if 7 in items else bad\n    \
                return {'batchItemFailures': [{'itemIdentifier': key} for key in bad]}";
    let mut host = world.python(MANIFEST, code);
    assert_eq!(
        outcomes(&mut host, &["1", "2"]).await,
        ["1 null", "2 Iterd.BatchItemFailure"]
    );
    assert_eq!(
        outcomes(&mut host, &["6", "7"]).await,
        ["1 Iterd.BatchItemFailure", "2 Iterd.BatchItemFailure"]
    );
    host.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_answer_for_each_item_fails_all_of_them() {
    let world = World::new();
    let code = "def handle(items):\n    \
                if items[0] == 1:\n        raise KeyError('all')\n    \
                return items[:-1] if items[0] == 2 else 'one'";
    let mut host = world.python(MANIFEST, code);
    for (items, expected) in [
        (["1", "1"], "KeyError"),
        (["2", "2"], "Iterd.InvalidAnswer"),
        (["3", "3"], "Iterd.InvalidAnswer"),
    ] {
        let told = outcomes(&mut host, &items).await;
        assert_eq!(told, [format!("1 {expected}"), format!("2 {expected}")]);
    }
    host.end().await;
}

/// The one that kills its worker is found, and its neighbours lose nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_death_between_two_items_blames_the_one_and_keeps_what_was_answered() {
    let world = World::new();
    let program = "import json, os, sys\n\
                   for line in sys.stdin:\n    \
                   for call in json.loads(line)['batch']:\n        \
                   if call['item'] == 3:\n            os._exit(7)\n        \
                   print(json.dumps({'id': call['id'], 'result': call['item']}), flush=True)";
    let manifest = format!("command = [\"python3\", \"program.py\"]\n{MANIFEST}");
    let mut host = world.pool(&manifest, &[("program.py", program)]);
    let calls = (1..=4).map(|n| call(n, &n.to_string())).collect();
    let (done, _) = host.run_all(calls, |_, _| ()).await;
    for (ticket, answer) in &done {
        match &answer.outcome {
            Outcome::Failed(failure) => {
                assert_eq!((*ticket, failure.error.as_str()), (3, "Iterd.WorkerExited"));
            }
            outcome => assert!(matches!(outcome, Outcome::Done(_)), "{ticket}: {outcome:?}"),
        }
    }
    assert_eq!(done.len(), 4);
    host.end().await;
}
