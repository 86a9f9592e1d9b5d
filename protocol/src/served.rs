//! Which APIs this crate speaks and at which versions. It tells a header of one form from another,
//! and a broker advertises out of it whatever it has a handler for.

use std::ops::RangeInclusive;

use crate::message::Message;
use crate::{ApiKey, for_each_api, messages};

/// An API that we speak.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServedApi {
    /// The API.
    pub key: ApiKey,
    /// The versions that can be read and written.
    pub versions: RangeInclusive<i16>,
    /// The first flexible version, if there is one.
    pub flexible_since: Option<i16>,
}

macro_rules! served {
    ($($api:ident: $request:ident, $response:ident;)+) => {
        /// Every API that we speak, in order of keys.
        pub const SERVED: &[ServedApi] = &[$(ServedApi {
            key: ApiKey::$api,
            versions: <messages::$request as Message>::VERSIONS,
            flexible_since: <messages::$request as Message>::FLEXIBLE_SINCE,
        }),+];
    };
}

for_each_api!(served);

/// The oldest Produce version that appends. Kafka 4 dropped the message formats of those before.
const PRODUCE_SERVED_MIN: i16 = 3;

/// The versions of `key` that are carried out.
pub fn served_versions(key: ApiKey) -> Option<RangeInclusive<i16>> {
    let versions = advertised_versions(key)?;
    match key {
        ApiKey::Produce => Some(PRODUCE_SERVED_MIN..=*versions.end()),
        _ => Some(versions),
    }
}

/// The versions of `key` that can be read and answered, which is what ApiVersions tells clients.
/// For Produce it begins at 0, as Kafka's does: older librdkafka would otherwise switch features
/// off. Those below [`served_versions`] are answered with UNSUPPORTED_VERSION.
pub fn advertised_versions(key: ApiKey) -> Option<RangeInclusive<i16>> {
    find(key).map(|api| api.versions.clone())
}

/// Whether a version of `key` is flexible; `None` where we do not speak it.
pub(crate) fn is_flexible(key: ApiKey, version: i16) -> Option<bool> {
    let api = find(key).filter(|api| api.versions.contains(&version))?;
    Some(api.flexible_since.is_some_and(|since| version >= since))
}

fn find(key: ApiKey) -> Option<&'static ServedApi> {
    SERVED.binary_search_by_key(&key, |api| api.key).ok().and_then(|at| SERVED.get(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apis_are_in_order_of_keys() {
        assert!(SERVED.is_sorted_by_key(|api| api.key));
        for api in SERVED {
            assert_eq!(advertised_versions(api.key), Some(api.versions.clone()), "{}", api.key);
        }
    }

    macro_rules! request_and_response_agree {
        ($($api:ident: $request:ident, $response:ident;)+) => {
            #[test]
            fn request_and_response_agree() {
                use messages::*;
                $(
                    assert_eq!($request::API_KEY, ApiKey::$api);
                    assert_eq!($response::API_KEY, ApiKey::$api);
                    assert_eq!($request::VERSIONS, $response::VERSIONS, "{}", ApiKey::$api);
                    assert_eq!($request::FLEXIBLE_SINCE, $response::FLEXIBLE_SINCE);
                )+
            }
        };
    }

    for_each_api!(request_and_response_agree);

    #[test]
    fn a_version_we_do_not_speak_is_neither_flexible_nor_not() {
        assert_eq!(is_flexible(ApiKey::Metadata, 8), Some(false));
        assert_eq!(is_flexible(ApiKey::Metadata, 9), Some(true));
        assert_eq!(is_flexible(ApiKey::Metadata, 14), None);
        assert_eq!(is_flexible(ApiKey::SaslHandshake, 1), Some(false));
        assert_eq!(is_flexible(ApiKey::StopReplica, 0), None);
    }
}
