//! Locks the calling process, and all that it will start, in with Landlock.
//!
//! What a worker may reach: the system's programs and libraries, its own folder, its interpreter's
//! installation, what the manifest names, a scratch directory. What it may not: any other file, a
//! signal to a process that is not its own, an abstract socket of somebody else; nor, where it runs as
//! root, use what of root's power leads round this.
//!
//! Invariant: nothing hidden (iterd's own state and configuration) becomes reachable by granting
//! something above it: a granted directory that holds a hidden path is granted child by child.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, LandlockStatus, PathBeneath, PathFd,
    Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope,
};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};
use serde::{Deserialize, Serialize};

use super::SandboxMode;

/// The rights this build knows and tests. Why not the newest: what a worker may do must not change
/// under a user's feet because the kernel was upgraded. 6 is the first that also stops signals.
const RIGHTS: ABI = ABI::V6;

/// Read and execute: what interpreters, shells and their libraries need, where it exists.
const SYSTEM: &[&str] = &[
    "/usr",
    "/lib",
    "/lib32",
    "/lib64",
    "/bin",
    "/sbin",
    "/opt",
    "/etc",
    "/proc",
    "/sys/devices/system",  // the number of processors
    "/sys/fs/cgroup",       // the memory that Node and Java may use
    "/run/systemd/resolve", // what /etc/resolv.conf points to
    "/run/resolvconf",
    "/var/lib/ca-certificates", // what /etc/ssl/certs points to on some systems
    "/nix/store",
    "/gnu/store",
    "/run/current-system/sw",
];

/// Read and write: the devices that every program takes for granted.
const DEVICES: &[&str] = &[
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
];

/// What a worker of root keeps of root's power: that over files and users, within what it is granted. With
/// the rest it could go round Landlock: read other processes (Linux asks `CAP_PERFMON` first, and no
/// more where it is there), make a device's node, load a module.
const KEPT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::DAC_READ_SEARCH)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::NET_RAW);

/// What to lock a process in to. Paths that do not exist are errors in `read` and `write`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SandboxSpec {
    pub(crate) mode: SandboxMode,
    /// Read and execute, whether hidden or not: its own folder, the shim.
    pub(crate) own: Vec<PathBuf>,
    /// All rights, whether hidden or not: the scratch directory.
    pub(crate) scratch: PathBuf,
    /// As `scratch`: where a worker of ours keeps what it has compiled, if it compiles.
    pub(crate) compiled: Option<PathBuf>,
    /// The manifest's `read`.
    pub(crate) read: Vec<PathBuf>,
    /// The manifest's `write`.
    pub(crate) write: Vec<PathBuf>,
    /// Never granted, whatever lies above it.
    pub(crate) hidden: Vec<PathBuf>,
}

/// What holds after [`enter`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Confinement {
    /// Everything asked for.
    Full,
    /// Less, or nothing: for people, why.
    Less(String),
    /// Nothing was asked for.
    Off,
}

