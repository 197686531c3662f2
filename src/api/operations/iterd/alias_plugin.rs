//! `AliasPlugin`: give a version of a plugin a name by which functions find it, or take one away.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Api, ApiError};
use crate::{
    api::ErrorKind,
    store::{Change, PluginAliasRow},
};

/// Longest name of an alias, as AWS Lambda has it.
const ALIAS_CHARACTERS_MAX: usize = 128;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    /// The name in the plugin's manifest.
    plugin: String,
    /// The alias.
    alias: String,
    /// The version that it names from now on; without one, the alias is removed.
    version: Option<u32>,
}

pub(super) async fn call(api: &Api, input: Input, caller: &str) -> Result<Value, ApiError> {
    let Input {
        plugin,
        alias,
        version,
    } = input;
    let number = alias.bytes().all(|byte| byte.is_ascii_digit());
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if number || alias.len() > ALIAS_CHARACTERS_MAX || !alias.bytes().all(plain) {
        return Err(ApiError::new(
            ErrorKind::Validation,
            format!(
                "{alias:?} is no alias; use letters, digits, - and _, not digits alone, at most {ALIAS_CHARACTERS_MAX}"
            ),
        ));
    }
    let known = api.store.plugin_aliases(Some(&plugin))?;
    let missing = |what: String| {
        let hint = format!("{what}; iterd plugin show {plugin} shows what there is");
        ApiError::new(ErrorKind::NotFound, hint)
    };
    let change = match version {
        None if known.iter().all(|row| row.alias != alias) => {
            return Err(missing(format!("plugin {plugin:?} has no alias {alias:?}")));
        }
        None => Change::RemovePluginAlias {
            plugin: plugin.clone(),
            alias: alias.clone(),
        },
        Some(version) if api.store.version_hash(&plugin, version)?.is_none() => {
            return Err(missing(format!(
                "plugin {plugin:?} has no version {version}"
            )));
        }
        Some(version) => Change::PluginAlias(PluginAliasRow {
            plugin: plugin.clone(),
            alias: alias.clone(),
            version,
            author: caller.to_owned(),
            at: api.engine()?.now(),
        }),
    };
    api.store.commit(vec![change]).await.await?;
    Ok(json!({ "plugin": plugin, "alias": alias, "version": version }))
}
