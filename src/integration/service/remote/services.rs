//! The client: a task goes in, its result or its failure comes out.
//!
//! Owns how often a request is sent and how long is waited in between. Knows neither states nor
//! executions: `States.Timeout` is whose clock it is.

use std::{
    io,
    sync::{Arc, OnceLock},
    time::Duration,
};

use hyper::{body::Bytes, http};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{
    answer::{self, Answer},
    beyond::Beyond,
    catalogue::{self, Protocol, Service},
    keys::{KeyError, Keys, Signer, Whom},
    place::{self, Place},
    request::{self, Request},
    tokens,
    told::{self, Refused, Told, client_failure, unreachable},
    wire::{ANSWER_BYTES_MAX, Connections, Lost, Wire},
};
use crate::{
    config::{Endpoint, Environment, OneService, ServiceSettings},
    integration::service::ServiceTask,
    payload::{Failure, Payload},
};

/// How often a request is sent at the most. Spec: the standard retry mode of AWS's SDKs.
const ATTEMPTS_MAX: u32 = 3;

/// The longest first wait before a request is sent again; it doubles, and any time up to it is waited, so
/// that many who were refused at once do not come back at once. Spec: as [`ATTEMPTS_MAX`].
const FIRST_WAIT_MAX: Duration = Duration::from_millis(500);

/// How long an answer may take. Spec: AWS's SDK for Java waits 50 seconds for the next byte; a long poll of
/// Amazon SQS takes 20.
const PATIENCE: Duration = Duration::from_mins(1);

