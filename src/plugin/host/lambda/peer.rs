//! The door of the runtime API: lets the runtime in, and the processes that it has started.
//!
//! Owns the listening socket. Whoever connects is looked up once, at the connection, and never again;
//! connections are kept alive, so that a call costs nothing. The kernel knows who has the other end
//! open: `/proc/net/tcp` names the socket's inode, `/proc/PID/fd` the sockets of a process.
//!
//! Why no other way: a port is no secret, since `/proc/net/tcp` shows it to everyone; a user is no
//! identity, since all workers have the same; and a secret in a path is refused by clients, which take
//! `AWS_LAMBDA_RUNTIME_API` for a host and a port, as it is at AWS.
//!
//! Invariant: only descendants of this process come in. Its process group would not do, which every
//! process of the session may join. Landlock lets a worker see its descendants, which are in its domain.

use std::{
    cell::Cell,
    fs, io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

/// How long to wait before each look. Why several: `/proc/PID/task/TID/children` may leave one out while
/// another ends, and `/proc/net/tcp` while others come and go. In all less than anybody notices.
const LOOK_AFTER: [Duration; 4] = [
    Duration::ZERO,
    Duration::from_millis(1),
    Duration::from_millis(10),
    Duration::from_millis(40),
];

/// Connections that are being looked up at the same time; more wait in the socket's queue, so that a
/// stranger who knocks without end uses up neither descriptors nor processors.
const LOOKED_UP_MAX: usize = 2;

/// Processes that are looked at; a runtime with so many descendants is beyond help.
const PROCESSES_MAX: usize = 4096;

/// See the module.
pub(super) struct Door {
    listener: TcpListener,
    lookups: Semaphore,
    /// Somebody has been refused, and the log says so.
    refused: Cell<bool>,
}

impl Door {
    /// Opens one on a loopback port that the kernel chooses.
    pub(super) async fn open() -> io::Result<Self> {
        Ok(Self {
            listener: TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?,
            lookups: Semaphore::new(LOOKED_UP_MAX),
            refused: Cell::new(false),
        })
    }

    /// Host and port, as runtimes are told them.
    pub(super) fn address(&self) -> io::Result<String> {
        Ok(self.listener.local_addr()?.to_string())
    }

    /// The next connection, which [`Door::admit`] has to be asked about. Cancelling loses nothing.
    pub(super) async fn next(&self) -> io::Result<TcpStream> {
        let lookup = self.lookups.acquire().await.map_err(io::Error::other)?;
        let (stream, _) = self.listener.accept().await?;
        lookup.forget();
        Ok(stream)
    }

    /// The connection, if the runtime or a descendant of it has made it. Else it is closed without a
    /// word, and the first one is told to the log.
    pub(super) async fn admit(&self, stream: TcpStream) -> Option<TcpStream> {
        let admitted = is_of_a_descendant(&stream).await;
        self.lookups.add_permits(1);
        if admitted {
            return Some(stream);
        }
        if !self.refused.replace(true) {
            let words =
                "refused a connection to the runtime API: it is of no process of this runtime";
            // Why ok: nobody hears it where standard error is gone.
            io::Write::write_fmt(&mut io::stderr(), format_args!("{words}\n")).ok();
        }
        None
    }
}

async fn is_of_a_descendant(stream: &TcpStream) -> bool {
    let (Ok(local), Ok(remote)) = (stream.peer_addr(), stream.local_addr()) else {
        return false;
    };
    let mut known = None;
    for wait in LOOK_AFTER {
        tokio::time::sleep(wait).await;
        // Why in a thread: the kernel goes through all of its table of connections, which takes it
        // milliseconds on a large machine, and calls under way are not to wait for that.
        let look = tokio::task::spawn_blocking(move || {
            let inode = known.or_else(|| inode(local, remote));
            (inode, inode.is_some_and(has_open))
        });
        match look.await {
            Ok((_, true)) => return true,
            Ok((inode, false)) => known = inode,
            Err(_) => return false,
        }
    }
    false
}

/// Whether a descendant has the socket of this inode open.
fn has_open(inode: u64) -> bool {
    let link = format!("socket:[{inode}]");
    let holder = descendants()
        .into_iter()
        .find(|pid| holds(*pid, Path::new(&link)));
    // Why again: one may have ended when it was looked at, and a stranger have got its number.
    holder.is_some_and(|pid| descendants().contains(&pid))
}

/// The inode of the socket with these addresses; `None` where no process has it open any more.
fn inode(local: SocketAddr, remote: SocketAddr) -> Option<u64> {
    // Why both tables: a socket for IPv6 may talk to an address of IPv4, as those of Java do.
    let (local6, remote6) = (mapped(local), mapped(remote));
    [
        ("/proc/net/tcp", local, remote),
        ("/proc/net/tcp6", local6, remote6),
    ]
    .into_iter()
    .find_map(|(table, local, remote)| inode_in(&fs::read_to_string(table).ok()?, local, remote))
}

/// The inode of a line of the table: the tenth field; the second and the third are the addresses.
fn inode_in(table: &str, local: SocketAddr, remote: SocketAddr) -> Option<u64> {
    let (local, remote) = (written(local), written(remote));
    table.lines().find_map(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        if fields.next()? != local || fields.next()? != remote {
            return None;
        }
        // Why not 0: so are all those that are closed already.
        fields.nth(6)?.parse().ok().filter(|inode| *inode != 0)
    })
}

