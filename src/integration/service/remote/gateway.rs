//! Amazon API Gateway's `invoke`: an HTTP API of somebody's own as a task.
//!
//! Pure. Spec: the optimized integration for API Gateway and recordings of it. The path and the body are
//! the user's, the host one of API Gateway's.

use serde_json::{Map, Value, json};

use super::{
    answer::Response,
    request::{Request, encode, refuse, unknown},
    told::cut,
};
use crate::payload::Failure;

/// Methods that an API may have.
const METHODS: [&str; 7] = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"];

/// Headers that are the transport's, or would say who asks. Spec: the integration's list of them.
const CLOSED_HEADERS: [&str; 18] = [
    "authorization",
    "connection",
    "content-length",
    "content-md5",
    "date",
    "expect",
    "host",
    "max-forwards",
    "proxy-authenticate",
    "server",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "www-authenticate",
    "x-forwarded-for",
    "x-amz-content-sha256",
];

/// The request; `parameters` are without nulls, of which `whole` has all.
pub(super) fn request(action: &str, parameters: &Value, whole: &Value) -> Result<Request, Failure> {
    if action != "invoke" {
        return Err(unknown("apigateway", action, &["invoke"]));
    }
    let text = |name: &str| parameters.get(name).and_then(Value::as_str);
    let method = METHODS.iter().find(|known| Some(**known) == text("Method"));
    let Some(method) = method else {
        return Err(invalid("Method"));
    };
    let stage = text("Stage").into_iter();
    let parts = stage.chain(text("Path").into_iter().flat_map(|path| path.split('/')));
    let parts: Vec<String> = parts.filter(|part| !part.is_empty()).map(encode).collect();
    if parts.iter().any(|part| matches!(part.as_str(), "." | "..")) {
        return Err(invalid("Path"));
    }
    let mut request = Request::new(method, format!("/{}", parts.join("/")));
    request.signed = match text("AuthType") {
        None | Some("NO_AUTH") => false,
        Some("IAM_ROLE" | "RESOURCE_POLICY") => true,
        Some(_) => return Err(invalid("AuthType")),
    };
    request.query = lists(parameters, "QueryParameters")?;
    for (name, value) in lists(parameters, "Headers")? {
        let name = name.to_ascii_lowercase();
        let token = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        let plain = value.chars().all(|c| c.is_ascii_graphic() || c == ' ');
        let closed = CLOSED_HEADERS.contains(&name.as_str()) || name.starts_with("x-amzn-");
        if name.is_empty() || !name.bytes().all(token) || !plain || closed {
            return Err(invalid("Headers"));
        }
        request.headers.push((name, value));
    }
    let of_body = match parameters.get("AllowNullValues") {
        Some(Value::Bool(true)) => whole,
        _ => parameters,
    };
    // Spec: a body is JSON whatever it is, and none where it is null.
    if let Some(body) = of_body.get("RequestBody").filter(|body| !body.is_null()) {
        request.body = body.to_string().into_bytes();
        if !request
            .headers
            .iter()
            .any(|(name, _)| name == "content-type")
        {
            request = request.header("content-type", "application/json");
        }
    }
    Ok(request)
}

fn invalid(field: &str) -> Failure {
    refuse(format!(
        "The value of the field '{field}' has an invalid format"
    ))
}

/// Spec: names with lists of values, never with single ones.
fn lists(parameters: &Value, field: &str) -> Result<Vec<(String, String)>, Failure> {
    let mut pairs = Vec::new();
    let Some(value) = parameters.get(field) else {
        return Ok(pairs);
    };
    for (name, values) in value.as_object().ok_or_else(|| invalid(field))? {
        for value in values.as_array().ok_or_else(|| invalid(field))? {
            let value = value.as_str().ok_or_else(|| invalid(field))?;
            pairs.push((name.clone(), value.to_owned()));
        }
    }
    Ok(pairs)
}

/// The host of an API, where it is one of API Gateway's, and its region.
pub(super) fn host(parameters: &Value) -> Option<(&str, &str)> {
    let host = parameters.get("ApiEndpoint")?.as_str()?;
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let label = |part: &str| !part.is_empty() && part.bytes().all(plain);
    match host.split('.').collect::<Vec<_>>()[..] {
        [api, "execute-api", region, "amazonaws", "com"]
        | [api, "execute-api", region, "amazonaws", "com", "cn"]
            if label(api) && label(region) =>
        {
            Some((host, region))
        }
        _ => None,
    }
}

