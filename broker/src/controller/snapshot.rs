//! `image.snap`: the cluster image and group 0's members as of one index.
//!
//! The log keeps every command, so a snapshot that cannot be read only makes a start slower.

use std::path::Path;

use serde::{Deserialize, Serialize};
use thalweg_storage::atomic_file;
use tracing::warn;

use super::OpenControllerError;
use super::image::Image;
use crate::partition::Environment;
use crate::replication::membership::Members;

/// What is saved.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Saved {
    pub(super) image: Image,
    /// Absent before there were other members.
    pub(super) members: Option<Members>,
    /// Index of the last entry dealt with.
    pub(super) applied: u64,
}

/// What was saved, or nothing if that cannot be used.
pub(super) async fn load(env: &Environment, path: &Path) -> Result<Saved, OpenControllerError> {
    let refuse = |why: String| OpenControllerError::Snapshot(format!("{}: {why}", path.display()));
    let json = match atomic_file::read(&*env.disk, path).await {
        Ok(Some(json)) => json,
        Ok(None) => return Ok(Saved::default()),
        Err(error) => {
            warn!(path = %path.display(), %error, "unusable controller snapshot: replaying the log");
            return Ok(Saved::default());
        }
    };
    if let Ok(saved) = serde_json::from_slice(&json) {
        return Ok(saved);
    }
    // A version that knew only one broker saved the image alone.
    let image: Image = serde_json::from_slice(&json).map_err(|error| refuse(error.to_string()))?;
    Ok(Saved { applied: image.applied, image, members: None })
}

/// Saves the image; the error is for people.
pub(super) async fn save(env: &Environment, path: &Path, saved: &Saved) -> Result<(), String> {
    let json = match serde_json::to_vec(saved) {
        Ok(json) => json,
        Err(error) => unreachable!("an image is plain data: {error}"),
    };
    let written = atomic_file::write(&*env.disk, path, &json).await;
    written.map_err(|error| format!("{}: {error}", path.display()))
}
