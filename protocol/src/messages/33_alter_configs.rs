//! AlterConfigs (key 33), versions 0–2.
//!
//! Replaces **all** dynamic configs of a resource: what is not named goes back to its default.

use crate::primitives::KafkaStr;
use crate::table::message;

message! {
    /// Resources and their complete new configs.
    pub struct AlterConfigsRequest (AlterConfigs, versions 0..=2, flexible since 2) {
        resources: Vec<AlterConfigsResource>, 0..;
        /// Check and answer, but change nothing.
        validate_only: bool, 0..;
    }

    /// A resource and its complete new configs.
    pub struct AlterConfigsResource {
        resource_type: i8, 0..;
        resource_name: KafkaStr, 0..;
        configs: Vec<AlterableConfig>, 0..;
    }

    /// A config to set.
    pub struct AlterableConfig {
        name: KafkaStr, 0..;
        value: Option<KafkaStr> = Some(KafkaStr::default()), 0.., nullable 0..;
    }
}

message! {
    /// The outcome of each resource.
    pub struct AlterConfigsResponse (AlterConfigs, versions 0..=2, flexible since 2) {
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
