//! A command for each item: a worker of ours that runs it.
//!
//! The item is the command's standard input, as one line of JSON, and its top-level fields are
//! `ITEM_*` environment variables; the call is told in `ITERD_KEY`, `ITERD_ATTEMPT`, `ITERD_INDEX`
//! and `ITERD_ID`. What the command prints is the result: JSON where it is JSON, else its text
//! without the last newline. An exit status other than 0 is the failure `Iterd.CommandFailed`, with
//! the last words on standard error as its cause.
//!
//! Invariant: no data becomes part of a command line or of a shell's text.
//!
//! Why a worker that stays: its process group is recorded and tied to the daemon once, not for
//! every item, and each command lives in that group.

use std::{
    collections::HashSet,
    fs::File,
    io::{self, BufRead as _, Read, Write},
    os::fd::{AsFd as _, BorrowedFd},
    process::{Child, Command, ExitStatus, Stdio},
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    process::{Pid, PidfdFlags, pidfd_open},
};
use serde::{Deserialize, Serialize};

use super::served::{self, READY, Request};
use crate::{
    payload::Failure,
    plugin::{lines::Tail, process::describe, protocol::push_one_line},
};

/// Longest value of one variable, in bytes; the kernel's bound is 128 KiB with the name.
const VARIABLE_BYTES_MAX: usize = 64 << 10;

/// Longest `ITEM_*` variables together: the kernel gives arguments and environment a quarter of
/// the stack's limit, 2 MiB usually, and the command may want some itself.
const VARIABLES_BYTES_MAX: usize = 512 << 10;

/// Read at once.
const READ_BYTES: usize = 64 << 10;

/// How commands are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Settings {
    /// Longest output of a command.
    pub(crate) output_bytes_max: usize,
}

/// How a command ended.
struct Run {
    status: ExitStatus,
    output: Vec<u8>,
    /// The output was longer than allowed, and the command was killed.
    too_large: bool,
    words: Tail,
}

/// Serves calls until standard input ends. The command is complete but for each item's variables.
pub(crate) fn serve(command: &mut Command, settings: Settings) -> io::Result<()> {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let output_bytes_max = settings.output_bytes_max;
    let mut out = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    out.write_all(READY)?;
    let mut line = Vec::new();
    let mut input = io::stdin().lock();
    let mut set_before = Vec::new();
    loop {
        line.clear();
        if input.read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        let request: Request = serde_json::from_slice(&line)?;
        for name in set_before.drain(..) {
            command.env_remove(name);
        }
        for (name, value) in variables(&request) {
            command.env(&name, value);
            set_before.push(name);
        }
        let run = run(command, request.item.get(), output_bytes_max);
        out.write_all(&answer(&request, run, output_bytes_max))?;
    }
}

/// The answer's line.
fn answer(request: &Request, run: io::Result<Run>, output_bytes_max: usize) -> Vec<u8> {
    let failed = |error: &str, cause: &str| served::failed(request.id, &Failure::new(error, cause));
    match run {
        Err(error) => failed(
            "Iterd.CommandFailed",
            &format!("cannot run the command: {error}"),
        ),
        Ok(run) if run.too_large => {
            let cause = format!(
                "the command printed more than {output_bytes_max} bytes; print less, or raise line_bytes_max in plugin.toml"
            );
            failed("Iterd.AnswerTooLarge", &cause)
        }
        Ok(run) if !run.status.success() => {
            let mut cause = describe(run.status);
            if !run.words.text().is_empty() {
                cause.push_str(": ");
                cause.push_str(run.words.text());
            }
            failed("Iterd.CommandFailed", &cause)
        }
        Ok(run) => served::done_with_text(request.id, run.output),
    }
}

/// The variables that tell the call. A field that is too large for a variable is left out and named
/// in `ITERD_OMITTED`; standard input has it.
fn variables(request: &Request) -> Vec<(String, String)> {
    let mut variables = vec![
        ("ITERD_KEY".to_owned(), request.key.replace('\0', "")),
        ("ITERD_ATTEMPT".to_owned(), request.attempt.to_string()),
        ("ITERD_INDEX".to_owned(), request.index.to_string()),
    ];
    if let Some(id) = &request.item_id {
        variables.push(("ITERD_ID".to_owned(), id.replace('\0', "")));
    }
    let Ok(serde_json::Value::Object(fields)) = serde_json::from_str(request.item.get()) else {
        return variables;
    };
    let mut taken = HashSet::new();
    let mut omitted = Vec::new();
    let mut bytes = 0;
    for (field, value) in fields {
        let name = variable_name(&field);
        let text = value
            .as_str()
            .map_or_else(|| value.to_string(), |text| text.replace('\0', ""));
        let size = name.len() + text.len();
        if size > VARIABLE_BYTES_MAX || bytes + size > VARIABLES_BYTES_MAX {
            omitted.push(name);
        } else if taken.insert(name.clone()) {
            bytes += size;
            variables.push((name, text));
        }
    }
    if !omitted.is_empty() {
        let mut names = omitted.join(" ");
        names.truncate(VARIABLE_BYTES_MAX);
        variables.push(("ITERD_OMITTED".to_owned(), names));
    }
    variables
}

