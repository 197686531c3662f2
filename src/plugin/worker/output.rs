//! What a worker's process prints: answers, reports, log lines.

use std::{io, time::Instant};

use tokio::net::unix::pipe;

use super::{
    super::{
        Event, Outcome, Stream, host,
        launch::Report,
        lines::{LOG_LINE_BYTES_MAX, Progress},
        protocol::{self, Line},
        sandbox::Confinement,
    },
    Kill, LOG_ITEMS_MAX, PROBATION, Phase, Worker,
};
use crate::plugin::Answer;

/// How a pipe is read without waiting: `try_read` where it was said to be readable.
pub(super) type ReadPipe = fn(&pipe::Receiver, &mut [u8]) -> io::Result<usize>;

/// Reads whatever is there. Why not `try_read`: that asks tokio, which may not have heard of the last
/// bytes yet.
pub(super) fn read_now(pipe: &pipe::Receiver, room: &mut [u8]) -> io::Result<usize> {
    Ok(rustix::io::read(pipe, room)?)
}

impl Worker {
    pub(super) fn read_answers(&mut self, read: ReadPipe) {
        let Some(stdout) = &self.stdout else {
            return;
        };
        let progress = self.out.read(|room| read(stdout, room));
        if progress == Progress::End {
            self.stdout = None;
            self.expect_end(Kill::Silent);
        }
        let mut lines = std::mem::take(&mut self.out);
        let mut answers = Vec::new();
        while let Some(line) = lines.next() {
            self.take_line(line, &mut answers);
        }
        let bytes_max = self.post.version.manifest.line_bytes_max;
        let unfinished = lines.unfinished();
        if unfinished.len() > bytes_max {
            let claimed = protocol::claimed_ticket(unfinished);
            lines.take_unfinished();
            self.stdout = None;
            self.kill(Kill::TooLarge(claimed));
        }
        self.out = lines;
        if !answers.is_empty() {
            self.answered = true;
            self.post.shared.answered(self.post.id, answers);
            self.leave_if_idle();
        }
    }

    fn take_line(&mut self, line: &[u8], answers: &mut Vec<Answer>) {
        if self.phase == Phase::Launching {
            return self.take_report(line);
        }
        match protocol::decode(line, |ticket| self.flights.contains_key(&ticket)) {
            Line::Answer {
                ticket,
                outcome,
                last,
            } => {
                if let Some(mut flight) = self.flights.remove(&ticket) {
                    let outcome = match outcome {
                        Ok(result) => Outcome::Done(result),
                        Err(failure) => {
                            self.pass_cursor_on(ticket, &mut flight);
                            Outcome::Failed(failure)
                        }
                    };
                    let answer = self.answer(ticket, &flight, outcome);
                    if last {
                        // Why it waits for the end: whoever hears it may hand over the next call at once.
                        self.answered = true;
                        self.verdicts.push(answer);
                        self.expect_end(Kill::Wanted);
                    } else {
                        answers.push(answer);
                    }
                }
            }
            Line::Heartbeat { ticket, cursor } => self.take_heartbeat(ticket, cursor),
            Line::Ready if self.phase != Phase::Live => self.go_live(),
            Line::InitError(failure) if self.phase == Phase::Warming => {
                self.init_error = Some(failure);
            }
            Line::Ready | Line::InitError(_) | Line::Log => self.log(Stream::Stdout, line),
        }
    }

    /// The launcher's line: what is expected of the program that follows it.
    fn take_report(&mut self, line: &[u8]) {
        let version = &self.post.version;
        match serde_json::from_slice(line) {
            Ok(Report::Starting { confinement }) => {
                if let Confinement::Less(why) = confinement {
                    self.post.shared.tell_unconfined(version.number, why);
                }
                if host::says_ready(&version.manifest) {
                    self.phase = Phase::Warming;
                } else if self.post.shared.is_proven(version) {
                    self.go_live();
                } else {
                    let now = Instant::now();
                    self.phase = Phase::Proving;
                    self.phase_ends = Some(now + PROBATION);
                    self.proving = Some((now, None));
                }
            }
            Ok(Report::Refused { cause }) => self.refused = Some(cause),
            Err(_) => self.log(Stream::Stdout, line),
        }
    }

    pub(super) fn read_log(&mut self, read: ReadPipe) {
        let Some(stderr) = &self.stderr else {
            return;
        };
        if self.err.read(|room| read(stderr, room)) == Progress::End {
            self.stderr = None;
        }
        let mut lines = std::mem::take(&mut self.err);
        while let Some(line) = lines.next() {
            self.log(Stream::Stderr, line);
        }
        if lines.unfinished().len() > LOG_LINE_BYTES_MAX {
            self.log(Stream::Stderr, lines.take_unfinished());
        }
        self.err = lines;
    }

    pub(super) fn log(&mut self, stream: Stream, line: &[u8]) {
        for piece in line.chunks(LOG_LINE_BYTES_MAX) {
            let text = String::from_utf8_lossy(piece);
            self.tail.push(&text);
            let (admitted, dropped) = self.budget.admit(Instant::now(), piece.len());
            if let Some(lines) = dropped {
                self.tell_dropped(lines);
            }
            if admitted {
                let items = self.flights.values().take(LOG_ITEMS_MAX);
                self.post.shared.tell(Event::Log {
                    pid: self.process.pid(),
                    version: self.post.version.number,
                    stream,
                    items: items.map(|flight| flight.item.clone()).collect(),
                    line: text.into_owned(),
                });
            }
        }
    }

    pub(super) fn tell_dropped(&self, lines: u64) {
        self.post.shared.tell(Event::LogsDropped {
            pid: self.process.pid(),
            lines,
        });
    }
}
