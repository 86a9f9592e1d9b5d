//! `thalweg group delete`.

use serde_json::json;
use thalweg_client::admin::Admin;

use crate::cli::failure::{Failure, settle};
use crate::cli::output::{Printer, confirm as ask};

/// Asks whether groups are to be deleted, if somebody is there to answer.
pub(super) fn confirm(groups: &[String]) -> Result<(), Failure> {
    ask(&format!("Delete {} with all offsets?", groups.join(", ")))
}

pub(super) async fn run(
    admin: &Admin,
    groups: &[String],
    printer: &mut Printer,
) -> Result<(), Failure> {
    let names: Vec<&str> = groups.iter().map(String::as_str).collect();
    let outcomes = admin.delete_groups(&names).await;
    let done = names.iter().zip(outcomes).map(|(name, outcome)| outcome.map(|()| *name));
    let (deleted, outcome) = settle(done);
    if !deleted.is_empty() {
        printer
            .print(&json!({"deleted": deleted}), |_| format!("deleted {}", deleted.join(", ")))?;
    }
    outcome
}