/// `customer-id` becomes `ITEM_CUSTOMER_ID`. Of two fields with one name, the first is kept.
pub(crate) fn variable_name(field: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_uppercase()
        } else {
            '_'
        }
    };
    "ITEM_".chars().chain(field.chars().map(plain)).collect()
}

/// Runs the command for one item.
fn run(command: &mut Command, item: &str, output_bytes_max: usize) -> io::Result<Run> {
    let mut child = command.spawn()?;
    let result = converse(&mut child, item, output_bytes_max);
    if result.is_err() {
        child.kill().ok();
    }
    let (output, too_large, words) = match result {
        Ok(told) => told,
        Err(error) => {
            child.wait()?;
            return Err(error);
        }
    };
    Ok(Run {
        status: child.wait()?,
        output,
        too_large,
        words,
    })
}

/// Writes the item and reads what is printed, until the command itself has ended. What it left
/// running keeps neither the item nor the next one waiting; it ends with this worker.
fn converse(
    child: &mut Child,
    item: &str,
    output_bytes_max: usize,
) -> io::Result<(Vec<u8>, bool, Tail)> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let ended = pidfd_open(pid.ok_or(io::ErrorKind::NotFound)?, PidfdFlags::empty())?;
    let mut input = Vec::with_capacity(item.len() + 1);
    push_one_line(item, &mut input);
    input.push(b'\n');
    let mut stdin = child.stdin.take().map(|pipe| (pipe, input.as_slice()));
    let (mut stdout, mut stderr) = (child.stdout.take(), child.stderr.take());
    let pipes = [
        stdin.as_ref().map(|(pipe, _)| pipe.as_fd()),
        stdout.as_ref().map(|pipe| pipe.as_fd()),
        stderr.as_ref().map(|pipe| pipe.as_fd()),
    ];
    for pipe in pipes.into_iter().flatten() {
        rustix::io::ioctl_fionbio(pipe, true)?;
    }
    let mut output = Vec::new();
    let mut words = Tail::default();
    loop {
        let done = wait(
            ended.as_fd(),
            stdin.as_ref().map(|(pipe, _)| pipe.as_fd()),
            [
                stdout.as_ref().map(|pipe| pipe.as_fd()),
                stderr.as_ref().map(|pipe| pipe.as_fd()),
            ],
        )?;
        if let Some((pipe, rest)) = &mut stdin
            && (!give(pipe, rest) || rest.is_empty())
        {
            stdin = None;
        }
        // Why after `done` was seen: what the command printed is in the pipes by then.
        if !take(
            &mut stdout,
            |bytes| output.extend_from_slice(bytes),
            output_bytes_max,
            done,
        ) {
            stdout = None;
        }
        let pass_on = |bytes: &[u8]| {
            io::stderr().write_all(bytes).ok();
            words.push(String::from_utf8_lossy(bytes).trim_end_matches('\n'));
        };
        if !take(&mut stderr, pass_on, usize::MAX, done) {
            stderr = None;
        }
        if output.len() > output_bytes_max {
            child.kill()?;
            return Ok((Vec::new(), true, words));
        }
        if done {
            return Ok((output, false, words));
        }
    }
}

/// Waits until there is something to do; whether the command has ended.
fn wait(
    ended: BorrowedFd<'_>,
    writable: Option<BorrowedFd<'_>>,
    readable: [Option<BorrowedFd<'_>>; 2],
) -> io::Result<bool> {
    let mut descriptors = vec![PollFd::from_borrowed_fd(ended, PollFlags::IN)];
    descriptors.extend(writable.map(|pipe| PollFd::from_borrowed_fd(pipe, PollFlags::OUT)));
    descriptors.extend(
        readable
            .into_iter()
            .flatten()
            .map(|pipe| PollFd::from_borrowed_fd(pipe, PollFlags::IN)),
    );
    match poll(&mut descriptors, None) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(errno) => return Err(errno.into()),
    }
    Ok(!descriptors[0].revents().is_empty())
}

