//! What environments are named by, and which of them are removed.

use super::*;

fn snapshot(hash: &str) -> Snapshot {
    Snapshot {
        hash: hash.to_owned(),
        path: PathBuf::new(),
    }
}

fn name(program: &str, version: &str, text: &str, hash: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("requirements.txt"), text).unwrap();
    let manifest = Manifest::parse("name = \"a\"\nhandler = \"a.py:b\"").unwrap();
    let requirements = Requirements::of(&manifest, folder.path()).unwrap().unwrap();
    let interpreter = Interpreter {
        program: program.to_owned(),
        version: version.to_owned(),
    };
    name_of(&interpreter, &requirements, &snapshot(hash))
}

#[test]
fn versions_share_an_environment_where_all_that_it_depends_on_is_the_same() {
    let one = name("/p", "3.11", "six", "v1");
    assert_eq!(one, name("/p", "3.11", "six", "v2"), "another version");
    for other in [
        name("/q", "3.11", "six", "v1"),
        name("/p", "3.12", "six", "v1"),
        name("/p", "3.11", "six==1", "v1"),
        name("/p", "3.11", "./six", "v1"),
    ] {
        assert_ne!(one, other);
    }
    let file = name("/p", "3.11", "./six", "v1");
    assert_ne!(
        file,
        name("/p", "3.11", "./six", "v2"),
        "its content counts"
    );
}

#[test]
fn environments_go_with_the_last_version_that_uses_them() {
    let copies = tempfile::tempdir().unwrap();
    let copies = copies.path();
    assert_eq!(discard_environments(copies, Duration::ZERO).unwrap(), 0);
    let place = |name: &str| copies.join(HOME).join(name);
    let make = |name: &str, users: &[&str], complete: bool| {
        fs::create_dir_all(place(name).join(USERS)).unwrap();
        for user in users {
            fs::write(place(name).join(USERS).join(user), "").unwrap();
        }
        if complete {
            fs::write(place(name).join(COMPLETE), "").unwrap();
        }
    };
    make("used", &["gone", "kept"], true);
    make("unused", &["gone"], true);
    make("broken", &["kept"], false);
    fs::create_dir_all(copies.join("plugin/kept")).unwrap();
    let hour = Duration::from_hours(1);
    assert_eq!(
        discard_environments(copies, hour).unwrap(),
        0,
        "all are new"
    );
    assert_eq!(discard_environments(copies, Duration::ZERO).unwrap(), 2);
    assert!(place("used").exists() && !place("unused").exists() && !place("broken").exists());
    assert!(use_again(&place("used"), "later").unwrap());
    assert!(!use_again(&place("unused"), "later").unwrap());
    fs::remove_dir(copies.join("plugin/kept")).unwrap();
    fs::create_dir(copies.join("plugin/later")).unwrap();
    assert_eq!(discard_environments(copies, Duration::ZERO).unwrap(), 0);
    fs::remove_dir(copies.join("plugin/later")).unwrap();
    assert_eq!(discard_environments(copies, Duration::ZERO).unwrap(), 1);
}
