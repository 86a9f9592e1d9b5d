//! IncrementalAlterConfigs (key 44), versions 0–1.
//!
//! Changes single configs of a resource and leaves the others alone (KIP-339).

use crate::primitives::KafkaStr;
use crate::table::message;

message! {
    /// Resources and what to change.
    pub struct IncrementalAlterConfigsRequest
        (IncrementalAlterConfigs, versions 0..=1, flexible since 1) {
        resources: Vec<AlterConfigsResource>, 0..;
        /// Check and answer, but change nothing.
        validate_only: bool, 0..;
    }

    /// A resource and what to change.
    pub struct AlterConfigsResource {
        resource_type: i8, 0..;
        resource_name: KafkaStr, 0..;
        configs: Vec<AlterableConfig>, 0..;
    }

    /// One change of one config.
    pub struct AlterableConfig {
        name: KafkaStr, 0..;
        /// 0 set, 1 delete, 2 append to a list, 3 subtract from a list.
        config_operation: i8, 0..;
        value: Option<KafkaStr> = Some(KafkaStr::default()), 0.., nullable 0..;
    }
}

message! {
    /// The outcome of each resource.
    pub struct IncrementalAlterConfigsResponse
        (IncrementalAlterConfigs, versions 0..=1, flexible since 1) {
        /// Milliseconds for which the broker held the answer back because of a quota.
        throttle_time_ms: i32, 0..;
        responses: Vec<AlterConfigsResourceResponse>, 0..;
    }

    /// The outcome of one resource.
    pub struct AlterConfigsResourceResponse {
        error_code: i16, 0..;
        /// What was wrong, for a person to read.
        error_message: Option<KafkaStr> = Some(KafkaStr::default()), 0.., nullable 0..;
        resource_type: i8, 0..;
        resource_name: KafkaStr, 0..;
    }
}
