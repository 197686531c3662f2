//! Manifests that are read and manifests that are refused, each with its words.

use super::*;

fn refusal(text: &str) -> String {
    Manifest::parse(text).unwrap_err().to_string()
}

#[test]
fn the_documented_manifest_parses() {
    let manifest = Manifest::parse(
        r#"
        name = "enrich"
        host = "process"
        handler = "handler.py:enrich"
        workers = 2
        in_flight = 1
        reload = "deploy"
        sandbox = "auto"
        read = ["/srv/lookup"]
        write = []
        secrets = { CRM_TOKEN = "credential:crm_token" }
        "#,
    )
    .unwrap();
    assert_eq!(manifest.workers.unwrap().get(), 2);
    assert_eq!(manifest.reload, Some(Reload::Deploy));
    assert_eq!(
        manifest.python_handler(),
        Some(Handler {
            file: "handler.py".to_owned(),
            function: "enrich".to_owned()
        })
    );
}

#[test]
fn defaults_are_one_item_in_flight_and_a_sandbox_where_there_is_one() {
    let manifest = Manifest::parse("name = \"a\"\ncommand = [\"./run\"]").unwrap();
    assert_eq!(manifest.host, HostKind::Process);
    assert_eq!(manifest.workers, None);
    assert_eq!(manifest.in_flight.get(), 1);
    assert_eq!(manifest.sandbox, SandboxMode::Auto);
    assert_eq!(manifest.line_bytes_max, 8 << 20);
}

#[test]
fn an_unknown_key_is_refused_with_its_nearest_neighbour() {
    assert_eq!(
        refusal("name = \"a\"\nhandlr = \"handler.py:f\""),
        "plugin.toml: unknown key `handlr`; did you mean `handler`?"
    );
    assert_eq!(
        refusal("name = \"a\"\ncommand = [\"x\"]\nlimits = { memory = 1 }"),
        "plugin.toml: unknown key `limits.memory`; did you mean `memory_bytes`?"
    );
    assert_eq!(
        refusal("name = \"a\"\nzzzz = 1"),
        "plugin.toml: unknown key `zzzz`"
    );
}

#[test]
fn keys_that_do_not_fit_are_refused_with_the_mend() {
    for (rest, expected) in [
        ("", "`handler` is missing"),
        (
            "handler = \"h.py:f\"\ncommand = [\"x\"]",
            "`command` and `handler` exclude",
        ),
        (
            "handler = \"handler.js:f\"",
            "or command = [..] for other languages",
        ),
        ("handler = \"../h.py:f\"", "a file of this folder"),
        ("handler = \"h.py:f()\"", "\"file.py:function\""),
        ("command = []", "needs a program"),
        ("command = [\"\"]", "needs a program"),
        (
            "command = [\"x\"]\npython = \"/p\"",
            "`python` goes with `handler`",
        ),
        ("host = \"exec\"", "`command` is missing"),
        (
            "host = \"exec\"\nhandler = \"h.py:f\"",
            "`handler` means nothing to host = \"exec\"",
        ),
        (
            "host = \"exec\"\ncommand = [\"x\"]\nin_flight = 2",
            "raise `workers`",
        ),
        (
            "host = \"lambda\"\nruntime = \"cobol\"",
            "unknown variant `cobol`, expected one of `nodejs`, `python`, `provided`",
        ),
        (
            "host = \"lambda\"\nhandler = \"a.b\"",
            "`runtime` is missing; it is one of \"nodejs\", \"python\" and \"provided\"",
        ),
        (
            "host = \"lambda\"\nruntime = \"python\"",
            "`handler` is missing; write handler = \"handler.main\"",
        ),
        (
            "host = \"lambda\"\nruntime = \"nodejs\"\nhandler = \"index.js:handler\"",
            "write \"file.function\", as in \"index.handler\"",
        ),
        (
            "host = \"lambda\"\nruntime = \"python\"\nhandler = \"../a.b\"",
            "write \"file.function\"",
        ),
        (
            "host = \"lambda\"\nruntime = \"python\"\nhandler = \"a.b\"\nin_flight = 2",
            "one event at a time; raise `workers`",
        ),
        (
            "host = \"lambda\"\nruntime = \"nodejs\"\nhandler = \"a.b\"\ncommand = [\"x\"]",
            "`command` goes with runtime = \"provided\"",
        ),
        (
            "host = \"lambda\"\nruntime = \"provided\"\npython = \"/p\"",
            "`python` goes with runtime = \"python\"",
        ),
        ("command = [\"x\"]\ntimeout = \"0s\"", "out of bounds"),
        ("command = [\"x\"]\ntimeout = \"soon\"", "is no duration"),
        ("host = \"ftp\"", "unknown variant `ftp`"),
        ("command = [\"x\"]\nworkers = 5000", "at most 1024"),
        ("command = [\"x\"]\nworkers = 0", "nonzero"),
        ("command = [\"x\"]\nread = [\"lookup\"]", "absolute path"),
        (
            "command = [\"x\"]\nsecrets = { \"A B\" = \"env:X\" }",
            "letters, digits and _",
        ),
        (
            "command = [\"x\"]\nenv = { A = \"1\" }\nsecrets = { A = \"env:X\" }",
            "`env` names too",
        ),
        (
            "command = [\"x\"]\nline_bytes_max = 10",
            "between 65536 and",
        ),
        ("command = [\"x\"", "TOML parse error"),
    ] {
        let message = refusal(&format!("name = \"a\"\n{rest}"));
        assert!(message.contains(expected), "{rest}: {message}");
    }
    for name in ["", "a b", "../x", "ä", &"a".repeat(65)] {
        let message = refusal(&format!("name = \"{name}\"\ncommand = [\"x\"]"));
        assert!(message.contains("is no name"), "{name}: {message}");
    }
}

