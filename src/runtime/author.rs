//! Who stands behind what is being done, for the events that it leaves.
//!
//! The author goes along with the work of a request, as a span goes along with its log lines, so that
//! every event written for it names them. Invariant: it is for what is written down alone; nobody is
//! judged by it. What runs in a task of its own has no author unless it is told.

tokio::task_local! {
    static AUTHOR: String;
}

/// Does `work` on behalf of somebody; an empty name is nobody's.
pub async fn on_behalf_of<F: Future>(author: String, work: F) -> F::Output {
    AUTHOR.scope(author, work).await
}

/// On whose behalf this is done; `None`: it comes about by itself.
pub(super) fn author() -> Option<String> {
    let author = AUTHOR.try_with(Clone::clone).ok();
    author.filter(|author| !author.is_empty())
}