/// The same of a function, which may run for a quarter of an hour.
const FUNCTION_PATIENCE: Duration = Duration::from_secs(15 * 60 + 10);

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ServicesError {
    /// A section names a service that is not known: its key (`services.dynamdb`), and the mend.
    #[error("{0}: there is no such service{1}")]
    Unknown(String, String),
    /// `$AWS_REGION` is no region.
    #[error("the environment variable AWS_REGION is no region; write for example eu-central-1")]
    Region,
    /// A task wants of a service elsewhere what it is not asked.
    #[error("{}; {}", .0.problem, .0.mend)]
    Beyond(Beyond),
    /// The system refuses to make one.
    #[error("no client for services: {0}")]
    Client(#[from] io::Error),
}

/// A client of all services; cheap to clone.
#[derive(Debug, Clone)]
pub struct Services(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: ServiceSettings,
    region: String,
    wire: Wire,
    keys: Arc<Keys>,
    /// Of buckets.
    connections: OnceLock<Connections>,
}

/// Whether the settings name services that there are.
///
/// # Errors
/// With the first name that is none, and the nearest one.
pub fn check_names(settings: &ServiceSettings) -> Result<(), ServicesError> {
    let mut names = settings.named.keys();
    match names.find(|name| catalogue::find(name).is_none()) {
        Some(name) => Err(unknown_section(name)),
        None => Ok(()),
    }
}

/// Whether there is such a service, by the name that resources have.
#[must_use]
pub fn knows(service: &str) -> bool {
    catalogue::find(service).is_some()
}

/// Whether settings lead to a service elsewhere: see [`Services::has`].
#[must_use]
pub fn leads_away(settings: &ServiceSettings, service: &str) -> bool {
    match catalogue::find(service) {
        Some(service) => endpoint(settings, service).is_some(),
        None => settings.endpoint.is_some(),
    }
}

impl Services {
    /// A client for what the settings say; nothing is sent, and nobody's credentials are looked up yet.
    ///
    /// `region` is where services are of which nothing says so; `environment` holds AWS's own variables
    /// (`AWS_REGION`, `AWS_ACCESS_KEY_ID`, ..) and `HOME`.
    pub fn new(
        settings: &ServiceSettings,
        region: &str,
        environment: &Environment,
    ) -> Result<Self, ServicesError> {
        check_names(settings)?;
        let variable = ["AWS_REGION", "AWS_DEFAULT_REGION"]
            .into_iter()
            .find_map(|name| environment.get(name));
        let region = match (&settings.region, variable) {
            (Some(region), _) => region.clone(),
            (None, Some(region)) => region
                .to_str()
                .filter(|region| is_region(region))
                .ok_or(ServicesError::Region)?
                .to_owned(),
            (None, None) => region.to_owned(),
        };
        Ok(Self(Arc::new(Inner {
            settings: settings.clone(),
            region,
            wire: Wire::new(None)?,
            keys: Arc::new(Keys::new(settings.profile.as_deref(), environment)?),
            connections: OnceLock::new(),
        })))
    }

    /// Whether the settings lead to this service elsewhere, by the name that resources have: then what is
    /// embedded here is not asked. So of a service that is not known, where they lead away for all.
    #[must_use]
    pub fn has(&self, service: &str) -> bool {
        leads_away(&self.0.settings, service)
    }

    /// The region of a service, as histories tell it.
    #[must_use]
    pub fn region(&self, service: &str) -> &str {
        let one = catalogue::find(service)
            .and_then(|service| section(&self.0.settings, service, |one| one.region.as_ref()));
        one.unwrap_or(&self.0.region)
    }

    /// Asks a service, and answers the task's result as AWS Step Functions tells it.
    ///
    /// What came to nothing, or is refused for a moment, is sent again, three times in all and
    /// within `timeout`; so a request may be carried out more than once, as with AWS's SDKs. What runs a
    /// user's own code (AWS Lambda, an API) is not sent again once it was sent.
    ///
    /// # Errors
    /// With AWS's name and cause where the service refuses; `SdkClientException` of the service where it
    /// is not reached or answers nothing that its protocol has; `States.DataLimitExceeded` where the
    /// answer is too large; `States.Runtime` where the parameters make no request.
    pub async fn call(
        &self,
        task: ServiceTask<'_>,
        parameters: &Value,
        timeout: Option<Duration>,
    ) -> Result<Payload, Failure> {
        let asking = self.asked(task, parameters, ANSWER_BYTES_MAX);
        let told = match timeout {
            None => asking.await,
            Some(timeout) => tokio::time::timeout(timeout, asking)
                .await
                .unwrap_or_else(|_| Err(unreachable(task, "no answer within the task's time"))),
        };
        told::told(task, told?)
    }

    /// Asks a service what is no task's result, so that the answer may be larger: `bytes_max` as it is sent.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn answer(
        &self,
        task: ServiceTask<'_>,
        parameters: &Value,
        bytes_max: usize,
    ) -> Result<Value, Failure> {
        let asking = self.asked(task, parameters, bytes_max);
        asking.await.map(|told| told.value)
    }

    async fn asked(
        &self,
        task: ServiceTask<'_>,
        parameters: &Value,
        bytes_max: usize,
    ) -> Result<Told, Failure> {
        let Some(service) = catalogue::find(task.service) else {
            return Err(request::refuse(unknown_service(task.service)));
        };
        let Some(endpoint) = self.endpoint(service) else {
            let name = task.service;
            return Err(request::refuse(format!(
                "nothing says where {name} is; [services.{name}] endpoint in iterd.toml does"
            )));
        };
        // Why here: each time that it is sent it has the same.
        let filled = tokens::filled(task, parameters);
        let parameters = filled.as_ref().unwrap_or(parameters);
        let request = request::request(task, service, parameters)?;
        let where_to = (endpoint, self.region(task.service));
        let place = place::place(task, service, where_to, &request, parameters)?;
        self.ask(task, (service, bytes_max), &request, &place).await
    }

    /// Where a service is, by the name that resources have; `None` where the settings do not lead away.
    pub(super) fn endpoint_of(&self, service: &str) -> Option<&Endpoint> {
        self.endpoint(catalogue::find(service)?)
    }

    /// Who signs for buckets.
    pub(super) fn signer(&self, whom: Whom) -> Signer {
        Signer::new(Arc::clone(&self.0.keys), whom)
    }

    /// Connections of all buckets; made with the first.
    pub(super) fn connections(&self) -> io::Result<Connections> {
        if let Some(known) = self.0.connections.get() {
            return Ok(known.clone());
        }
        let made = Connections::new()?;
        Ok(self.0.connections.get_or_init(|| made).clone())
    }

    async fn ask(
        &self,
        task: ServiceTask<'_>,
        (service, bytes_max): (&Service, usize),
        request: &Request,
        place: &Place,
    ) -> Result<Told, Failure> {
        let mut renewed = false;
        let mut attempt = 1;
        loop {
            let (failure, again) = match self.send((service, bytes_max), request, place).await {
                Ok(response) => match answer::answer(task, service, response) {
                    Answer::Told(told) => return Ok(told),
                    Answer::Failed(failure) => return Err(failure),
                    Answer::Refused(mut refused) => {
                        refused.attempts = attempt;
                        if is_stale(&refused.code) && !renewed {
                            renewed = true;
                            self.0.keys.forget(place.whom).await;
                            continue;
                        }
                        (
                            told::failure(task, &refused),
                            is_sent_again(service, &refused),
                        )
                    }
                },
                Err(Unsent::Lost(Lost::TooLarge)) => return Err(told::too_large(task)),
                Err(Unsent::Lost(Lost::Unreached(why))) => (unreachable(task, &why), true),
                Err(Unsent::Lost(Lost::Broken(why))) => {
                    (unreachable(task, &why), may_be_sent_twice(service))
                }
                Err(Unsent::Keys(error)) => {
                    return Err(client_failure(task, &error.to_string()));
                }
            };
            if !again || attempt == ATTEMPTS_MAX {
                return Err(failure);
            }
            tokio::time::sleep(wait_before(attempt)).await;
            attempt += 1;
        }
    }

    async fn send(
        &self,
        (service, bytes_max): (&Service, usize),
        request: &Request,
        place: &Place,
    ) -> Result<answer::Response, Unsent> {
        let query = match request.query_string() {
            query if query.is_empty() => query,
            query => format!("?{query}"),
        };
        let mut built = http::Request::builder()
            .method(request.method)
            .uri(format!("{}{}{query}", place.base, place.path));
        if request.signed {
            let hash = hex(&Sha256::digest(&request.body));
            built = built.header("x-amz-content-sha256", hash);
        }
        for (name, value) in &request.headers {
            built = built.header(name, value);
        }
        let built = built
            .body(Bytes::copy_from_slice(&request.body))
            .map_err(|_| Unsent::Lost(Lost::Broken("the request is none".to_owned())))?;
        let (mut parts, body) = built.into_parts();
        let scope = (service.signing, place.region.as_str());
        if request.signed {
            let signing = self.0.keys.sign(&mut parts, place.whom, scope);
            signing.await.map_err(Unsent::Keys)?;
        }
        let patience = match service.protocol {
            Protocol::Lambda => FUNCTION_PATIENCE,
            Protocol::Json { .. } | Protocol::Query { .. } | Protocol::S3 | Protocol::Gateway => {
                PATIENCE
            }
        };
        let sent =
            self.0
                .wire
                .send_for(http::Request::from_parts(parts, body), patience, bytes_max);
        sent.await.map_err(Unsent::Lost)
    }

    fn endpoint(&self, service: &Service) -> Option<&Endpoint> {
        endpoint(&self.0.settings, service)
    }
}

