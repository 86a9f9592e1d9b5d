//! Why an administrative operation failed, as a whole or for one of its items.

use std::fmt;
use std::sync::Arc;

use thalweg_protocol::{ErrorCode, KafkaStr};
use thiserror::Error;

use crate::error::RequestError;

/// The operation failed as a whole.
#[derive(Debug, Clone, Error)]
pub enum AdminError {
    /// No broker answered.
    #[error(transparent)]
    Unanswered(#[from] RequestError),
    /// The broker refused it.
    #[error(transparent)]
    Refused(#[from] ItemError),
}

impl AdminError {
    /// Whether another attempt may succeed without anybody changing anything.
    pub fn is_retriable(&self) -> bool {
        match self {
            AdminError::Unanswered(error) => error.is_retriable(),
            AdminError::Refused(error) => error.is_retriable(),
        }
    }
}

/// The broker refused to do it for one item.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{item}: {error}{detail}{hint}", detail = Detail(.message), hint = hint(*.error))]
pub struct ItemError {
    /// The topic, resource or the like.
    pub item: Arc<str>,
    /// The broker's reason.
    pub error: ErrorCode,
    /// What the broker said about it, if anything.
    pub message: Option<Arc<str>>,
}

impl ItemError {
    /// Whether another attempt may succeed without anybody changing anything.
    pub fn is_retriable(&self) -> bool {
        self.error.is_retriable()
    }

    /// `Ok` unless `code` is an error.
    pub(super) fn check(item: &str, code: i16, message: Option<&KafkaStr>) -> Result<(), Self> {
        match ErrorCode::from(code) {
            ErrorCode::None => Ok(()),
            error => Err(ItemError {
                item: item.into(),
                error,
                message: message.filter(|text| !text.is_empty()).map(|text| text.as_str().into()),
            }),
        }
    }

    /// The broker's answer does not mention the item.
    pub(super) fn left_out(item: &str) -> Self {
        ItemError {
            item: item.into(),
            error: ErrorCode::UnknownServerError,
            message: Some("the broker's answer left it out".into()),
        }
    }
}

struct Detail<'a>(&'a Option<Arc<str>>);

impl fmt::Display for Detail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |message| write!(f, ": {message}"))
    }
}

fn hint(error: ErrorCode) -> &'static str {
    match error {
        ErrorCode::InvalidReplicationFactor => "; there must be as many brokers",
        ErrorCode::UnknownTopicOrPartition => "; check the name",
        ErrorCode::TopicAuthorizationFailed | ErrorCode::ClusterAuthorizationFailed => {
            "; the client may not do this"
        }
        ErrorCode::TopicDeletionDisabled => "; the brokers have delete.topic.enable=false",
        _ => "",
    }
}