/// The result; of a status from 400 on the failure that is named by it.
pub(super) fn value(response: &Response) -> Result<Value, Failure> {
    let text = String::from_utf8_lossy(&response.body).into_owned();
    if response.status >= 400 {
        return Err(Failure::new(
            format!("ApiGateway.{}", response.status),
            cut(text),
        ));
    }
    let mut headers = Map::new();
    for (name, value) in &response.headers {
        let values = headers
            .entry(name.clone())
            .or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(values) = values {
            values.push(value.clone().into());
        }
    }
    let body = serde_json::from_str(&text).unwrap_or_else(|_| Value::from(text));
    let status = hyper::StatusCode::from_u16(response.status).ok();
    let reason = status.and_then(|status| status.canonical_reason());
    Ok(json!({
        "Headers": headers,
        "ResponseBody": body,
        "StatusCode": response.status,
        "StatusText": reason.unwrap_or_default(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_api_is_asked_as_recorded() {
        for (body, sent) in [
            (json!(null), ""),
            (json!(""), "\"\""),
            (json!("HelloWorld"), "\"HelloWorld\""),
            (
                json!({"message": "HelloWorld!"}),
                r#"{"message":"HelloWorld!"}"#,
            ),
        ] {
            let parameters = json!({
                "Method": "POST", "Stage": "s", "Path": "/a b/c", "RequestBody": body,
                "Headers": {"custom_header": ["0", "1"]}, "QueryParameters": {"q": ["1"]},
            });
            let request = request("invoke", &parameters, &parameters).unwrap();
            assert_eq!(request.path, "/s/a%20b/c");
            assert_eq!(String::from_utf8(request.body).unwrap(), sent);
            assert_eq!(
                request.headers[1],
                ("custom_header".to_owned(), "1".to_owned())
            );
            assert!(!request.signed);
        }
    }

    #[test]
    fn what_an_api_cannot_be_asked_is_refused() {
        for (field, value) in [
            ("Method", json!("post")),
            ("Path", json!("a/../b")),
            ("Headers", json!({"h": "single"})),
            ("Headers", json!({"Host": ["evil.example"]})),
            ("Headers", json!({"h": ["a\r\nb: c"]})),
            ("QueryParameters", json!(["q"])),
            ("AuthType", json!("NONE")),
        ] {
            let mut parameters = json!({"Method": "POST"});
            parameters[field] = value;
            let failure = request("invoke", &parameters, &parameters).unwrap_err();
            assert!(failure.cause.contains(field), "{failure:?}");
        }
    }

    #[test]
    fn only_hosts_of_api_gateway_are_asked() {
        for (host_of, known) in [
            ("id.execute-api.eu-west-1.amazonaws.com", Some("eu-west-1")),
            (
                "id.execute-api.cn-north-1.amazonaws.com.cn",
                Some("cn-north-1"),
            ),
            ("https://id.execute-api.eu-west-1.amazonaws.com", None),
            ("id.execute-api.eu-west-1.amazonaws.com.evil.example", None),
            ("evil.example/.execute-api.eu-west-1.amazonaws.com", None),
            ("127.0.0.1", None),
        ] {
            let parameters = json!({"ApiEndpoint": host_of});
            assert_eq!(host(&parameters).map(|(_, region)| region), known);
        }
    }

    #[test]
    fn an_api_is_told_as_recorded() {
        let response = |status, body: &str| Response {
            status,
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body: body.as_bytes().to_vec(),
        };
        assert_eq!(
            value(&response(200, "{}")).unwrap(),
            json!({"Headers": {"content-type": ["application/json"]}, "ResponseBody": {}, "StatusCode": 200, "StatusText": "OK"})
        );
        assert_eq!(value(&response(200, "<a>")).unwrap()["ResponseBody"], "<a>");
        let missing = r#"{"message":"Missing Authentication Token"}"#;
        let failure = value(&response(403, missing)).unwrap_err();
        assert_eq!(
            (&*failure.error, &*failure.cause),
            ("ApiGateway.403", missing)
        );
    }
}
