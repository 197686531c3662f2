//! Python environments: made by the real `venv` and `pip`, from packages that the tests write.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path, process::Command};

use iterd::plugin::{
    Environments, Manifest, Snapshot, SnapshotLimits, Version, discard_snapshot, snapshot,
};

use crate::world::World;

/// Writes a package `greeting` of one module, ready to be installed.
const PACK: &str = r#"
import sys, zipfile
with zipfile.ZipFile(sys.argv[1] + "/greeting-1.0-py3-none-any.whl", "w") as wheel:
    wheel.writestr("greeting.py", "WORD = 'hello'\n")
    home = "greeting-1.0.dist-info/"
    wheel.writestr(home + "METADATA", "Metadata-Version: 2.1\nName: greeting\nVersion: 1.0\n")
    wheel.writestr(home + "WHEEL", "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    wheel.writestr(home + "RECORD", "greeting.py,,\n")
"#;

/// What a package does while it is built, whatever it likes: it says what it could reach.
const BUILDS: &str = r#"
import os

def reach(path, mode):
    try:
        open(path, mode).close()
        return "yes"
    except OSError as error:
        return type(error).__name__

def build_wheel(folder, settings=None, metadata=None):
    root = open("root").read()
    raise SystemExit("read %s, write %s, beside %s, environment %s" % (
        reach(root + "/secret", "r"), reach(root + "/written", "w"),
        reach(os.path.dirname(os.path.dirname(os.environ["HOME"])) + "/written", "w"),
        sorted(name for name in os.environ if name.startswith("CARGO")),
    ))
"#;

const HANDLER: &str =
    "import greeting\ndef handle(item):\n    return [greeting.WORD, greeting.__file__]";

fn source(world: &World, requirements: &str) -> std::path::PathBuf {
    let folder = world.root.join("source");
    fs::create_dir_all(&folder).unwrap();
    let manifest = "name = \"test\"\nhandler = \"handler.py:handle\"";
    fs::write(folder.join("plugin.toml"), manifest).unwrap();
    fs::write(folder.join("handler.py"), HANDLER).unwrap();
    fs::write(folder.join("requirements.txt"), requirements).unwrap();
    folder
}

fn pack(folder: &Path) {
    let packed = Command::new("python3")
        .args(["-c", PACK])
        .arg(folder)
        .status();
    assert!(packed.unwrap().success());
}

fn taken(world: &World, folder: &Path) -> (Snapshot, Manifest) {
    let copies = world.root.join("copies");
    let limits = SnapshotLimits::default();
    let taken = snapshot(folder, &copies, "test", limits).unwrap();
    (taken, Manifest::load(folder).unwrap())
}

fn environments(world: &World) -> Environments {
    let hidden = vec![world.root.clone()];
    Environments::new(&world.root.join("copies"), hidden, world.spawner.clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_handler_requires_is_installed_once_and_made_anew_where_it_is_not_whole() {
    let world = World::new();
    let folder = source(&world, "./greeting-1.0-py3-none-any.whl\n");
    pack(&folder);
    let (snapshot, manifest) = taken(&world, &folder);
    let all = environments(&world);
    let of = || all.of(&snapshot, &manifest).unwrap().unwrap();
    let environment = of();
    let made = fs::metadata(environment.join("pyvenv.cfg")).unwrap().ino();
    let version = Version {
        environment: Some(environment.clone()),
        folder: snapshot.path.clone(),
        manifest: manifest.clone(),
        ..world.version(1, "command = [\"x\"]", &[])
    };
    let mut host = world.try_pool(version).unwrap();
    let result = host.result(1, "0").await;
    assert!(result.starts_with("[\"hello\", \""), "{result}");
    assert!(result.contains(environment.to_str().unwrap()), "{result}");
    host.end().await;

    assert_eq!(of(), environment);
    let again = fs::metadata(environment.join("pyvenv.cfg")).unwrap().ino();
    assert_eq!(again, made, "it is used again");
    // As a crash in the middle leaves it.
    let home = environment.parent().unwrap();
    fs::remove_file(home.join("complete")).unwrap();
    fs::write(environment.join("left"), "").unwrap();
    assert_eq!(of(), environment);
    assert!(!environment.join("left").exists(), "it is made anew");
    assert!(!home.join("scratch").exists());
    assert!(discard_snapshot(&snapshot.path, std::time::Duration::ZERO).unwrap());
    let removed =
        iterd::plugin::discard_environments(&world.root.join("copies"), std::time::Duration::ZERO);
    assert_eq!(removed.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_installed_says_why_and_leaves_nothing() {
    let world = World::new();
    let folder = source(&world, "./no-such-1.0-py3-none-any.whl\n");
    let (snapshot, manifest) = taken(&world, &folder);
    let error = environments(&world).of(&snapshot, &manifest).unwrap_err();
    let message = error.to_string();
    let begin = "cannot make the Python environment: pip install: exit status 1; its last words: ";
    assert!(message.starts_with(begin), "{message}");
    assert!(message.contains("no-such"), "{message}");
    let home = world.root.join("copies/.environments");
    assert_eq!(fs::read_dir(home).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_that_is_built_reaches_nothing_but_its_environment() {
    let world = World::new();
    fs::write(world.root.join("secret"), "").unwrap();
    let folder = source(&world, "./evil\n");
    let evil = folder.join("evil");
    fs::create_dir(&evil).unwrap();
    let project = "[build-system]\nrequires = []\nbuild-backend = \"builds\"\nbackend-path = [\".\"]\n[project]\nname = \"evil\"\nversion = \"1\"\n";
    fs::write(evil.join("pyproject.toml"), project).unwrap();
    fs::write(evil.join("builds.py"), BUILDS).unwrap();
    fs::write(evil.join("root"), world.root.to_str().unwrap()).unwrap();
    let (snapshot, manifest) = taken(&world, &folder);
    let message = environments(&world)
        .of(&snapshot, &manifest)
        .unwrap_err()
        .to_string();
    let reached =
        "read PermissionError, write PermissionError, beside PermissionError, environment []";
    assert!(message.contains(reached), "{message}");
    assert!(!world.root.join("written").exists());
}
