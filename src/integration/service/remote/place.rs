//! Where a request goes: what the settings say of its service, or AWS's own host in its region.
//!
//! Pure. Invariant: parameters of tasks name no host. A bucket is a part of one of Amazon S3's, and the
//! URL of a queue is followed to AWS's own hosts alone, because what goes there is signed; so is an API, which has a host of
//! its own there.

use serde_json::Value;

use super::{
    catalogue::{Protocol, Service},
    gateway,
    keys::Whom,
    request::{Request, refuse},
    told::unreachable,
};
use crate::{config::Endpoint, integration::service::ServiceTask, payload::Failure};

/// Where a request goes, and for which region it is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// Scheme, host and port, without a slash at the end.
    pub(super) base: String,
    /// The path, percent-encoded.
    pub(super) path: String,
    /// The region.
    pub(super) region: String,
    /// Whom it belongs to.
    pub(super) whom: Whom,
}

/// The place of a request.
pub(super) fn place(
    task: ServiceTask<'_>,
    service: &Service,
    (endpoint, region): (&Endpoint, &str),
    request: &Request,
    parameters: &Value,
) -> Result<Place, Failure> {
    let mut region = region.to_owned();
    let with_bucket = |request: &Request| match &request.bucket {
        Some(bucket) => format!("/{bucket}{}", request.path),
        None => request.path.clone(),
    };
    let queue = if service.names.contains(&"sqs") {
        queue(task, parameters)?
    } else {
        None
    };
    let (base, path, whom) = match endpoint {
        Endpoint::Url(url) => (url.clone(), with_bucket(request), Whom::Server),
        Endpoint::Aws => {
            let mut host = host_of(service, &region);
            let mut path = request.path.clone();
            if let Some(queue) = queue {
                let own = queue.ends_with(".amazonaws.com") || queue.ends_with(".amazonaws.com.cn");
                if !own {
                    return Err(not_found(task, queue));
                }
                if let ["sqs", of_queue, "amazonaws", "com", ..] =
                    queue.split('.').collect::<Vec<_>>()[..]
                {
                    of_queue.clone_into(&mut region);
                }
                queue.clone_into(&mut host);
            }
            if matches!(service.protocol, Protocol::Gateway) {
                let Some((api, of_api)) = gateway::host(parameters) else {
                    return Err(refuse(
                        "The value of the field 'ApiEndpoint' has an invalid format",
                    ));
                };
                api.clone_into(&mut host);
                of_api.clone_into(&mut region);
            }
            match &request.bucket {
                Some(bucket) if is_label(bucket) => host = format!("{bucket}.{host}"),
                Some(_) => path = with_bucket(request),
                None => {}
            }
            (format!("https://{host}"), path, Whom::Aws)
        }
    };
    Ok(Place {
        base,
        path,
        region,
        whom,
    })
}

fn host_of(service: &Service, region: &str) -> String {
    let domain = if region.starts_with("cn-") {
        "amazonaws.com.cn"
    } else {
        "amazonaws.com"
    };
    format!("{}.{region}.{domain}", service.host)
}

/// Whether a bucket's name is one part of a host's; Amazon S3's certificate holds for no more.
fn is_label(bucket: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (3..=63).contains(&bucket.len())
        && bucket.bytes().all(plain)
        && !bucket.starts_with('-')
        && !bucket.ends_with('-')
}

/// The host in the URL of a queue. Spec: the SDK of 2010 sends a message to the URL of its queue, so that
/// one which is no queue's fails by its host.
fn queue<'v>(task: ServiceTask<'_>, parameters: &'v Value) -> Result<Option<&'v str>, Failure> {
    let Some(url) = parameters.get("QueueUrl").and_then(Value::as_str) else {
        return Ok(None);
    };
    let Some((_, rest)) = url.split_once("://") else {
        return Ok(None);
    };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = authority.split(':').next().unwrap_or_default();
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-.".contains(&b);
    if path.is_empty() || host.is_empty() || !host.bytes().all(plain) {
        return Err(not_found(task, host));
    }
    Ok(Some(host))
}

