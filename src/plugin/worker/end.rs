//! The end of a worker: what became of the calls inside.

use std::process::ExitStatus;

use compact_str::CompactString;
use rustix::process::Signal;

use super::{
    super::{Answer, Outcome, Stream, host, pool::End, process},
    DRAIN_READS_MAX, Flight, Kill, Phase, SETTLED, Worker, read_now,
};
use crate::payload::Failure;

impl Worker {
    /// The process is gone or given up: reads what it left, and answers for every call.
    pub(super) fn finish(mut self) -> (End, Vec<Answer>) {
        self.process.signal(Signal::KILL);
        for _ in 0..DRAIN_READS_MAX {
            if self.stdout.is_none() {
                break;
            }
            self.read_answers(read_now);
        }
        for _ in 0..DRAIN_READS_MAX {
            if self.stderr.is_none() {
                break;
            }
            self.read_log(read_now);
        }
        for (stream, mut lines) in [
            (Stream::Stderr, std::mem::take(&mut self.err)),
            (Stream::Stdout, std::mem::take(&mut self.out)),
        ] {
            self.log(stream, lines.take_unfinished());
        }
        if let Some(lines) = self.budget.dropped() {
            self.tell_dropped(lines);
        }
        let status = self.process.reap();
        let how = self.describe(status);
        let mut answers = std::mem::take(&mut self.verdicts);
        let started = self.really_started();
        let suspects = self.judge(status, &how, &mut answers);
        let end = End {
            pid: Some(self.process.pid()),
            how,
            started,
            answered: self.answered,
            expected: self.retiring || self.killed == Some(Kill::Wanted),
            suspects,
            failure: self.init_error.take(),
        };
        (end, answers)
    }

    /// Answers for the calls that were inside; the keys of those that may have killed it.
    fn judge(
        &mut self,
        status: Option<ExitStatus>,
        how: &str,
        answers: &mut Vec<Answer>,
    ) -> Vec<CompactString> {
        let read = self.read_by_worker();
        let flights: Vec<(u64, Flight)> = self.flights.drain().collect();
        let wanted = self.retiring || self.killed == Some(Kill::Wanted);
        let possible: Vec<u64> = flights
            .iter()
            .filter(|(ticket, flight)| match self.killed {
                _ if wanted => false,
                Some(Kill::TimedOut) => false,
                Some(Kill::TooLarge(Some(claimed))) => claimed == *ticket,
                _ => flight.offset < read,
            })
            .map(|(ticket, _)| *ticket)
            .collect();
        let asked = self.killed.is_none() && status.is_some_and(process::was_asked_to_end);
        let mut suspects = Vec::new();
        for (ticket, mut flight) in flights {
            self.pass_cursor_on(ticket, &mut flight);
            let culprit = possible == [ticket] && (!asked || flight.alone);
            if !culprit && possible.contains(&ticket) {
                suspects.push(flight.key.clone());
            }
            let outcome = if culprit {
                Outcome::Failed(self.blame(how))
            } else {
                Outcome::Interrupted
            };
            answers.push(self.answer(ticket, &flight, outcome));
        }
        suspects
    }

    fn blame(&self, how: &str) -> Failure {
        if let Some(Kill::TooLarge(_)) = self.killed {
            return Failure::new(
                "Iterd.AnswerTooLarge",
                format!(
                    "a line of more than {} bytes; answer less, or raise line_bytes_max in plugin.toml",
                    self.post.version.manifest.line_bytes_max
                ),
            );
        }
        Failure::new(
            "Iterd.WorkerExited",
            format!("the worker ended with this as its only item: {how}"),
        )
    }

    fn really_started(&self) -> bool {
        let read = self.read_by_worker();
        let worked = self.answered
            || self.killed.is_some()
            || self.flights.values().any(|flight| flight.offset < read);
        self.phase == Phase::Live && (worked || self.began.elapsed() > SETTLED)
    }

    /// How much of all that was written the worker has taken out of the pipe.
    fn read_by_worker(&self) -> u64 {
        let unread = self
            .stdin
            .as_ref()
            .and_then(|stdin| rustix::io::ioctl_fionread(stdin).ok())
            .unwrap_or(0);
        self.written_total.saturating_sub(unread)
    }

    fn describe(&self, status: Option<ExitStatus>) -> String {
        let ended = status.map_or_else(
            || "killed, and still hanging in the kernel".to_owned(),
            process::describe,
        );
        let why = match self.killed {
            None => "",
            Some(Kill::Wanted) => " (stopped)",
            Some(Kill::TimedOut) => " (time-out)",
            Some(Kill::TooLarge(_)) => " (a line without end)",
            Some(Kill::Silent) => " (it had closed its input or output and lived on)",
            Some(Kill::StartTooSlow) => " (not ready in time)",
        };
        match (&self.refused, &self.init_error, self.tail.text()) {
            (Some(cause), _, _) => cause.clone(),
            (None, Some(failure), _) => host::lambda::in_a_line(failure),
            (None, None, "") => format!("{ended}{why}"),
            (None, None, words) => format!("{ended}{why}; its last words: {words}"),
        }
    }
}