/// Why a process could not be locked in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SandboxError {
    #[error("sandbox = \"on\", and {0}")]
    Unsupported(String),
    #[error("`{key}` names {}: {source}", path.display())]
    Path {
        key: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("`{key}` names {}, which is iterd's own", path.display())]
    Hidden { key: &'static str, path: PathBuf },
    #[error("cannot give up capabilities: {0}")]
    Capabilities(io::Error),
    #[error("landlock: {0}")]
    Landlock(#[from] landlock::RulesetError),
}

/// Locks this process in; `program` is what it is about to execute, if anything.
pub(crate) fn enter(
    spec: &SandboxSpec,
    program: Option<&Path>,
) -> Result<Confinement, SandboxError> {
    if spec.mode == SandboxMode::Off {
        return Ok(Confinement::Off);
    }
    give_up_capabilities().map_err(|errno| SandboxError::Capabilities(errno.into()))?;
    let status =
        Ruleset::default()
            .handle_access(AccessFs::from_all(RIGHTS))?
            .scope(Scope::from_all(RIGHTS))?
            .create()?
            .add_rules(grants(spec, program)?.into_iter().map(|(path, rights)| {
                Ok::<_, landlock::RulesetError>(PathBeneath::new(path, rights))
            }))?
            .restrict_self()?;
    let lack = match (status.ruleset, status.landlock) {
        (RulesetStatus::FullyEnforced, _) => return Ok(Confinement::Full),
        (RulesetStatus::PartiallyEnforced, LandlockStatus::Available { effective_abi, .. }) => {
            return Ok(Confinement::Less(format!(
                "this kernel's Landlock is of version {} and leaves some rights open (6 or later, Linux 6.12, has all)",
                effective_abi as i32
            )));
        }
        (_, LandlockStatus::NotEnabled) => {
            "Landlock is not enabled in this kernel (add it to lsm=)"
        }
        (_, LandlockStatus::NotImplemented) => "this kernel has no Landlock (Linux 5.13 has)",
        (_, LandlockStatus::Available { .. }) => "Landlock did not take effect",
    };
    if spec.mode == SandboxMode::On {
        return Err(SandboxError::Unsupported(lack.to_owned()));
    }
    Ok(Confinement::Less(lack.to_owned()))
}

/// What this kernel lacks of what [`enter`] asks for, for people. Locks nothing in.
pub(crate) fn lack() -> Option<&'static str> {
    let mut all = Ruleset::default();
    all = all.set_compatibility(CompatLevel::HardRequirement);
    let handled = all.handle_access(AccessFs::from_all(RIGHTS));
    let refused = handled
        .and_then(|all| all.scope(Scope::from_all(RIGHTS)))
        .is_err();
    refused.then_some("this kernel's Landlock is missing, or leaves some rights open")
}

/// Keeps no more than [`KEPT`]. Without new privileges, which are given up before, no program brings any
/// of it back.
fn give_up_capabilities() -> rustix::io::Result<()> {
    let has = capabilities(None)?;
    let keeps = CapabilitySets {
        effective: has.effective & KEPT,
        permitted: has.permitted & KEPT,
        inheritable: has.inheritable & KEPT,
    };
    if has != keeps {
        set_capabilities(None, keeps)?;
    }
    Ok(())
}

type Grants = Vec<(PathFd, BitFlags<AccessFs>)>;

fn grants(spec: &SandboxSpec, program: Option<&Path>) -> Result<Grants, SandboxError> {
    let read = AccessFs::from_read(RIGHTS);
    let all = AccessFs::from_all(RIGHTS);
    let hidden: Vec<PathBuf> = spec
        .hidden
        .iter()
        .filter_map(|path| path.canonicalize().ok())
        .collect();
    let mut grants = Grants::new();
    for path in SYSTEM
        .iter()
        .map(PathBuf::from)
        .chain(program.map(installation).into_iter().flatten())
    {
        if let Ok(path) = path.canonicalize() {
            grant(&mut grants, &path, read, &hidden);
        }
    }
    for path in DEVICES {
        grant(
            &mut grants,
            Path::new(path),
            read | AccessFs::from_write(RIGHTS),
            &[],
        );
    }
    for path in &spec.own {
        grant(&mut grants, path, read, &[]);
    }
    for path in [Some(&spec.scratch), spec.compiled.as_ref()]
        .into_iter()
        .flatten()
    {
        grant(&mut grants, path, all, &[]);
    }
    for (key, paths, rights) in [("read", &spec.read, read), ("write", &spec.write, all)] {
        for path in paths {
            let place = path.canonicalize().map_err(|source| SandboxError::Path {
                key,
                path: path.clone(),
                source,
            })?;
            if hidden.iter().any(|hidden| place.starts_with(hidden)) {
                return Err(SandboxError::Hidden {
                    key,
                    path: path.clone(),
                });
            }
            grant(&mut grants, &place, rights, &hidden);
        }
    }
    Ok(grants)
}