fn not_found(task: ServiceTask<'_>, host: &str) -> Failure {
    unreachable(task, &format!("{host}: Name or service not known"))
}

/// Whether a service is one that this daemon is itself, so that only a section of its own leads away.
pub(super) fn is_ours(service: &Service) -> bool {
    matches!(service.protocol, Protocol::Lambda) || service.names.contains(&"states")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::integration::service::remote::{catalogue, request};

    fn of(
        resource: &str,
        endpoint: &Endpoint,
        region: &str,
        parameters: &Value,
    ) -> Result<String, Failure> {
        let task = ServiceTask::of(resource).unwrap();
        let service = catalogue::find(task.service).unwrap();
        let request = request::request(task, service, parameters)?;
        let place = place(task, service, (endpoint, region), &request, parameters)?;
        Ok(format!("{}{} {}", place.base, place.path, place.region))
    }

    #[test]
    fn a_request_goes_where_the_settings_say_or_to_aws() {
        let server = Endpoint::Url("http://127.0.0.1:1".to_owned());
        let get = "arn:aws:states:::aws-sdk:s3:getObject";
        let put = "arn:aws:states:::dynamodb:putItem";
        let send = "arn:aws:states:::sqs:sendMessage";
        let object = json!({"Bucket": "bucket", "Key": "k"});
        let dotted = json!({"Bucket": "b.c", "Key": "k"});
        let queue = json!({"QueueUrl": "https://sqs.eu-west-1.amazonaws.com/1/q"});
        for (resource, endpoint, region, parameters, place) in [
            (get, &server, "r", &object, "http://127.0.0.1:1/bucket/k r"),
            (
                get,
                &Endpoint::Aws,
                "eu-central-1",
                &object,
                "https://bucket.s3.eu-central-1.amazonaws.com/k eu-central-1",
            ),
            (
                get,
                &Endpoint::Aws,
                "eu-central-1",
                &dotted,
                "https://s3.eu-central-1.amazonaws.com/b.c/k eu-central-1",
            ),
            (
                put,
                &Endpoint::Aws,
                "cn-north-1",
                &json!({}),
                "https://dynamodb.cn-north-1.amazonaws.com.cn/ cn-north-1",
            ),
            (
                send,
                &Endpoint::Aws,
                "us-east-1",
                &queue,
                "https://sqs.eu-west-1.amazonaws.com/ eu-west-1",
            ),
            (
                send,
                &server,
                "us-east-1",
                &queue,
                "http://127.0.0.1:1/ us-east-1",
            ),
        ] {
            assert_eq!(of(resource, endpoint, region, parameters).unwrap(), place);
        }
    }

    /// Spec: the recorded failure of a queue that is none.
    #[test]
    fn a_queue_is_never_followed_elsewhere() {
        let server = Endpoint::Url("http://127.0.0.1:1".to_owned());
        for (endpoint, url, host) in [
            (&server, "http://no-such-queue", "no-such-queue"),
            (&Endpoint::Aws, "http://no-such-queue", "no-such-queue"),
            (&Endpoint::Aws, "https://evil.example/1/q", "evil.example"),
            (
                &Endpoint::Aws,
                "https://evilamazonaws.com/1/q",
                "evilamazonaws.com",
            ),
            (
                &Endpoint::Aws,
                "https://x@evil.example/1/q",
                "x@evil.example",
            ),
        ] {
            let failure = of(
                "arn:aws:states:::sqs:sendMessage",
                endpoint,
                "us-east-1",
                &json!({"QueueUrl": url, "MessageBody": "m"}),
            )
            .unwrap_err();
            assert_eq!(failure.error, "SQS.SdkClientException");
            assert_eq!(
                failure.cause,
                format!("Unable to execute HTTP request: {host}: Name or service not known")
            );
        }
    }
}