/// Writes as much as fits; whether the pipe can take more later.
fn give(pipe: &mut impl Write, rest: &mut &[u8]) -> bool {
    while !rest.is_empty() {
        match pipe.write(rest) {
            Ok(count) => *rest = &rest[count..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
            // A command need not read its item.
            Err(_) => return false,
        }
    }
    true
}

/// Reads once, or at the end all that is there up to the bound; whether there may be more.
fn take(
    pipe: &mut Option<impl Read>,
    mut keep: impl FnMut(&[u8]),
    bytes_max: usize,
    all: bool,
) -> bool {
    let Some(pipe) = pipe else {
        return false;
    };
    let mut room = vec![0; READ_BYTES];
    // Why a bound at the end too: something left running may print for ever.
    let reads_max = if all {
        2 + (1 << 20).min(bytes_max) / READ_BYTES
    } else {
        1
    };
    for _ in 0..reads_max {
        match pipe.read(&mut room) {
            Ok(0) => return false,
            Ok(count) => keep(&room[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
            Err(_) => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(item: &str) -> Vec<(String, String)> {
        let line = format!(
            r#"{{"id":1,"item":{item},"attempt":2,"key":"k","index":7,"item_id":"C\u00001"}}"#
        );
        variables(&serde_json::from_str(&line).unwrap())
    }

    fn value<'a>(variables: &'a [(String, String)], name: &str) -> Option<&'a str> {
        variables
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    #[test]
    fn fields_become_variables_and_hostile_ones_only_values() {
        let variables = request(
            r#"{"customer-id":"C-1","PATH":"/evil","n":1.5,"o":{"a":[1]},"nul":"a\u0000b","customer_id":"second"}"#,
        );
        for (name, expected) in [
            ("ITEM_CUSTOMER_ID", Some("C-1")),
            ("ITEM_PATH", Some("/evil")),
            ("PATH", None),
            ("ITEM_N", Some("1.5")),
            ("ITEM_O", Some(r#"{"a":[1]}"#)),
            ("ITEM_NUL", Some("ab")),
            ("ITERD_KEY", Some("k")),
            ("ITERD_ATTEMPT", Some("2")),
            ("ITERD_INDEX", Some("7")),
            ("ITERD_ID", Some("C1")),
            ("ITERD_OMITTED", None),
        ] {
            assert_eq!(value(&variables, name), expected, "{name}");
        }
        assert_eq!(request("[1]").len(), 4);
    }

    #[test]
    fn fields_that_are_too_large_are_left_out_and_named() {
        let variables = request(&format!(
            r#"{{"big":"{}","small":"x"}}"#,
            "x".repeat(1 << 20)
        ));
        assert_eq!(value(&variables, "ITEM_BIG"), None);
        assert_eq!(value(&variables, "ITEM_SMALL"), Some("x"));
        assert_eq!(value(&variables, "ITERD_OMITTED"), Some("ITEM_BIG"));
    }

    fn ran(script: &str, item: &str) -> String {
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", script])
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let line = format!(r#"{{"id":1,"item":{item},"attempt":1,"key":"k","index":7}}"#);
        let request: Request = serde_json::from_str(&line).unwrap();
        let run = run(&mut command, request.item.get(), 1000);
        String::from_utf8(answer(&request, run, 1000))
            .unwrap()
            .trim_end()
            .to_owned()
    }

    #[test]
    fn what_a_command_prints_is_the_result() {
        for (script, expected) in [
            ("cat", r#"{"id":1,"result":{"a": "b c"}}"#),
            ("printf '{\n\"a\": 1}\n'", r#"{"id":1,"result":{ "a": 1}}"#),
            ("echo hello", r#"{"id":1,"result":"hello"}"#),
            ("echo NaN", r#"{"id":1,"result":"NaN"}"#),
            ("printf 'a\"b\\n\\n'", r#"{"id":1,"result":"a\"b\n"}"#),
            (":", r#"{"id":1,"result":""}"#),
            (
                "echo no >&2; exit 3",
                r#"{"id":1,"error":"Iterd.CommandFailed","cause":"exit status 3: no"}"#,
            ),
            (
                "kill -9 $$",
                r#"{"id":1,"error":"Iterd.CommandFailed","cause":"killed by SIGKILL"}"#,
            ),
        ] {
            assert_eq!(ran(script, r#"{"a": "b c"}"#), expected, "{script}");
        }
        assert!(ran("yes", "1").contains("Iterd.AnswerTooLarge"));
    }

    #[test]
    fn what_a_command_leaves_running_keeps_nobody_waiting() {
        let answer = ran("sleep 300 & echo $!", "1");
        let pid = answer
            .trim_start_matches(r#"{"id":1,"result":"#)
            .trim_end_matches('}');
        let left = Pid::from_raw(pid.parse().unwrap()).unwrap();
        rustix::process::kill_process(left, rustix::process::Signal::KILL).unwrap();
    }

    #[test]
    fn an_item_larger_than_a_pipe_is_read_or_not_as_the_command_likes() {
        let item = format!("\"{}\"", "x".repeat(1 << 20));
        assert_eq!(
            ran("wc -c", &item),
            format!("{{\"id\":1,\"result\":{}}}", item.len() + 1)
        );
        assert_eq!(ran("echo 1", &item), r#"{"id":1,"result":1}"#);
    }
}
