//! What whoever has a task's token says of it.

use serde_json::Value;

use super::nothing;
use crate::{
    api::{Api, ApiError, Fault},
    runtime::TaskAnswer,
};

/// Hands an answer to the task that a token stands for.
pub(super) async fn give(api: &Api, token: &str, answer: TaskAnswer) -> Result<Value, ApiError> {
    let engine = api.engine()?;
    let token = engine
        .task_token(token)
        .ok_or_else(|| ApiError::states(Fault::InvalidToken, "Invalid Token: 'Invalid token'"))?;
    if engine.answer_task(token, answer).await? {
        return Ok(nothing());
    }
    let message = "Task Timed Out: 'Provided task does not exist anymore'";
    Err(ApiError::states(Fault::TaskTimedOut, message))
}
