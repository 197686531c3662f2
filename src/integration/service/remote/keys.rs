//! Whose requests they are: AWS's chain of credentials, and the signatures that are made with them.
//!
//! Owns which providers are asked, in which order, and how long what they gave is used. Never tells a
//! secret: not in an error, not in a log, not where one of these is printed; that is why the chain is not
//! the crate's own, which logs its providers with what they hold.

use std::{
    collections::HashMap, fmt, fs::File, io::Read as _, path::PathBuf, sync::Arc, time::Duration,
};

use hyper::{body::Bytes, http};
use object_store::{CredentialProvider, aws::AwsCredential};
use reqsign_aws_v4::{
    AssumeRoleWithWebIdentityCredentialProvider, Credential, ECSCredentialProvider,
    EnvCredentialProvider, IMDSv2CredentialProvider, ProfileCredentialProvider, RequestSigner,
    SSOCredentialProvider,
};
use reqsign_core::{
    Context, Error, FileRead, HttpSend, ProvideCredentialDyn, Result, SignRequest as _,
    SigningCredential as _, StaticEnv,
};
use tokio::{sync::Mutex, time::Instant};

use super::{
    request::encode,
    wire::{Lost, Wire},
};
use crate::config::Environment;

/// How long credentials without an end of their own are used before they are looked up anew: people
/// rotate keys in files.
const USED_FOR: Duration = Duration::from_mins(15);

/// How long a connection to a metadata service may take: it is on the machine or nowhere.
const METADATA_PATIENCE: Duration = Duration::from_secs(2);

/// How long all providers together may take.
const CHAIN_PATIENCE: Duration = Duration::from_secs(15);

/// How long nobody is asked again after nothing was found: many calls wait for a look-up, and each would look
/// for itself.
const FAILED_FOR: Duration = Duration::from_secs(10);

/// Largest file of profiles or tokens that is read.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Whom a request goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whom {
    /// AWS itself: nothing but real credentials will do.
    Aws,
    /// A server that speaks its protocol. What the environment and files hold signs; else [`PLACEHOLDER`],
    /// because such servers look for a signature and seldom at it. Metadata services are not asked.
    Server,
}

/// Signs where nobody has credentials, for servers that want none.
const PLACEHOLDER: &str = "iterd";

/// Why a request is not signed; says nothing of what was found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum KeyError {
    #[error(
        "Unable to load credentials from any of the providers in the chain: the environment, shared files, web identity, container, instance"
    )]
    None,
    #[error(
        "Unable to load credentials of the profile {0:?}, neither from shared files nor by single sign-on: aws configure --profile {0} makes it, and [services] profile in iterd.toml names another"
    )]
    NoneOf(String),
    #[error("the request cannot be signed: {0}")]
    Unsignable(String),
}

/// See the module; shared by all calls.
pub(super) struct Keys {
    context: Context,
    near: Vec<Provider>,
    far: Vec<Provider>,
    /// Whose alone will do.
    profile: Option<String>,
    aws: Mutex<Known>,
    server: Mutex<Known>,
}

/// A provider with what it is called in the log.
type Provider = (
    &'static str,
    Box<dyn ProvideCredentialDyn<Credential = Credential>>,
);

/// Credentials and since when.
struct Held(Credential, Instant);

/// What look-ups have come to.
#[derive(Default)]
struct Known {
    held: Option<Held>,
    /// When nothing was found last.
    failed: Option<Instant>,
}

impl Known {
    /// Whether it is time for a look-up. After one that failed, old ones do: they may have a minute left.
    fn wants(&self) -> bool {
        let good = self.held.as_ref().is_some_and(|Held(credential, since)| {
            // Spec: valid is what ends in two minutes or later, so it is renewed before it ends.
            credential.is_valid() && (credential.expires_in.is_some() || since.elapsed() < USED_FOR)
        });
        !good && self.failed.is_none_or(|at| at.elapsed() >= FAILED_FOR)
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").finish_non_exhaustive()
    }
}