fn endpoint<'s>(settings: &'s ServiceSettings, service: &Service) -> Option<&'s Endpoint> {
    let own = section(settings, service, |one| one.endpoint.as_ref());
    let all = settings.endpoint.as_ref();
    own.or_else(|| all.filter(|_| !place::is_ours(service)))
}

/// What a section of a service says, whichever of its names it has.
fn section<'s, T>(
    settings: &'s ServiceSettings,
    service: &Service,
    says: impl Fn(&'s OneService) -> Option<&'s T>,
) -> Option<&'s T> {
    let named = &settings.named;
    let mut sections = service.names.iter().filter_map(|name| named.get(*name));
    sections.find_map(says)
}

/// Whether what may have been carried out is sent again. So the SDKs do with all; but a user's own code
/// is not run again by us: whether it is, the task's Retry says.
fn may_be_sent_twice(service: &Service) -> bool {
    match service.protocol {
        Protocol::Lambda | Protocol::Gateway => false,
        Protocol::Json { .. } | Protocol::Query { .. } | Protocol::S3 => true,
    }
}

/// Whether what was refused is sent again. A function that is throttled did not run; of any other refusal
/// nobody knows: a gateway's 502 tells of the way back, too.
fn is_sent_again(service: &Service, refused: &Refused) -> bool {
    refused.is_transient() && (may_be_sent_twice(service) || refused.status == 429)
}

/// Why nothing came back.
enum Unsent {
    Lost(Lost),
    Keys(KeyError),
}

fn unknown_section(name: &str) -> ServicesError {
    let mend = near(name).map_or_else(String::new, |near| format!("; did you mean {near:?}?"));
    ServicesError::Unknown(format!("services.{name}"), mend)
}

