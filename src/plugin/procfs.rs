//! Reads what the kernel says about processes in `/proc`.
//!
//! Owns the parsing; decides nothing. A process number alone identifies nobody, because the kernel
//! gives it again; together with its start time and the boot it does.

use std::{fs, io};

/// A line of `/proc/PID/stat`, as far as it is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) pid: u32,
    /// Its parent.
    pub(crate) parent: u32,
    /// Dead already; only its parent has not taken note.
    pub(crate) zombie: bool,
    /// It runs, would run if a processor were free, or waits for a disk.
    pub(crate) busy: bool,
    /// Clock ticks that it has computed so far.
    pub(crate) ticks: u64,
    /// Its process group.
    pub(crate) group: u32,
    /// Its session.
    pub(crate) session: u32,
    /// Clock ticks from boot to its start.
    pub(crate) start_time: u64,
}

/// The process of that number; `None` where there is none.
pub(crate) fn stat(pid: u32) -> io::Result<Option<Stat>> {
    match fs::read(format!("/proc/{pid}/stat")) {
        Ok(line) => parse(&String::from_utf8_lossy(&line))
            .map(Some)
            .ok_or_else(|| {
                io::Error::other(format!(
                    "/proc/{pid}/stat does not look as documented in proc(5)"
                ))
            }),
        // ESRCH: it ended between open and read.
        Err(error)
            if error.kind() == io::ErrorKind::NotFound
                || error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// All processes that are alive; zombies are not.
pub(crate) fn living() -> io::Result<Vec<Stat>> {
    let mut processes = all()?;
    processes.retain(|process| !process.zombie);
    Ok(processes)
}

/// All processes, dead ones that nobody has taken note of among them.
pub(crate) fn all() -> io::Result<Vec<Stat>> {
    let mut processes = Vec::new();
    for pid in numbers()? {
        processes.extend(stat(pid?)?);
    }
    Ok(processes)
}

/// The numbers of all processes, as the kernel comes to them.
pub(crate) fn numbers() -> io::Result<impl Iterator<Item = io::Result<u32>>> {
    let number = |entry: io::Result<fs::DirEntry>| match entry {
        Ok(entry) => entry.file_name().to_str()?.parse().ok().map(Ok),
        Err(error) => Some(Err(error)),
    };
    Ok(fs::read_dir("/proc")?.filter_map(number))
}

/// What the processes of a group have computed so far, in clock ticks, where none of them is busy now;
/// else `None`.
pub(crate) fn resting(group: u32) -> io::Result<Option<u64>> {
    let mut ticks = 0;
    for process in living()?.iter().filter(|process| process.group == group) {
        if process.busy {
            return Ok(None);
        }
        ticks += process.ticks;
    }
    Ok(Some(ticks))
}

/// Names this boot of the machine and this process number space (a container has its own): within
/// it a process number and a start time are one process.
pub(crate) fn boot() -> io::Result<String> {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let space = fs::read_link("/proc/self/ns/pid")?;
    Ok(format!("{} {}", id.trim(), space.display()))
}

/// Why from the last `)`: the second field is the program's name in parentheses, and a program may
/// have any name.
fn parse(line: &str) -> Option<Stat> {
    let (head, tail) = line.rsplit_once(')')?;
    let pid = head.split_once(' ')?.0.parse().ok()?;
    // From field 3 on: state, parent, group, session, .. the time computed as fields 14 and 15, the
    // start time as field 22.
    let fields: Vec<&str> = tail.split_ascii_whitespace().collect();
    let (group, session): (i64, i64) = (fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?);
    // Why: a process that is being taken away has lost both already, and says -1.
    let gone = group < 0 || session < 0;
    Some(Stat {
        pid,
        parent: fields.get(1)?.parse().ok()?,
        zombie: gone || matches!(*fields.first()?, "Z" | "X"),
        busy: matches!(*fields.first()?, "R" | "D"),
        ticks: fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?,
        group: u32::try_from(group.max(0)).ok()?,
        session: u32::try_from(session.max(0)).ok()?,
        start_time: fields.get(19)?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_may_have_any_name() {
        let line =
            "42 (evil) S 1 (x) Z 1 77 78 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4711 1000 1\n";
        assert_eq!(
            parse(line),
            Some(Stat {
                pid: 42,
                parent: 1,
                zombie: true,
                busy: false,
                ticks: 0,
                group: 77,
                session: 78,
                start_time: 4711
            })
        );
        let leaving = "42 (x) X 0 -1 -1 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4711 1000 1\n";
        assert!(parse(leaving).is_some_and(|stat| stat.zombie && stat.start_time == 4711));
        for broken in ["", "42", "42 (x)", "42 (x) S 1 2"] {
            assert_eq!(parse(broken), None, "{broken}");
        }
    }

    #[test]
    fn this_process_is_found_and_an_impossible_one_is_not() {
        let me = stat(std::process::id()).unwrap().unwrap();
        assert!(me.start_time > 0 && !me.zombie);
        let found = living().unwrap();
        let found = found.iter().find(|stat| stat.pid == me.pid).unwrap();
        assert_eq!(found.start_time, me.start_time);
        // Above the kernel's largest process number (2^22).
        assert_eq!(stat(u32::MAX).unwrap(), None);
        assert_eq!(boot().unwrap(), boot().unwrap());
    }
}