fn mapped(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    (ip, address.port()).into()
}

/// An address as the tables have it: words of 32 bits as they lie in memory, and the port.
fn written(address: SocketAddr) -> String {
    use std::fmt::Write as _;

    let octets = match address.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let (words, _) = octets.as_chunks::<4>();
    let mut text = String::new();
    for word in words {
        // Why ok: writing to a text cannot fail.
        write!(text, "{:08X}", u32::from_ne_bytes(*word)).ok();
    }
    format!("{text}:{:04X}", address.port())
}

/// The processes below this one, the nearest first.
fn descendants() -> Vec<u32> {
    let mut found = children(std::process::id());
    let mut at = 0;
    while let Some(&pid) = found.get(at) {
        if found.len() >= PROCESSES_MAX {
            break;
        }
        found.extend(children(pid));
        at += 1;
    }
    found
}

/// The children of a process, each of which is the child of one of its threads.
fn children(pid: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task"));
    threads
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok())
        .flat_map(|children| {
            let pids = children.split_ascii_whitespace();
            pids.filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()
        })
        .collect()
}

/// Whether a process has open what its descriptors show so.
fn holds(pid: u32, link: &Path) -> bool {
    let open = fs::read_dir(format!("/proc/{pid}/fd"));
    open.into_iter()
        .flatten()
        .flatten()
        .any(|descriptor| fs::read_link(descriptor.path()).is_ok_and(|found| found == link))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:07E8 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1135 1 0 100 0 0 10 0
   1: 0100007F:07E8 0100007F:C0D8 01 00000000:00000000 00:00000000 00000000     0        0 4243 1 0 20 4 1 75 -1
   2: 0100007F:C0D8 0100007F:07E8 01 00000000:00000000 00:00000000 00000000  1000        0 4244 1 0 20 4 1 75 -1
   3: 0100007F:C0D9 0100007F:07E8 06 00000000:00000000 03:00000F3A 00000000     0        0 0 3 0
   4: 0000000000000000FFFF00000100007F:C0DA 0000000000000000FFFF00000100007F:07E8 01 00000000:00000000 00:00000000 00000000 0 0 4245 1 0 20 4 1 75 -1
";

    fn at(port: u16) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, port).into()
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn a_socket_is_found_by_both_of_its_addresses() {
        for (local, remote, inode) in [
            (0xC0D8, 0x07E8, Some(4244)),
            (0x07E8, 0xC0D8, Some(4243)),
            (0xC0D9, 0x07E8, None),
            (0xC0D8, 0x07E9, None),
        ] {
            assert_eq!(inode_in(TABLE, at(local), at(remote)), inode, "{local:x}");
        }
        let (local, remote) = (mapped(at(0xC0DA)), mapped(at(0x07E8)));
        assert_eq!(inode_in(TABLE, local, remote), Some(4245));
    }

    #[tokio::test]
    async fn a_process_is_no_descendant_of_itself() {
        let door = Door::open().await.unwrap();
        let address = door.address().unwrap();
        let stranger = TcpStream::connect(address).await.unwrap();
        let (local, remote) = (stranger.local_addr(), stranger.peer_addr());
        let inode = inode(local.unwrap(), remote.unwrap()).expect("it is open");
        let link = format!("socket:[{inode}]");
        assert!(holds(std::process::id(), Path::new(&link)));
        let stream = door.next().await.unwrap();
        assert!(door.admit(stream).await.is_none());
        assert_eq!(door.lookups.available_permits(), LOOKED_UP_MAX);
        let mut rest = [0];
        let read = tokio::io::AsyncReadExt::read(&mut { stranger }, &mut rest).await;
        assert_eq!(read.unwrap(), 0, "it is closed");
    }
}