/// Adds a rule for a path, or for its children where something hidden lies beneath it. What cannot
/// be opened is not granted.
fn grant(grants: &mut Grants, path: &Path, rights: BitFlags<AccessFs>, hidden: &[PathBuf]) {
    if hidden.iter().any(|hidden| path.starts_with(hidden)) {
        return;
    }
    if hidden.iter().any(|hidden| hidden.starts_with(path)) {
        for child in fs::read_dir(path).into_iter().flatten().flatten() {
            if let Ok(child) = child.path().canonicalize()
                && child.starts_with(path)
            {
                grant(grants, &child, rights, hidden);
            }
        }
        return;
    }
    let Ok(descriptor) = PathFd::new(path) else {
        return;
    };
    // Why: rights that only a directory can have are refused on a file.
    let rights = if path.is_dir() {
        rights
    } else {
        rights & AccessFs::from_file(RIGHTS)
    };
    grants.push((descriptor, rights));
}

/// Where a program and what belongs to it is installed: its directory, and the one above it where
/// that looks like an installation (`~/.pyenv` above `shims`, a virtual environment above `bin`).
///
/// Why not always the one above: above `~/bin` is a home, and above `~/.local/bin` the keyrings.
fn installation(program: &Path) -> Vec<PathBuf> {
    let real = program.canonicalize().ok();
    let mut found = Vec::new();
    for folder in [Some(program), real.as_deref()]
        .into_iter()
        .flatten()
        .filter_map(Path::parent)
    {
        found.push(folder.to_owned());
        let holds_programs = folder
            .file_name()
            .is_some_and(|name| name == "bin" || name == "shims");
        found.extend(
            folder
                .parent()
                .filter(|above| holds_programs && is_installation(above))
                .map(Path::to_owned),
        );
    }
    found
}

fn is_installation(folder: &Path) -> bool {
    ["pyvenv.cfg", "libexec", "lib", "include"]
        .iter()
        .any(|part| folder.join(part).exists())
        && folder.file_name().is_some_and(|name| name != ".local")
        && ![".ssh", ".profile", ".bashrc"]
            .iter()
            .any(|part| folder.join(part).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_installation_is_granted_and_a_home_is_not() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        for path in [
            "venv/bin/python",
            "venv/pyvenv.cfg",
            "home/bin/tool",
            "home/lib/x",
            "home/.profile",
            "home/.local/bin/tool",
            "home/.local/lib/x",
        ] {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        for (program, above, granted) in [
            ("venv/bin/python", "venv", true),
            ("home/bin/tool", "home", false),
            ("home/.local/bin/tool", "home/.local", false),
        ] {
            let found = installation(&root.join(program));
            assert_eq!(found.contains(&root.join(above)), granted, "{program}");
            assert!(found.contains(&root.join(program).parent().unwrap().to_owned()));
        }
    }

    #[test]
    fn what_is_hidden_stays_hidden_beneath_what_is_granted() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        for path in ["a/public", "a/deep/state/db", "a/deep/other", "b"] {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        // A door to the hidden place that lies elsewhere.
        std::os::unix::fs::symlink(root.join("a/deep/state"), root.join("a/link")).unwrap();
        let count = |hidden: &[PathBuf]| {
            let mut grants = Grants::new();
            grant(&mut grants, &root, AccessFs::from_read(RIGHTS), hidden);
            grants.len()
        };
        assert_eq!(count(&[]), 1);
        assert_eq!(count(std::slice::from_ref(&root)), 0);
        // a/public, a/deep/other, b
        assert_eq!(count(&[root.join("a/deep/state")]), 3);
    }

    #[test]
    fn granting_what_is_hidden_is_refused_and_a_missing_path_named() {
        let root = tempfile::tempdir().unwrap();
        let spec = |read: &str| SandboxSpec {
            mode: SandboxMode::Auto,
            own: Vec::new(),
            scratch: root.path().to_owned(),
            compiled: None,
            read: vec![PathBuf::from(read)],
            write: Vec::new(),
            hidden: vec![root.path().to_owned()],
        };
        let refusal = |read: &str| {
            grants(&spec(read), Some(Path::new("/bin/sh")))
                .unwrap_err()
                .to_string()
        };
        assert!(refusal(&root.path().display().to_string()).contains("iterd's own"));
        assert!(refusal("/no/such/place").contains("`read` names /no/such/place"));
    }
}
