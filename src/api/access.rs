//! The ways in from below: what handlers with a `role` are given (a key of their own, and where services
//! are), and the API for tasks that ask it.

use std::{collections::BTreeMap, fmt::Display};

use serde_json::{Value, json};

use super::{Api, Key, KeyError, KeyRing, Role, call, call_states};
use crate::{
    config::Endpoint,
    integration::service::remote::StatesApi,
    plugin::{Access, CallerRole},
};

/// What the keys of handlers are called, before the plugin's name.
const KEY_PREFIX: &str = "plugin_";

/// Gives handlers access to this daemon.
pub struct HandlerAccess {
    api: Api,
    keys: KeyRing,
    runtime: tokio::runtime::Handle,
}

impl HandlerAccess {
    /// To the daemon that answers so, by keys of this ring. Called in the runtime that its operations are
    /// carried out in.
    #[must_use]
    pub fn new(api: Api, keys: KeyRing) -> Self {
        let runtime = tokio::runtime::Handle::current();
        Self { api, keys, runtime }
    }

    /// The key of a plugin; made where there is none of that role.
    fn key(&self, plugin: &str, role: Role) -> Result<Key, KeyError> {
        let mut name = format!("{KEY_PREFIX}{plugin}");
        name.truncate(super::key::NAME_CHARS_MAX);
        match self.keys.find(&name) {
            Ok(key) if key.role == role => return Ok(key),
            Ok(_) => self.keys.remove(&name)?,
            Err(KeyError::Unknown(_)) => {}
            Err(error) => return Err(error),
        }
        match self.keys.create(&name, role) {
            // Another worker of it was there first.
            Err(KeyError::Exists(_)) => self.keys.find(&name),
            made => made,
        }
    }
}

impl Access for HandlerAccess {
    fn variables(
        &self,
        plugin: &str,
        role: CallerRole,
    ) -> Result<BTreeMap<String, String>, String> {
        fn words(error: impl Display) -> String {
            error.to_string()
        }
        let role = match role {
            CallerRole::ReadOnly => Role::ReadOnly,
            CallerRole::Operator => Role::Operator,
        };
        let key = self.key(plugin, role).map_err(words)?;
        let server = call(&self.api, "DescribeServer", json!({}), Key::LOCAL_ID);
        let server = self.runtime.block_on(server);
        let server = server.map_err(|error| error.message)?;
        let mut variables = client_variables(&server, &key);
        let settings = &self.api.config().services;
        for service in ["dynamodb", "s3", "sns", "sqs"] {
            if let Some(Endpoint::Url(place)) = settings.endpoint_of(service) {
                variables.insert(endpoint_of(service), place.clone());
            }
        }
        Ok(variables)
    }
}

/// Answers tasks that ask the daemon's own API: `aws-sdk:sfn:sendTaskSuccess`.
pub struct OwnStates(Api);

impl OwnStates {
    /// By this one.
    #[must_use]
    pub fn new(api: Api) -> Self {
        Self(api)
    }
}

#[async_trait::async_trait]
impl StatesApi for OwnStates {
    async fn call(&self, operation: String, input: Value) -> (u16, Value) {
        match call_states(&self.0, &operation, input).await {
            Ok(answer) => (200, answer),
            Err(error) => {
                let body = json!({ "__type": error.kind.name(), "message": error.message });
                (error.kind.http_status(), body)
            }
        }
    }
}

/// What clients of AWS need so that they talk to a server, as `DescribeServer` tells of it.
#[must_use]
pub fn client_variables(server: &Value, key: &Key) -> BTreeMap<String, String> {
    let text = |name: &str| server[name].as_str().unwrap_or_default().to_owned();
    let services = server["services"].as_array().into_iter().flatten();
    // Those that this daemon is itself: tables, queues, topics, buckets.
    let own = services
        .filter_map(Value::as_str)
        .map(|service| (endpoint_of(service), text("endpoint")));
    let named = [
        ("AWS_ENDPOINT_URL_SFN", text("endpoint")),
        ("AWS_ACCESS_KEY_ID", key.id.clone()),
        ("AWS_SECRET_ACCESS_KEY", key.secret.clone()),
        ("AWS_REGION", text("region")),
        ("AWS_DEFAULT_REGION", text("region")),
        // Why: StartSyncExecution and TestState would go to a host "sync-127.0.0.1".
        ("AWS_DISABLE_HOST_PREFIX_INJECTION", "true".to_owned()),
    ];
    let named = named.map(|(name, value)| (name.to_owned(), value));
    named.into_iter().chain(own).collect()
}

fn endpoint_of(service: &str) -> String {
    format!("AWS_ENDPOINT_URL_{}", service.to_ascii_uppercase())
}
