//! ListConfigResources (key 74), versions 0–1.
//!
//! The names of resources that have configs. Version 0 knows only client metrics (KIP-714,
//! KIP-1142).

use crate::primitives::KafkaStr;
use crate::table::message;

message! {
    /// The types of resource wanted.
    pub struct ListConfigResourcesRequest (ListConfigResources, versions 0..=1, flexible since 0) {
        /// Empty for all.
        resource_types: Vec<i8>, 1..;
    }
}

message! {
    /// The resources.
    pub struct ListConfigResourcesResponse (ListConfigResources, versions 0..=1, flexible since 0) {
        /// Milliseconds for which the broker held the answer back because of a quota.
        throttle_time_ms: i32, 0..;
        error_code: i16, 0..;
        config_resources: Vec<ConfigResource>, 0..;
    }

    /// One resource.
    pub struct ConfigResource {
        resource_name: KafkaStr, 0..;
        /// 2 topic, 4 broker, 8 broker logger, 16 client metrics, 32 group.
        resource_type: i8 = 16, 1.., absent ignored;
    }
}
