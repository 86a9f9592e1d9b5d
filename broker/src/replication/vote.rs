//! Making a group's vote durable, however long the disk is full. Until it is, the group has no
//! leader that needs it; a disk that fails ends the process.

use std::rc::Rc;
use std::time::Duration;

use thalweg_storage::votes::{GroupId, HardState, Votes, VotesSaveError};

use crate::abort::stop_process;

/// How long to wait before a vote is tried again on a full disk.
const FULL_RETRY_AFTER: Duration = Duration::from_secs(1);

/// Begins to save at once; the future resolves when this state or a later one is durable.
pub(crate) fn save(
    votes: &Rc<Votes>,
    group: GroupId,
    state: HardState,
) -> impl Future<Output = ()> + use<> {
    let saved = votes.save(vec![(group, state)]);
    let votes = Rc::clone(votes);
    async move {
        let mut outcome = saved.await;
        while let Err(VotesSaveError::NoSpace) = outcome {
            tokio::time::sleep(FULL_RETRY_AFTER).await;
            // Not what was to be saved then: the group may have voted again meanwhile.
            outcome = votes.save_again(group).await;
        }
        if let Err(error) = outcome {
            stop_process(&format!("a vote could not be made durable: {error}"));
        }
    }
}
