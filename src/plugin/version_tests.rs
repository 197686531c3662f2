//! Snapshots of plugin folders: what is in them, what is refused, and what a crash leaves.

use super::*;

struct Plugin {
    root: tempfile::TempDir,
}

impl Plugin {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("source")).unwrap();
        let plugin = Self { root };
        plugin.write("plugin.toml", "name = \"a\"");
        plugin.write("lib/helper.py", "x = 1");
        plugin
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.root.path().join("source").join(relative)
    }

    fn write(&self, relative: &str, text: &str) {
        let path = self.path(relative);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn snapshot(&self) -> Result<Snapshot, SnapshotError> {
        let limits = SnapshotLimits {
            folder_bytes_max: 1000,
            entries_max: 10,
        };
        snapshot(
            &self.path(""),
            &self.root.path().join("plugins"),
            "a",
            limits,
        )
    }

    fn refusal(&self) -> String {
        self.snapshot().unwrap_err().to_string()
    }
}

#[test]
fn the_same_content_is_the_same_version_and_an_edit_is_another() {
    let plugin = Plugin::new();
    let first = plugin.snapshot().unwrap();
    assert_eq!(first.hash.len(), 64);
    assert_eq!(plugin.snapshot().unwrap(), first);
    plugin.write("lib/helper.py", "x = 2");
    let second = plugin.snapshot().unwrap();
    assert_ne!(second, first);
    assert_eq!(
        fs::read_to_string(first.path.join("lib/helper.py")).unwrap(),
        "x = 1"
    );
    assert_eq!(
        fs::read_to_string(second.path.join("lib/helper.py")).unwrap(),
        "x = 2"
    );
    plugin.write("lib/helper.py", "x = 1");
    assert_eq!(plugin.snapshot().unwrap(), first);
}

#[test]
fn names_and_executable_bits_are_content_and_caches_are_not() {
    let plugin = Plugin::new();
    let first = plugin.snapshot().unwrap().hash;
    for path in [
        "__pycache__/a.pyc",
        "lib/.git/x",
        ".handler.py.swp",
        "handler.py~",
        ".venv/bin/python",
    ] {
        plugin.write(path, "noise");
        assert_eq!(plugin.snapshot().unwrap().hash, first, "{path}");
    }
    fs::set_permissions(
        plugin.path("lib/helper.py"),
        fs::Permissions::from_mode(0o755),
    )
    .unwrap();
    let executable = plugin.snapshot().unwrap();
    assert_ne!(executable.hash, first);
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(executable.path.join("lib/helper.py")), 0o555);
    assert_eq!(mode(executable.path.join("plugin.toml")), 0o444);
    fs::rename(plugin.path("lib/helper.py"), plugin.path("lib/other.py")).unwrap();
    assert_ne!(plugin.snapshot().unwrap().hash, executable.hash);
}

#[test]
fn links_are_kept_where_they_stay_inside_and_refused_where_they_do_not() {
    let plugin = Plugin::new();
    for target in ["helper.py", "../plugin.toml", "./helper.py"] {
        symlink(target, plugin.path("lib/link")).unwrap();
        let path = plugin.snapshot().unwrap().path;
        assert_eq!(
            fs::read_link(path.join("lib/link")).unwrap(),
            Path::new(target)
        );
        assert!(path.join("lib/link").exists());
        fs::remove_file(plugin.path("lib/link")).unwrap();
    }
    for target in ["/etc/passwd", "../../other", "helper/../../../x", ".."] {
        symlink(target, plugin.path("lib/link")).unwrap();
        if target == ".." {
            assert!(plugin.snapshot().is_ok());
        } else {
            assert!(
                plugin.refusal().contains("outside the plugin's folder"),
                "{target}"
            );
        }
        fs::remove_file(plugin.path("lib/link")).unwrap();
    }
}

#[test]
fn what_is_too_large_or_no_file_is_refused() {
    let plugin = Plugin::new();
    plugin.write("data", &"x".repeat(2000));
    assert!(plugin.refusal().contains("more than 1000 bytes"));
    fs::remove_file(plugin.path("data")).unwrap();
    for number in 0..20 {
        plugin.write(&format!("many/{number}"), "");
    }
    assert!(plugin.refusal().contains("more than 10 files"));
    fs::remove_dir_all(plugin.path("many")).unwrap();
    let socket = std::os::unix::net::UnixListener::bind(plugin.path("socket")).unwrap();
    assert!(
        plugin
            .refusal()
            .contains("neither file, directory nor link")
    );
    drop(socket);
}

#[test]
fn what_a_crash_left_behind_is_removed_by_the_next_version() {
    let plugin = Plugin::new();
    let home = plugin.root.path().join("plugins/a");
    fs::create_dir_all(home.join(".partial-1/lib")).unwrap();
    let snapshot = plugin.snapshot().unwrap();
    let names: Vec<_> = fs::read_dir(&home)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    assert_eq!(names, [snapshot.path]);
}
