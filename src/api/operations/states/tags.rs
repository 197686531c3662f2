//! Tags as requests have them: how many there may be, and what counts where a key comes twice.

use serde::Deserialize;

use crate::api::{ApiError, Fault};

/// Tags of one resource. Spec: "tags <= 50".
const TAGS_MAX: usize = 50;

/// A tag as it is sent.
#[derive(Deserialize)]
pub(super) struct Tag {
    key: Option<String>,
    value: Option<String>,
}

/// The tags with their keys; without a key, nothing is tagged.
pub(super) fn pairs(tags: Vec<Tag>) -> Vec<(String, String)> {
    let pair = |tag: Tag| Some((tag.key?, tag.value.unwrap_or_default()));
    tags.into_iter().filter_map(pair).collect()
}

/// Whether a resource that has `present` may have these, too.
pub(super) fn check(
    resource: &str,
    present: &[(String, String)],
    new: &[(String, String)],
) -> Result<(), ApiError> {
    let mut keys: Vec<&str> = present
        .iter()
        .chain(new)
        .map(|(key, _)| key.as_str())
        .collect();
    keys.sort_unstable();
    keys.dedup();
    if keys.len() <= TAGS_MAX {
        return Ok(());
    }
    let message = format!("You can add up to {TAGS_MAX} tags to a resource: '{resource}'");
    Err(ApiError::states(Fault::TooManyTags, message).with("resourceName", resource))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_has_fifty_keys_at_most_and_a_new_value_is_no_new_key() {
        let tags = |range: std::ops::Range<u32>| -> Vec<_> {
            range.map(|n| (n.to_string(), String::new())).collect()
        };
        assert_eq!(check("r", &tags(0..50), &tags(0..50)), Ok(()));
        assert_eq!(check("r", &tags(0..49), &tags(49..50)), Ok(()));
        let error = check("r", &tags(0..50), &tags(50..51)).unwrap_err();
        assert_eq!(error.kind.name(), "TooManyTags");
        assert_eq!(error.member, Some(("resourceName", "r".to_owned())));
    }
}
