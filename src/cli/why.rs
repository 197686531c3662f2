//! `iterd why JOB`: why a job stands as it does, in one sentence.

use clap::Args;
use serde_json::json;

use super::{
    client::{self, Access},
    exit::{Code, DONE, Failure},
    jobs,
    session::{Session, print},
    status::why,
};
use crate::time::{Clock as _, SystemClock};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The job's name
    job: String,
}

pub(super) fn main(session: &Session, arguments: &Arguments) -> Result<Code, Failure> {
    let input = client::of_job(&arguments.job);
    let answer = client::call(session, "DescribeJob", input, Access::Read)?;
    let sentence = why::sentence(&answer, SystemClock.now().to_jiff());
    if session.json {
        let kind = ["waits_kind", "limited_kind", "pause_kind"]
            .iter()
            .find_map(|key| answer[key].as_str());
        let until = ["waits_until", "limited_until"]
            .iter()
            .find_map(|key| answer[key].as_str());
        let status = jobs::status(&answer);
        let job = &arguments.job;
        let shown =
            json!({ "job": job, "status": status, "kind": kind, "until": until, "why": sentence });
        print(&shown.to_string())?;
    } else {
        print(&sentence)?;
    }
    Ok(Code(DONE))
}