fn unknown_service(name: &str) -> String {
    let mend = near(name).map_or_else(
        || {
            format!(
                "; there are {}",
                catalogue::names().collect::<Vec<_>>().join(", ")
            )
        },
        |near| format!("; did you mean {near}?"),
    );
    format!("the service {name} is not known here{mend}")
}

fn near(name: &str) -> Option<&'static str> {
    catalogue::names()
        .map(|known| (strsim::damerau_levenshtein(name, known), known))
        .filter(|(distance, known)| *distance <= 1 + known.len() / 4 && *distance < known.len())
        .min()
        .map(|(_, known)| known)
}

fn is_region(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !text.is_empty() && text.len() <= 40 && text.bytes().all(plain)
}

/// Whether a refusal is of the credentials, which may have been renewed meanwhile.
fn is_stale(code: &str) -> bool {
    matches!(
        code,
        "ExpiredToken"
            | "ExpiredTokenException"
            | "InvalidClientTokenId"
            | "UnrecognizedClientException"
    )
}

fn wait_before(attempt: u32) -> Duration {
    let longest = FIRST_WAIT_MAX * 2_u32.saturating_pow(attempt - 1);
    longest.mul_f64(rand::random_range(0.0..=1.0))
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let nibbles = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    nibbles
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn services(text: &str, variables: &[(&str, &str)]) -> Result<Services, ServicesError> {
        let file = std::path::Path::new("iterd.toml");
        let settings = crate::config::Settings::parse(file, text).unwrap();
        let environment = variables.iter().copied().collect();
        Services::new(&settings.config.services, "us-east-1", &environment)
    }

    #[test]
    fn what_is_elsewhere_is_what_the_settings_say() {
        let none = services("", &[]).unwrap();
        let all = services("services.endpoint = \"aws\"", &[]).unwrap();
        let some = services(
            "[services.eventbridge]\nendpoint = \"aws\"\n[services.states]\nendpoint = \"aws\"\n[services.sqs]",
            &[],
        );
        let some = some.unwrap();
        for (name, of_all, of_some) in [
            ("dynamodb", true, false),
            ("events", true, true),
            ("sqs", true, false),
            ("states", false, true),
            ("sfn", false, true),
            ("lambda", false, false),
            ("unheard-of", true, false),
        ] {
            assert!(!none.has(name));
            assert_eq!((all.has(name), some.has(name)), (of_all, of_some), "{name}");
        }
    }

    #[test]
    fn the_nearest_region_counts() {
        let text = "[services]\nregion = \"eu-west-1\"\n[services.sqs]\nregion = \"eu-west-2\"";
        let variable = [("AWS_REGION", "eu-west-3")];
        for (text, variables, sqs, sns) in [
            (text, &variable[..], "eu-west-2", "eu-west-1"),
            ("", &variable[..], "eu-west-3", "eu-west-3"),
            ("", &[][..], "us-east-1", "us-east-1"),
        ] {
            let services = services(text, variables).unwrap();
            assert_eq!((services.region("sqs"), services.region("sns")), (sqs, sns));
        }
        assert!(services("", &[("AWS_REGION", "evil.example/")]).is_err());
    }

    #[test]
    fn a_section_of_a_service_that_nobody_knows_is_refused() {
        let refused = services("[services.dynamdb]\nendpoint = \"aws\"", &[]).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "services.dynamdb: there is no such service; did you mean \"dynamodb\"?"
        );
    }

    #[test]
    fn a_function_that_may_have_run_is_not_run_again() {
        let refused = |status: u16| Refused {
            code: "ServiceException".to_owned(),
            shape: None,
            message: String::new(),
            status,
            request_id: String::new(),
            extended_id: None,
            attempts: 1,
        };
        for (service, status, again) in [
            ("lambda", 429, true),
            ("lambda", 500, false),
            ("lambda", 502, false),
            ("sqs", 429, true),
            ("sqs", 502, true),
            ("sqs", 400, false),
        ] {
            let service = catalogue::find(service).unwrap();
            assert_eq!(is_sent_again(service, &refused(status)), again, "{status}");
        }
    }

    #[test]
    fn waits_grow_and_stay_below_their_bounds() {
        for attempt in 1..ATTEMPTS_MAX {
            let longest = FIRST_WAIT_MAX * 2_u32.pow(attempt - 1);
            assert!((0..100).all(|_| wait_before(attempt) <= longest));
        }
    }
}