impl Keys {
    /// Nothing is looked up yet. Where a profile is named, nobody else's credentials count: who names one means
    /// whom requests are made as.
    pub(super) fn new(profile: Option<&str>, environment: &Environment) -> std::io::Result<Self> {
        let text = |name: &str| environment.get(name)?.clone().into_string().ok();
        let variables = environment.beginning("AWS_");
        let envs: HashMap<String, String> = variables
            .filter_map(|name| Some((name.to_owned(), text(name)?)))
            .collect();
        let env = StaticEnv {
            home_dir: text("HOME").map(PathBuf::from),
            envs,
        };
        let context = Context::new()
            .with_file_read(Files)
            .with_http_send(Metadata(Wire::new(Some(METADATA_PATIENCE))?))
            .with_env(env);
        let mut shared = ProfileCredentialProvider::new();
        let mut sso = SSOCredentialProvider::new();
        let mut near: Vec<Provider> = Vec::new();
        match profile {
            Some(profile) => {
                shared = shared.with_profile(profile);
                sso = sso.with_profile(profile);
            }
            None => near.push(("environment", Box::new(EnvCredentialProvider::new()))),
        }
        near.push(("shared files", Box::new(shared)));
        let mut far: Vec<Provider> = vec![("single sign-on", Box::new(sso))];
        if profile.is_none() {
            let web = AssumeRoleWithWebIdentityCredentialProvider::new();
            far.push(("web identity", Box::new(web)));
            far.push(("container", Box::new(ECSCredentialProvider::new())));
            far.push(("instance", Box::new(IMDSv2CredentialProvider::new())));
        }
        Ok(Self {
            context,
            near,
            far,
            profile: profile.map(str::to_owned),
            aws: Mutex::default(),
            server: Mutex::default(),
        })
    }

    /// Signs a request whose header `x-amz-content-sha256` says what its body is.
    pub(super) async fn sign(
        &self,
        request: &mut http::request::Parts,
        whom: Whom,
        (service, region): (&str, &str),
    ) -> std::result::Result<(), KeyError> {
        let credential = self.credential(whom).await?;
        let unsigned = as_signed(request, service)?;
        let mut signed = unsigned.clone();
        RequestSigner::new(service, region)
            .sign_request(&self.context, &mut signed, Some(&credential), None)
            .await
            .map_err(|error| KeyError::Unsignable(error.to_string()))?;
        for (name, value) in &signed.headers {
            if unsigned.headers.get(name) != Some(value) {
                request.headers.insert(name, value.clone());
            }
        }
        Ok(())
    }

    /// Looks credentials up anew at the next request: a service does not take these any more.
    pub(super) async fn forget(&self, whom: Whom) {
        self.known(whom).lock().await.held = None;
    }

    fn known(&self, whom: Whom) -> &Mutex<Known> {
        match whom {
            Whom::Aws => &self.aws,
            Whom::Server => &self.server,
        }
    }

    /// Invariant: one look-up at a time; who comes meanwhile waits for it.
    async fn credential(&self, whom: Whom) -> std::result::Result<Credential, KeyError> {
        let mut known = self.known(whom).lock().await;
        if known.wants() {
            let found = tokio::time::timeout(CHAIN_PATIENCE, self.find(whom)).await;
            let now = Instant::now();
            if let Some(credential) = found.ok().flatten() {
                known.held = Some(Held(credential, now));
                known.failed = None;
            } else {
                known.failed = Some(now);
            }
        }
        let held = known.held.as_ref().map(|Held(found, _)| found.clone());
        held.ok_or_else(|| match &self.profile {
            Some(profile) => KeyError::NoneOf(profile.clone()),
            None => KeyError::None,
        })
    }

    async fn find(&self, whom: Whom) -> Option<Credential> {
        let far = match whom {
            Whom::Aws => self.far.as_slice(),
            Whom::Server => &[],
        };
        for (name, provider) in self.near.iter().chain(far) {
            match provider.provide_credential_dyn(&self.context).await {
                // Why also what ends soon: there is nothing newer, and the signer refuses what has ended.
                Ok(Some(credential)) if !credential.secret_access_key.is_empty() => {
                    return Some(credential);
                }
                Ok(_) => {}
                // Why its kind alone: the text may quote what a file or a server says.
                Err(error) => {
                    tracing::debug!(provider = name, kind = ?error.kind(), "no credentials");
                }
            }
        }
        (whom == Whom::Server).then(|| Credential {
            access_key_id: PLACEHOLDER.to_owned(),
            secret_access_key: PLACEHOLDER.to_owned(),
            ..Credential::default()
        })
    }
}

