//! The cluster image and group 0's members as of one index, saved so that the log before it can go,
//! and sent to brokers that need what has gone.
//!
//! There are two files, written in turn, and the log keeps what comes after the older one: a file
//! that cannot be read costs a longer start and nothing else.
//!
//! A broker that gets an image from the active controller notes down that its log is to begin
//! there, then lets it begin there, then says so in both files. A start that finds the note carries
//! on.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thalweg_storage::atomic_file;
use thalweg_storage::log::LogIdentity;
use thalweg_storage::{Beginning, begin_at};
use tracing::{error, info, warn};

use super::image::Image;
use super::{
    CONTROLLER_GROUP, Controller, OpenControllerError, ProposeError, SAVE_AGAIN_AFTER, open_group,
    open_log,
};
use crate::abort::{AbortOnPanic, stop_process};
use crate::partition::Environment;
use crate::replication::membership::Members;
use crate::replication::outgoing::GroupMessage;
use crate::replication::vote;

const FILES: [&str; 2] = ["image-0.snap", "image-1.snap"];

/// What is saved, and sent.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Saved {
    pub(super) image: Image,
    /// Absent where nothing was ever saved.
    pub(super) members: Option<Members>,
    /// Index and term of the last entry dealt with.
    pub(super) applied: u64,
    pub(super) term: u32,
    /// The log has to begin after that entry; not done yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    begins_log: bool,
}

/// Index of the last entry dealt with, and of the change that made the members: they are saved
/// before they are in force, so one index may be saved with either. Zero for a file that cannot be
/// used.
type Age = (u64, u64);

impl Saved {
    /// The same, with the note that the log is to begin after it.
    fn noted(&self) -> Saved {
        Saved { begins_log: true, ..self.clone() }
    }

    fn age(&self) -> Age {
        (self.applied, self.members.as_ref().map_or(0, |members| members.index))
    }
}

/// The two files.
pub(super) struct Snapshots {
    env: Rc<Environment>,
    dir: PathBuf,
    /// As of when each file is.
    ages: [Cell<Age>; 2],
    /// One writer at a time.
    turn: tokio::sync::Mutex<()>,
}

impl Snapshots {
    /// Reads what was saved last, after carrying on what a crash has interrupted.
    ///
    /// # Errors
    /// When the log cannot be made to begin where a note says. Files that cannot be read are only
    /// reported: the log tells whether it goes without them.
    pub(super) async fn load(
        env: &Rc<Environment>,
        dir: &Path,
    ) -> Result<(Snapshots, Saved), OpenControllerError> {
        let snapshots = Snapshots {
            env: Rc::clone(env),
            dir: dir.to_owned(),
            ages: Default::default(),
            turn: tokio::sync::Mutex::default(),
        };
        let mut found = Vec::new();
        for (slot, age) in snapshots.ages.iter().enumerate() {
            if let Some(saved) = snapshots.read(slot).await {
                age.set(saved.age());
                found.push(saved);
            }
        }
        let noted = found.iter().any(|saved| saved.begins_log);
        let newest = found.into_iter().max_by_key(|saved| (saved.age(), !saved.begins_log));
        let Some(mut newest) = newest else { return Ok((snapshots, Saved::default())) };
        if noted {
            let failed = |why: String| OpenControllerError::Snapshot(why);
            // A process that was killed may have left a name that the disk has never seen.
            let synced = env.disk.sync_dir(dir).await;
            synced.map_err(|error| failed(format!("{}: {error}", dir.display())))?;
            newest = snapshots.begin_log(newest).await.map_err(failed)?;
        }
        Ok((snapshots, newest))
    }

    async fn read(&self, slot: usize) -> Option<Saved> {
        let path = self.dir.join(FILES[slot]);
        let json = match atomic_file::read(&*self.env.disk, &path).await {
            Ok(json) => json?,
            Err(error) => {
                warn!(path = %path.display(), %error, "unusable snapshot of the cluster's image");
                return None;
            }
        };
        let saved = serde_json::from_slice(&json);
        saved
            .inspect_err(|error| {
                warn!(path = %path.display(), %error, "unusable snapshot of the cluster's image");
            })
            .ok()
    }

    /// Saves, and returns the first index that the log has to keep; the error is for people.
    async fn save(&self, saved: &Saved) -> Result<u64, String> {
        let [first, second] = &self.ages;
        let slot = usize::from(second.get() < first.get());
        self.write(slot, saved).await?;
        let (applied, _) = first.get().min(second.get());
        Ok(applied + 1)
    }

    async fn write(&self, slot: usize, saved: &Saved) -> Result<(), String> {
        let json = match serde_json::to_vec(saved) {
            Ok(json) => json,
            Err(error) => unreachable!("an image is plain data: {error}"),
        };
        let path = self.dir.join(FILES[slot]);
        let written = atomic_file::write(&*self.env.disk, &path, &json).await;
        written.map_err(|error| format!("{}: {error}", path.display()))?;
        self.ages[slot].set(saved.age());
        Ok(())
    }

