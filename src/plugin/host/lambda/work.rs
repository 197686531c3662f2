//! The worker's loop: starts the runtime, listens for it, and ends with it.
//!
//! Owns the child and the clock of the function's own timeout. It kills nobody but a runtime that waits
//! for a call when there are no more: when the worker ends, the pool ends all that is left of its
//! process group.

use std::{
    future::pending,
    io,
    os::fd::AsFd as _,
    process::{Child, Command, ExitCode, ExitStatus, Stdio},
    rc::Rc,
    time::{Duration, Instant},
};

use rustix::{
    fd::OwnedFd,
    process::{Pid, PidfdFlags, pidfd_open},
};
use tokio::{
    io::unix::AsyncFd,
    net::TcpStream,
    task::{JoinSet, LocalSet},
};

use super::{
    Settings, api,
    desk::{Desk, End},
    peer::Door,
    told,
};
use crate::plugin::{process::was_asked_to_end, worker::watched};

/// What a runtime that has ended may have left in its connections is taken in for so long.
const LAST_WORDS: Duration = Duration::from_millis(250);

/// A runtime that said why it cannot start has so long to end.
const INIT_ERROR_LEAVE: Duration = Duration::from_secs(2);

/// What a shell says of a process that was asked to end: 128 and the number of SIGTERM.
const ASKED_TO_END: u8 = 143;

/// Works until there are no more calls or no more runtime; an error is for people.
pub(super) fn serve(command: &mut Command, settings: Settings) -> io::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, work(command, settings))
}

async fn work(command: &mut Command, settings: Settings) -> io::Result<ExitCode> {
    let door = Rc::new(Door::open().await?);
    let desk = Rc::new(Desk::new(settings)?);
    let mut runtime = Runtime::start(command, &door.address()?)?;
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            stream = door.next() => {
                connections.spawn_local(welcome(stream?, Rc::clone(&door), Rc::clone(&desk)));
            }
            Some(_) = connections.join_next() => {}
            status = runtime.ended() => {
                let rest = async { while connections.join_next().await.is_some() {} };
                // Why ok: what is not in by then is of a grandchild that lives on.
                tokio::time::timeout(LAST_WORDS, rest).await.ok();
                return has_ended(&desk, status?);
            }
            () = until(desk.deadline()) => return Err(time_is_over(&desk)),
            () = desk.changed.notified() => {
                if let Some(end) = desk.take_end() {
                    return match end {
                        End::InputEnded => runtime.kill().map(|()| ExitCode::SUCCESS),
                        End::Broken(error) => Err(error),
                    };
                }
                if let Some(failure) = desk.init_error() {
                    // Why ok: it has said why, and whether it goes by itself matters to nobody.
                    tokio::time::timeout(INIT_ERROR_LEAVE, runtime.ended()).await.ok();
                    return Err(io::Error::other(super::in_a_line(&failure)));
                }
            }
        }
    }
}

/// Serves a connection, if it is the runtime's.
async fn welcome(stream: TcpStream, door: Rc<Door>, desk: Rc<Desk>) {
    if let Some(stream) = door.admit(stream).await {
        // Why ok: it is only slower without.
        stream.set_nodelay(true).ok();
        api::serve(stream, desk).await;
    }
}

/// The runtime has ended: whoever waits for it is told.
fn has_ended(desk: &Desk, status: ExitStatus) -> io::Result<ExitCode> {
    if was_asked_to_end(status) {
        // Why nobody is told: whoever stops a group stops this worker too, and its call was not to blame.
        return Ok(ExitCode::from(ASKED_TO_END));
    }
    if desk.is_under_way() {
        desk.ends_with(|request| told::exited(request, status));
    } else if !desk.is_ready() {
        let request = told::uuid(&rand::random::<[u8; 16]>());
        // Why ok: the runtime may have said why already, and better.
        desk.cannot_start(told::exited(&request, status)).ok();
    }
    Err(io::Error::other(match desk.init_error() {
        Some(failure) => super::in_a_line(&failure),
        None => told::how_exited(status),
    }))
}

/// The function's own time is over: its call is told so.
fn time_is_over(desk: &Desk) -> io::Error {
    let after = desk.settings.timeout.unwrap_or_default();
    desk.ends_with(|request| told::timed_out(request, after));
    io::Error::other(told::how_timed_out(after))
}

/// The runtime's process.
struct Runtime {
    child: Child,
    end: AsyncFd<OwnedFd>,
}

impl Runtime {
    fn start(command: &mut Command, address: &str) -> io::Result<Self> {
        let log = || io::stderr().as_fd().try_clone_to_owned();
        let child = command
            .env("AWS_LAMBDA_RUNTIME_API", address)
            .stdin(Stdio::null())
            .stdout(log()?)
            .stderr(log()?)
            .spawn()
            .map_err(|error| {
                let program = command.get_program().display();
                io::Error::other(format!("cannot execute {program}: {error}"))
            })?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let end = pidfd_open(pid.ok_or(io::ErrorKind::NotFound)?, PidfdFlags::NONBLOCK)?;
        let end = watched(end)?;
        Ok(Self { child, end })
    }

    /// Ends it, where there is nothing more for it: AWS does not ask a runtime to end either. Why before
    /// its connections close: each runtime would tell the log of that as an error.
    fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(|_| ())
    }

    /// How it ended, when it has.
    async fn ended(&mut self) -> io::Result<ExitStatus> {
        // Why the result is nothing: what is wrong with the descriptor, `wait` finds out.
        drop(self.end.readable().await);
        self.child.wait()
    }
}

async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant.into()).await,
        None => pending().await,
    }
}