/// A request as it is signed, where the signer would read it otherwise than its receiver does.
fn as_signed(
    request: &http::request::Parts,
    service: &str,
) -> std::result::Result<http::request::Parts, KeyError> {
    let mut signed = request.clone();
    // Spec: of all services but S3 a path that is encoded is encoded once more.
    if service != "s3" {
        let parts = request.uri.path().split('/').map(encode);
        let mut target = parts.collect::<Vec<_>>().join("/");
        if let Some(query) = request.uri.query() {
            target.push('?');
            target.push_str(query);
        }
        let mut uri = request.uri.clone().into_parts();
        let none = |_| KeyError::Unsignable("its path is none".to_owned());
        uri.path_and_query = Some(target.try_into().map_err(none)?);
        signed.uri = http::Uri::from_parts(uri)
            .map_err(|_| KeyError::Unsignable("its place is none".to_owned()))?;
    }
    // Spec: the values of a header that comes more than once are one, with commas.
    for name in request.headers.keys() {
        let values: Vec<&[u8]> = request
            .headers
            .get_all(name)
            .iter()
            .map(http::HeaderValue::as_bytes)
            .collect();
        if values.len() > 1 {
            let joined = http::HeaderValue::from_bytes(&values.join(&b','))
                .map_err(|_| KeyError::Unsignable(format!("its header {name} is none")))?;
            signed.headers.insert(name, joined);
        }
    }
    Ok(signed)
}

/// Hands credentials to what signs for itself: the client of buckets.
#[derive(Debug)]
pub(super) struct Signer {
    keys: Arc<Keys>,
    whom: Whom,
}

impl Signer {
    pub(super) fn new(keys: Arc<Keys>, whom: Whom) -> Self {
        Self { keys, whom }
    }
}

#[async_trait::async_trait]
impl CredentialProvider for Signer {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let found = self.keys.credential(self.whom).await;
        let found = found.map_err(|error| object_store::Error::Generic {
            store: "S3",
            source: Box::new(error),
        })?;
        Ok(Arc::new(AwsCredential {
            key_id: found.access_key_id,
            secret_key: found.secret_access_key,
            token: found.session_token,
        }))
    }
}

/// Reads files of profiles and tokens.
#[derive(Debug)]
struct Files;

impl FileRead for Files {
    async fn file_read(&self, path: &str) -> Result<Vec<u8>> {
        let path = path.to_owned();
        let reading = tokio::task::spawn_blocking(move || {
            let mut bytes = Vec::new();
            File::open(path)?
                .take(FILE_BYTES_MAX)
                .read_to_end(&mut bytes)?;
            Ok::<_, std::io::Error>(bytes)
        });
        match reading.await {
            Ok(Ok(bytes)) => Ok(bytes),
            Ok(Err(_)) | Err(_) => Err(Error::config_invalid("the file cannot be read")),
        }
    }
}

/// Asks metadata services and STS.
#[derive(Debug)]
struct Metadata(Wire);