#[test]
fn keys_that_do_not_fit_a_component_are_refused_with_the_mend() {
    for (rest, expected) in [
        (
            "host = \"wasm\"",
            "`handler` is missing; write \"handler.wasm\"",
        ),
        (
            "host = \"wasm\"\nhandler = \"h.py:f\"",
            "write \"handler.wasm\"",
        ),
        (
            "host = \"wasm\"\nhandler = \"../h.wasm\"",
            "a file of this folder",
        ),
        (
            "host = \"wasm\"\nhandler = \"h.wasm\"\nin_flight = 2",
            "raise `workers`",
        ),
        (
            "host = \"wasm\"\nhandler = \"h.wasm\"\nlimits = { memory_bytes = 1 }",
            "write [wasm] memory_bytes_max",
        ),
        (
            "host = \"wasm\"\nhandler = \"h.wasm\"\nwasm = { memory_bytes_max = 1 }",
            "between 1048576 and 4294967296",
        ),
        (
            "host = \"wasm\"\nhandler = \"h.wasm\"\nwasm = { memory_max = 1 }",
            "unknown key `wasm.memory_max`; did you mean `memory_bytes_max`?",
        ),
        (
            "host = \"wasm\"\nhandler = \"h.wasm\"\nwasm = { instance = \"new\" }",
            "unknown variant `new`",
        ),
        (
            "host = \"wasm\"\nhandler = \"h.wasm\"\nnetwork = [\"10.0.0.0/99\"]",
            "`network` names \"10.0.0.0/99\"; write an address",
        ),
        (
            "command = [\"x\"]\nwasm = {}",
            "`wasm` means nothing to host = \"process\"",
        ),
    ] {
        let message = refusal(&format!("name = \"a\"\n{rest}"));
        assert!(message.contains(expected), "{rest}: {message}");
    }
}

#[test]
fn a_lambda_function_names_its_runtime_and_perhaps_its_timeout() {
    for rest in [
        "runtime = \"python\"\nhandler = \"pack.age.main\"",
        "runtime = \"nodejs\"\nhandler = \"src/index.handler\"",
        "runtime = \"provided\"",
        "runtime = \"provided\"\ncommand = [\"./x\"]\nhandler = \"any thing\"",
    ] {
        let text = format!("name = \"a\"\nhost = \"lambda\"\ntimeout = \"1m30s\"\n{rest}");
        let manifest = Manifest::parse(&text).unwrap();
        assert_eq!(manifest.timeout, Some(Duration::from_secs(90)));
    }
    let folder = tempfile::tempdir().unwrap();
    let text = "name = \"a\"\nhost = \"lambda\"\nruntime = \"provided\"";
    fs::write(folder.path().join("plugin.toml"), text).unwrap();
    let message = Manifest::load(folder.path()).unwrap_err().to_string();
    assert!(
        message.contains("names bootstrap, which is not in"),
        "{message}"
    );
}

#[test]
fn a_web_service_has_keys_of_its_own() {
    for (rest, expected) in [
        ("host = \"http\"", "`http` is missing"),
        (
            "host = \"http\"\nhandler = \"https://a.example\"",
            "`handler` means nothing to host = \"http\"",
        ),
        (
            "host = \"http\"\nhttp = { url = \"https://a.example\" }\nnetwork = [\"10.0.0.0/99\"]",
            "`network` names \"10.0.0.0/99\"",
        ),
        (
            "command = [\"x\"]\nnetwork = [\"10.0.0.1\"]",
            "`network` means nothing to host = \"process\"",
        ),
        (
            "command = [\"x\"]\nhttp = { url = \"https://a.example\" }",
            "`http` means nothing to host = \"process\"",
        ),
    ] {
        let message = refusal(&format!("name = \"a\"\n{rest}"));
        assert!(message.contains(expected), "{rest}: {message}");
    }
}

#[test]
fn hosts_that_this_build_lacks_parse() {
    let text = "name = \"a\"\nhost = \"wasm\"\nhandler = \"x.wasm\"";
    assert!(Manifest::parse(text).is_ok());
}

#[test]
fn a_folder_without_a_manifest_says_what_it_needs() {
    let folder = tempfile::tempdir().unwrap();
    let message = Manifest::load(folder.path()).unwrap_err().to_string();
    assert!(message.contains("plugin.toml"), "{message}");
}
