//! ApiVersions (key 18), versions 0–4.
//!
//! The first request on a connection, answered before authentication. A version above ours is
//! answered at version 0 with UNSUPPORTED_VERSION and our range for this key, and the connection
//! stays. The response header is always version 0, so that a client of any age can read it.

use crate::primitives::KafkaStr;
use crate::table::message;

message! {
    /// Who the client is (KIP-511).
    pub struct ApiVersionsRequest (ApiVersions, versions 0..=4, flexible since 3) {
        client_software_name: KafkaStr, 3.., absent ignored;
        client_software_version: KafkaStr, 3.., absent ignored;
    }
}

message! {
    /// What the broker serves.
    pub struct ApiVersionsResponse (ApiVersions, versions 0..=4, flexible since 3) {
        error_code: i16, 0..;
        api_keys: Vec<ApiVersion>, 0..;
        /// Milliseconds for which the broker held the answer back because of a quota.
        throttle_time_ms: i32, 1.., absent ignored;
        supported_features: Vec<SupportedFeatureKey>, 3.., tag 0, absent ignored;
        /// When the features below were agreed upon, or −1.
        finalized_features_epoch: i64 = -1, 3.., tag 1, absent ignored;
        finalized_features: Vec<FinalizedFeatureKey>, 3.., tag 2, absent ignored;
        /// Left from the move off ZooKeeper.
        zk_migration_ready: bool, 3.., tag 3, absent ignored;
    }

    /// A range of versions of one API.
    pub struct ApiVersion {
        api_key: i16, 0..;
        min_version: i16, 0..;
        max_version: i16, 0..;
    }

    /// A feature that this broker could run at any of some levels (KIP-584).
    pub struct SupportedFeatureKey {
        name: KafkaStr, 3..;
        min_version: i16, 3..;
        max_version: i16, 3..;
    }

    /// A feature and the level that the cluster has agreed upon.
    pub struct FinalizedFeatureKey {
        name: KafkaStr, 3..;
        max_version_level: i16, 3..;
        min_version_level: i16, 3..;
    }
}
