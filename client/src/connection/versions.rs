//! Which version of each API the two sides of a connection have in common.

use std::fmt;
use std::ops::RangeInclusive;

use thalweg_protocol::messages::ApiVersionsResponse;
use thalweg_protocol::{ApiKey, SERVED};

/// The broker's range of versions for each API that this client speaks too.
#[derive(Debug, Clone, Default)]
pub(crate) struct Versions(Vec<(ApiKey, RangeInclusive<i16>)>);

/// Why a request cannot be sent to a broker: there is no version that both sides speak.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoCommonVersion {
    /// The versions that this client would send here.
    pub client: RangeInclusive<i16>,
    /// The versions that the broker takes; none if it does not know the API.
    pub broker: Option<RangeInclusive<i16>>,
}

impl Versions {
    pub(crate) fn from_response(response: &ApiVersionsResponse) -> Self {
        let known = response.api_keys.iter().filter_map(|api| {
            let key = ApiKey::try_from(api.api_key).ok()?;
            Some((key, api.min_version..=api.max_version))
        });
        let mut ranges: Vec<_> = known.collect();
        ranges.sort_by_key(|(key, _)| *key);
        Versions(ranges)
    }

    /// The range that this client speaks, for a connection whose broker has not been asked yet.
    pub(super) fn assumed() -> Self {
        Versions(SERVED.iter().map(|api| (api.key, api.versions.clone())).collect())
    }

    pub(crate) fn highest(
        &self,
        api: ApiKey,
        client: RangeInclusive<i16>,
    ) -> Result<i16, NoCommonVersion> {
        let found = self.0.binary_search_by_key(&api, |(key, _)| *key);
        let broker = found.ok().and_then(|at| self.0.get(at)).map(|(_, range)| range.clone());
        let highest = broker.as_ref().map(|range| *range.end().min(client.end()));
        match (highest, &broker) {
            (Some(version), Some(range))
                if version >= *range.start() && version >= *client.start() =>
            {
                Ok(version)
            }
            _ => Err(NoCommonVersion { client, broker }),
        }
    }
}

impl fmt::Display for NoCommonVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (min, max) = (self.client.start(), self.client.end());
        match &self.broker {
            Some(range) => write!(
                f,
                "the broker takes versions {} to {}, this client sends {min} to {max}",
                range.start(),
                range.end()
            ),
            None => f.write_str("the broker does not know this API"),
        }
    }
}

impl std::error::Error for NoCommonVersion {}

#[cfg(test)]
mod tests {
    use thalweg_protocol::messages::api_versions::ApiVersion;

    use super::*;

    #[test]
    fn the_highest_common_version_is_chosen() {
        let range = |api_key, min_version, max_version| ApiVersion {
            api_key,
            min_version,
            max_version,
            ..ApiVersion::default()
        };
        let response = ApiVersionsResponse {
            api_keys: vec![range(999, 0, 1), range(3, 4, 12), range(0, 3, 20)],
            ..ApiVersionsResponse::default()
        };
        let versions = Versions::from_response(&response);
        assert_eq!(versions.highest(ApiKey::Metadata, 0..=13), Ok(12));
        assert_eq!(versions.highest(ApiKey::Produce, 0..=13), Ok(13));
        let too_new = NoCommonVersion { client: 0..=3, broker: Some(4..=12) };
        assert_eq!(versions.highest(ApiKey::Metadata, 0..=3), Err(too_new));
        let too_old = NoCommonVersion { client: 13..=13, broker: Some(4..=12) };
        assert_eq!(versions.highest(ApiKey::Metadata, 13..=13), Err(too_old));
        let unknown = NoCommonVersion { client: 0..=1, broker: None };
        assert_eq!(versions.highest(ApiKey::Fetch, 0..=1), Err(unknown));
    }
}
