//! DescribeConfigs (key 32), versions 1–4.
//!
//! Lists every config of a resource, with where its value comes from. Resource types: 2 topic, 4
//! broker, 8 broker logger, 16 client metrics, 32 group.

use crate::primitives::KafkaStr;
use crate::table::message;

message! {
    /// Resources to describe.
    pub struct DescribeConfigsRequest (DescribeConfigs, versions 1..=4, flexible since 4) {
        resources: Vec<DescribeConfigsResource>, 0..;
        include_synonyms: bool, 1..;
        include_documentation: bool, 3..;
    }

    /// A resource to describe.
    pub struct DescribeConfigsResource {
        resource_type: i8, 0..;
        resource_name: KafkaStr, 0..;
        /// Null for all configs.
        configuration_keys: Option<Vec<KafkaStr>> = Some(Vec::new()), 0.., nullable 0..;
    }
}

message! {
    /// The configs of each resource.
    pub struct DescribeConfigsResponse (DescribeConfigs, versions 1..=4, flexible since 4) {
        /// Milliseconds for which the broker held the answer back because of a quota.
        throttle_time_ms: i32, 0..;
        results: Vec<DescribeConfigsResult>, 0..;
    }

    /// The configs of one resource.
    pub struct DescribeConfigsResult {
        error_code: i16, 0..;
        /// What was wrong, for a person to read.
        error_message: Option<KafkaStr> = Some(KafkaStr::default()), 0.., nullable 0..;
        resource_type: i8, 0..;
        resource_name: KafkaStr, 0..;
        configs: Vec<DescribeConfigsResourceResult>, 0..;
    }

    /// A config and its value.
    pub struct DescribeConfigsResourceResult {
        name: KafkaStr, 0..;
        /// Null if there is none, or if it is sensitive.
        value: Option<KafkaStr> = Some(KafkaStr::default()), 0.., nullable 0..;
        read_only: bool, 0..;
        /// 1 topic, 2 this broker, 3 all brokers, 4 configuration file, 5 built-in default
        /// (KIP-226).
        config_source: i8 = -1, 1.., absent ignored;
        is_sensitive: bool, 0..;
        /// Every place the value could come from, the deciding one first.
        synonyms: Vec<DescribeConfigsSynonym>, 1.., absent ignored;
        /// 0 unknown, 1 boolean, 2 string, 3 int, 4 short, 5 long, 6 double, 7 list, 8 class, 9
        /// password.
        config_type: i8, 3.., absent ignored;
        documentation: Option<KafkaStr> = Some(KafkaStr::default()),
            3.., nullable 0.., absent ignored;
    }

    /// One place that a value could come from.
    pub struct DescribeConfigsSynonym {
        name: KafkaStr, 1..;
        value: Option<KafkaStr> = Some(KafkaStr::default()), 1.., nullable 0..;
        /// 1 topic, 2 this broker, 3 all brokers, 4 configuration file, 5 built-in default
        /// (KIP-226).
        source: i8, 1..;
    }
}