impl HttpSend for Metadata {
    async fn http_send(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>> {
        let sent = self.0.send(request, CHAIN_PATIENCE).await;
        let response = sent.map_err(|lost| match lost {
            Lost::TooLarge => Error::unexpected("the answer is too large"),
            Lost::Broken(_) | Lost::Unreached(_) => {
                Error::unexpected("the service cannot be reached")
            }
        })?;
        let mut built = http::Response::builder().status(response.status);
        for (name, value) in &response.headers {
            built = built.header(name, value);
        }
        built
            .body(Bytes::from(response.body))
            .map_err(|_| Error::unexpected("the answer is none"))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write as _,
        net::TcpListener,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use super::*;

    /// A metadata service that answers each path with what `answer` says, and how often it was asked.
    fn metadata(
        answer: impl Fn(&str, usize) -> String + Send + 'static,
    ) -> (String, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let place = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut stream = stream;
                let mut some = vec![0; 4096];
                let begun = stream.read(&mut some).unwrap_or(0);
                let head = String::from_utf8_lossy(&some[..begun]).into_owned();
                let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
                let body = answer(&path, counted.fetch_add(1, Ordering::SeqCst));
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
                );
                drop(stream.write_all(answer.as_bytes()));
            }
        });
        (place, asked)
    }

    fn document(id: usize, until: &str) -> String {
        format!(
            r#"{{"Code":"Success","AccessKeyId":"K{id}","SecretAccessKey":"s","Token":"t","Expiration":"{until}"}}"#
        )
    }

    const LATER: &str = "2999-01-01T00:00:00Z";
    const LONG_AGO: &str = "2001-01-01T00:00:00Z";

    #[tokio::test]
    async fn containers_and_instances_give_keys_that_are_used_until_they_end() {
        let (place, asked) = metadata(|_, count| document(count, LATER));
        let environment = [("AWS_CONTAINER_CREDENTIALS_FULL_URI", place.as_str())];
        let keys = Keys::new(None, &environment.into_iter().collect()).unwrap();
        for _ in 0..3 {
            assert_eq!(
                keys.credential(Whom::Aws).await.unwrap().access_key_id,
                "K0"
            );
        }
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        keys.forget(Whom::Aws).await;
        assert_eq!(
            keys.credential(Whom::Aws).await.unwrap().access_key_id,
            "K1"
        );
        let server = keys.credential(Whom::Server).await.unwrap();
        assert_eq!(server.access_key_id, PLACEHOLDER);

        let (place, _) = metadata(|path, _| match path {
            "/latest/api/token" => "a-token".to_owned(),
            "/latest/meta-data/iam/security-credentials/" => "role".to_owned(),
            _ => document(7, LATER),
        });
        let instance = [("AWS_EC2_METADATA_SERVICE_ENDPOINT", place.as_str())];
        assert_eq!(key_of(None, &instance, Whom::Aws).await.unwrap(), "K7");
    }

    #[tokio::test]
    async fn what_found_nothing_is_not_asked_again_at_once_and_what_is_old_is_used_meanwhile() {
        let (place, asked) = metadata(|_, count| match count {
            1 => document(1, LONG_AGO),
            _ => "{".to_owned(),
        });
        let environment = [
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", place.as_str()),
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ];
        let keys = Keys::new(None, &environment.into_iter().collect()).unwrap();
        for _ in 0..3 {
            let none = keys.credential(Whom::Aws).await;
            assert_eq!(none.err(), Some(KeyError::None));
        }
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        // As if the time had passed.
        keys.known(Whom::Aws).lock().await.failed = None;
        for count in [2, 3, 3] {
            let found = keys.credential(Whom::Aws).await.unwrap();
            assert_eq!(found.access_key_id, "K1");
            assert_eq!(asked.load(Ordering::SeqCst), count);
        }
        keys.forget(Whom::Aws).await;
        assert_eq!(keys.credential(Whom::Aws).await.err(), Some(KeyError::None));
        assert_eq!(asked.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn a_profile_that_gives_nothing_is_named_and_nobody_else_is_asked() {
        let (place, asked) = metadata(|_, count| document(count, LATER));
        let environment = [
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", place.as_str()),
            ("AWS_EC2_METADATA_SERVICE_ENDPOINT", place.as_str()),
        ];
        let error = key_of(Some("prod"), &environment, Whom::Aws).await;
        let error = error.unwrap_err();
        assert_eq!(error, KeyError::NoneOf("prod".to_owned()));
        assert!(
            error.to_string().contains("the profile \"prod\""),
            "{error}"
        );
        assert_eq!(asked.load(Ordering::SeqCst), 0);
    }

    #[tokio::test]
    async fn keys_that_have_ended_are_looked_up_anew_and_sign_nothing() {
        let (place, asked) = metadata(|_, count| document(count, LONG_AGO));
        let environment = [("AWS_CONTAINER_CREDENTIALS_FULL_URI", place.as_str())];
        let keys = Keys::new(None, &environment.into_iter().collect()).unwrap();
        for count in 1..=2 {
            let request = http::Request::post("https://iam.amazonaws.com/").body(());
            let (mut parts, ()) = request.unwrap().into_parts();
            let signed = keys.sign(&mut parts, Whom::Aws, ("iam", "us-east-1")).await;
            assert!(matches!(signed, Err(KeyError::Unsignable(_))), "{signed:?}");
            assert_eq!(asked.load(Ordering::SeqCst), count);
        }
    }

    #[tokio::test]
    async fn a_metadata_service_that_floods_or_talks_nonsense_gives_nothing() {
        for body in ["x".repeat(3 * 1024 * 1024), "{".to_owned(), String::new()] {
            let (place, _) = metadata(move |_, _| body.clone());
            let environment = [
                ("AWS_CONTAINER_CREDENTIALS_FULL_URI", place.as_str()),
                ("AWS_EC2_METADATA_DISABLED", "true"),
            ];
            let found = key_of(None, &environment, Whom::Aws).await;
            assert_eq!(found, Err(KeyError::None));
        }
    }

    const DOCUMENTED: [(&str, &str); 2] = [
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
        (
            "AWS_SECRET_ACCESS_KEY",
            "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
        ),
    ];

    async fn key_of(
        profile: Option<&str>,
        variables: &[(&str, &str)],
        whom: Whom,
    ) -> std::result::Result<String, KeyError> {
        let environment = variables.iter().copied().collect();
        let keys = Keys::new(profile, &environment).unwrap();
        keys.credential(whom).await.map(|found| found.access_key_id)
    }

    #[tokio::test]
    async fn the_chain_asks_in_aws_order() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("credentials");
        let text = "[default]\naws_access_key_id = D\naws_secret_access_key = s\n[other]\naws_access_key_id = O\naws_secret_access_key = s\n";
        std::fs::write(&file, text).unwrap();
        let shared = ("AWS_SHARED_CREDENTIALS_FILE", file.to_str().unwrap());
        let [id, secret] = DOCUMENTED;
        for whom in [Whom::Aws, Whom::Server] {
            let all = [id, secret, shared];
            assert_eq!(key_of(None, &all, whom).await.unwrap(), "AKIDEXAMPLE");
            assert_eq!(key_of(None, &[shared], whom).await.unwrap(), "D");
            let named = [shared, ("AWS_PROFILE", "other")];
            assert_eq!(key_of(None, &named, whom).await.unwrap(), "O");
            assert_eq!(key_of(Some("other"), &all, whom).await.unwrap(), "O");
        }
    }

    #[tokio::test]
    async fn without_any_only_a_server_is_asked() {
        let none = [("AWS_EC2_METADATA_DISABLED", "true")];
        assert_eq!(
            key_of(None, &none, Whom::Server).await.unwrap(),
            PLACEHOLDER
        );
        assert_eq!(key_of(None, &none, Whom::Aws).await, Err(KeyError::None));
    }

    #[tokio::test]
    async fn nothing_that_is_printed_holds_a_secret() {
        let environment = DOCUMENTED.into_iter().collect();
        let keys = Keys::new(None, &environment).unwrap();
        let credential = keys.credential(Whom::Aws).await.unwrap();
        let printed = format!("{keys:?} {credential:?}");
        assert!(!printed.contains(DOCUMENTED[1].1), "{printed}");
    }

    /// That signatures are right, botocore says in `tests/it/services.rs`.
    #[tokio::test]
    async fn a_token_of_a_session_is_sent_and_signed() {
        let environment = DOCUMENTED
            .into_iter()
            .chain([("AWS_SESSION_TOKEN", "token")])
            .collect();
        let keys = Keys::new(None, &environment).unwrap();
        let request = http::Request::post("https://iam.amazonaws.com/")
            .header("x-amz-content-sha256", "e3b0");
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        keys.sign(&mut parts, Whom::Aws, ("iam", "us-east-1"))
            .await
            .unwrap();
        let authorization = parts.headers["authorization"].to_str().unwrap();
        assert!(authorization.contains("/us-east-1/iam/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token, "));
        assert!(parts.headers["authorization"].is_sensitive());
    }
}