    /// Lets the log begin where the note says, if it does not yet. The log must not be open.
    async fn begin_log(&self, saved: Saved) -> Result<Saved, String> {
        if saved.begins_log {
            let beginning =
                Beginning { index: saved.applied + 1, prev_term: saved.term, offset: 0 };
            let begun = begin_at(&self.env.disk, &self.dir, IDENTITY, beginning).await;
            begun.map_err(|error| format!("{}: {error}", self.dir.display()))?;
        }
        let saved = Saved { begins_log: false, ..saved };
        // As long as a note stands, the next start clears the log again.
        for slot in 0..FILES.len() {
            self.write(slot, &saved).await?;
        }
        Ok(saved)
    }
}

/// The home of group 0's log.
pub(super) const IDENTITY: LogIdentity =
    LogIdentity { topic: CONTROLLER_GROUP.topic, partition: 0 };

impl Controller {
    /// What there is to save: all of it as of the same index.
    fn saved_now(&self) -> Saved {
        let applied = self.state.borrow().applied;
        Saved {
            image: Image::clone(&self.node.images.load()),
            members: Some(self.group.borrow().members().clone()),
            applied,
            term: self.log().term(applied).unwrap_or_default(),
            begins_log: false,
        }
    }

    /// Starts saving if enough has been applied since the last time.
    pub(super) fn maybe_save_snapshot(self: &Rc<Self>) {
        let bytes_max = self.node.config().kafka.metadata_bytes_between_snapshots;
        let mut state = self.state.borrow_mut();
        if state.unsaved_bytes < bytes_max {
            return;
        }
        state.unsaved_bytes = 0;
        drop(state);
        let controller = Rc::clone(self);
        tokio::task::spawn_local(async move {
            if let Err(error) = controller.save_snapshot(None).await {
                warn!(error, "saving the cluster image failed");
            }
        });
    }

    /// Saves the image, with these members if they are about to change, and lets go of the log that
    /// is not needed any more.
    pub(super) async fn save_snapshot(&self, members: Option<&Members>) -> Result<(), String> {
        let _turn = self.snapshots.turn.lock().await;
        let mut saved = self.saved_now();
        if let Some(members) = members {
            saved.members = Some(members.clone());
        }
        let keep_from = self.snapshots.save(&saved).await?;
        if let Err(error) = self.log().advance_first_index(keep_from).await {
            warn!(%error, keep_from, "cutting the controller's log");
        }
        Ok(())
    }

    /// Gives the image to whoever needs entries that this log no longer has.
    pub(super) fn offer_image(&self) {
        let saved = self.saved_now();
        match serde_json::to_vec(&saved) {
            Ok(json) => self.group.borrow_mut().offer_snapshot(saved.applied, Bytes::from(json)),
            Err(error) => unreachable!("an image is plain data: {error}"),
        }
    }

    /// Begins group 0 anew with the active controller's image.
    pub(super) fn install(self: &Rc<Self>, message: GroupMessage) {
        let Some(saved) = read_message(&message) else { return };
        {
            let mut state = self.state.borrow_mut();
            if state.applying || state.installing {
                return; // it is sent again
            }
            state.installing = true;
        }
        let controller = Rc::clone(self);
        tokio::task::spawn_local(async move {
            if let Err(error) = controller.begin_anew(saved).await {
                stop_process(&format!("the controller cannot begin anew: {error}"));
            }
            controller.state.borrow_mut().installing = false;
            if controller.closed.get() {
                return;
            }
            // Now the log begins where the message says, and Raft finds nothing to install.
            controller.receive(message);
        });
    }

