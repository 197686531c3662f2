//! The ways in from below: what handlers with a `role` are given (a key of their own, and where services
//! are), and the API for tasks that ask it.

use std::{
    collections::BTreeMap,
    fmt::Display,
    sync::{Mutex, PoisonError},
};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{
    Api, Key, KeyError, KeyRing, Role, call, call_states,
    key::{HANDLER_PREFIX, is_name},
};
use crate::{
    config::Endpoint,
    integration::service::remote::StatesApi,
    plugin::{Access, CallerRole},
};

/// Gives handlers access to this daemon.
pub struct HandlerAccess {
    api: Api,
    keys: HandlerKeys,
    runtime: tokio::runtime::Handle,
}

impl HandlerAccess {
    /// To the daemon that answers so, by keys of this ring. Called in the runtime that its operations are
    /// carried out in, before any handler runs.
    #[must_use]
    pub fn new(api: Api, keys: KeyRing) -> Self {
        let runtime = tokio::runtime::Handle::current();
        let keys = HandlerKeys::new(keys);
        Self { api, keys, runtime }
    }
}

/// The keys of handlers: one for a plugin and a role, which all its workers share, whatever their versions.
struct HandlerKeys {
    ring: KeyRing,
    /// Workers start side by side.
    making: Mutex<()>,
}

impl HandlerKeys {
    /// Without those that were made before. Why: the workers that had them are dead, and a plugin may be gone
    /// or want no role any more.
    fn new(ring: KeyRing) -> Self {
        let making = Mutex::new(());
        let keys = Self { ring, making };
        if let Err(error) = keys.clear() {
            tracing::warn!(%error, "keys of handlers that run no more stay valid");
        }
        keys
    }

    fn clear(&self) -> Result<(), KeyError> {
        let names = self.ring.names()?;
        let mut of_handlers = names.iter().filter(|name| name.starts_with(HANDLER_PREFIX));
        of_handlers.try_for_each(|name| self.ring.remove(name))
    }

    /// The key of a plugin in a role; made where there is none.
    fn key(&self, plugin: &str, role: Role) -> Result<Key, KeyError> {
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        let name = key_name(plugin, role);
        match self.ring.find(&name) {
            Ok(key) if key.role == role => return Ok(key),
            // It holds something else than was written, and nobody else writes it.
            Ok(_) | Err(KeyError::Damaged(_)) => self.ring.remove(&name)?,
            Err(KeyError::Unknown(_)) => {}
            Err(error) => return Err(error),
        }
        self.ring.make(&name, role)
    }
}

/// How the key of a plugin in a role is called; one that is long, or has other characters than a key's name, by
/// its hash.
fn key_name(plugin: &str, role: Role) -> String {
    let role = role.as_str();
    let name = format!("{plugin}_{role}");
    if is_name(&name) {
        return format!("{HANDLER_PREFIX}{name}");
    }
    let hash = Sha256::digest(plugin.as_bytes());
    let hash = hash.iter().take(16);
    let hash = hash.fold(String::new(), |hash, byte| hash + &format!("{byte:02x}"));
    format!("{HANDLER_PREFIX}{hash}_{role}")
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
        let key = self.keys.key(plugin, role).map_err(words)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::StatePaths;

    fn ring(directory: &std::path::Path) -> KeyRing {
        std::fs::write(directory.join("key"), "0123456789abcdef0123456789abcdef").unwrap();
        KeyRing::open(&StatePaths::new(directory)).unwrap()
    }

    #[test]
    fn workers_of_a_plugin_share_a_key_for_each_role_and_none_takes_anothers() {
        let directory = tempfile::tempdir().unwrap();
        let ring = ring(directory.path());
        let keys = HandlerKeys::new(ring.clone());
        let old = keys.key("crm", Role::Operator).unwrap();
        // A version with another role comes beside the one before.
        let new = keys.key("crm", Role::ReadOnly).unwrap();
        assert_ne!(old.id, new.id);
        for key in [&old, &new] {
            let again = keys.key("crm", key.role).unwrap();
            assert_eq!((&again.id, &again.secret), (&key.id, &key.secret));
            assert_eq!(ring.find(&key.id).unwrap().secret, key.secret);
        }
        let long = "p".repeat(70);
        let [one, other] = ["a", "b"].map(|end| format!("{long}{end}"));
        let [one, other] = [one, other].map(|name| keys.key(&name, Role::Operator).unwrap().id);
        assert_ne!(one, other);
        // Nobody else's go with them when another daemon starts, however they are called.
        let others = ["reports", "plugin_crm_operator", "plugin_crm"];
        for name in others {
            ring.create(name, Role::ReadOnly).unwrap();
        }
        let keys = HandlerKeys::new(ring.clone());
        assert!(matches!(ring.find(&old.id), Err(KeyError::Unknown(_))));
        for name in others {
            ring.find(name).unwrap();
        }
        assert_ne!(keys.key("crm", Role::Operator).unwrap().secret, old.secret);
    }

    #[test]
    fn a_damaged_key_of_a_plugin_is_made_anew() {
        let directory = tempfile::tempdir().unwrap();
        let keys = HandlerKeys::new(ring(directory.path()));
        let id = keys.key("crm", Role::Operator).unwrap().id;
        let path = directory.path().join("keys").join(&id);
        for text in [
            "",
            r#"{"role":"admin","secret":"0123456789abcdef0123456789abcdef"}"#,
        ] {
            std::fs::write(&path, text).unwrap();
            let key = keys.key("crm", Role::Operator).unwrap();
            assert_eq!((key.id.as_str(), key.role), (id.as_str(), Role::Operator));
        }
        std::fs::write(&path, "").unwrap();
        drop(HandlerKeys::new(keys.ring));
        assert!(!path.exists(), "one that is damaged goes, too");
    }
}