    async fn begin_anew(self: &Rc<Self>, saved: Saved) -> Result<(), OpenControllerError> {
        info!(index = saved.applied, "too far behind: taking the active controller's image");
        let _turn = self.snapshots.turn.lock().await;
        let mut hard_state = self.group.borrow().hard_state();
        // What the group that is left has voted is on its way to the disk; the one that comes takes
        // it for durable.
        vote::save(&self.env.votes, CONTROLLER_GROUP, hard_state).await;
        if let Err(error) = self.log().close().await {
            warn!(%error, "closing the controller's log");
        }
        while let Err(error) = self.snapshots.save(&saved.noted()).await {
            warn!(error, "the image waits until it is saved");
            tokio::time::sleep(SAVE_AGAIN_AFTER).await;
        }
        let mut begun = self.snapshots.begin_log(saved.noted()).await;
        while let Err(error) = &begun {
            warn!(error, "the log waits to begin anew");
            tokio::time::sleep(SAVE_AGAIN_AFTER).await;
            begun = self.snapshots.begin_log(saved.noted()).await;
        }
        let saved = begun.map_err(OpenControllerError::Snapshot)?;
        let log = open_log(&self.env, &self.snapshots.dir, saved.applied, &self.node).await?;

        let _abort = AbortOnPanic("controller install");
        hard_state.commit = saved.applied;
        let members = saved.members.unwrap_or_default();
        let group = open_group(&self.env, &self.node, &log, members, hard_state, saved.applied);
        *self.log.borrow_mut() = log;
        *self.group.borrow_mut() = group;
        {
            let mut state = self.state.borrow_mut();
            (state.applied, state.commit) = (saved.applied, saved.applied);
            (state.unsaved_bytes, state.active) = (0, false);
            for (_, waiting) in state.waiting.drain(..) {
                let _ = waiting.send(Err(ProposeError::OutcomeUnknown));
            }
        }
        self.node.images.publish(saved.image);
        self.node.refresh_config();
        Ok(())
    }
}

/// The image that a message brings, if it is one.
fn read_message(message: &GroupMessage) -> Option<Saved> {
    let (index, term, data) = message.snapshot()?;
    match serde_json::from_slice::<Saved>(&data) {
        Ok(saved) if (saved.applied, u64::from(saved.term)) == (index, term) => Some(saved),
        Ok(saved) => {
            error!(index, applied = saved.applied, "an image of another index was sent: not taken");
            None
        }
        Err(error) => {
            error!(%error, "an image was sent that cannot be read");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use thalweg_storage::disk::Disk;
    use thalweg_storage::disk::sim::SimDisk;

    use super::*;
    use crate::partition::tests::{environment, simulate};

    fn saved(applied: u64, changed_at: u64) -> Saved {
        let members = Members { index: changed_at, ..Members::of_voters([1, 2, 3]) };
        Saved { applied, members: Some(members), term: 4, ..Saved::default() }
    }

    async fn snapshots(disk: &Rc<SimDisk>) -> (Snapshots, Saved) {
        let (env, _) = environment(1, Rc::clone(disk)).await;
        let dir = Path::new("/data/controller");
        disk.create_dir_all(dir).await.expect("room");
        Snapshots::load(&env, dir).await.expect("readable")
    }

    /// Members are saved before they are in force, at the index of the save before.
    #[test]
    fn the_newer_members_count_in_whichever_file_they_are() {
        simulate(async {
            for before in [vec![], vec![saved(5, 0)], vec![saved(5, 0), saved(6, 0)]] {
                let disk = Rc::new(SimDisk::new(1));
                let (files, nothing) = snapshots(&disk).await;
                assert_eq!(nothing.applied, 0);
                for earlier in &before {
                    files.save(earlier).await.expect("saved");
                }
                files.save(&saved(9, 0)).await.expect("saved");
                let keep_from = files.save(&saved(9, 10)).await.expect("saved");
                assert_eq!(keep_from, 10);
                let (_, found) = snapshots(&disk).await;
                assert_eq!(found.age(), (9, 10), "after {} saves", before.len());
            }
        });
    }

    #[test]
    fn the_log_is_kept_from_the_older_file_on() {
        simulate(async {
            let disk = Rc::new(SimDisk::new(1));
            let (files, _) = snapshots(&disk).await;
            assert_eq!(files.save(&saved(5, 0)).await, Ok(1));
            assert_eq!(files.save(&saved(9, 0)).await, Ok(6));
            assert_eq!(files.save(&saved(20, 0)).await, Ok(10));
            let (again, found) = snapshots(&disk).await;
            assert_eq!(found.applied, 20);
            assert_eq!(again.save(&saved(21, 0)).await, Ok(21));
        });
    }

    /// The note stands in one file, the other says that it is done.
    #[test]
    fn a_log_that_has_begun_is_not_begun_again() {
        simulate(async {
            let disk = Rc::new(SimDisk::new(1));
            let (files, _) = snapshots(&disk).await;
            files.save(&saved(7, 0)).await.expect("saved");
            files.save(&saved(30, 0).noted()).await.expect("saved");
            let (files, found) = snapshots(&disk).await;
            assert!(!found.begins_log && found.applied == 30, "the start carried on");
            // As if the crash had come between the two files.
            files.write(1, &saved(30, 0).noted()).await.expect("saved");
            let log_start = disk.open(
                Path::new("/data/controller/log-start"),
                thalweg_storage::disk::OpenMode::Existing,
            );
            let log_start = log_start.await.expect("the log has begun");
            let before = log_start.read_at(0, 2048).await.expect("readable");
            let (_, found) = snapshots(&disk).await;
            assert!(!found.begins_log);
            assert_eq!(log_start.read_at(0, 2048).await.expect("readable"), before);
        });
    }
}
