//! AWS's Query protocol: a form that names an action, and an answer in XML. What embedded services are
//! asked by clients that speak nothing newer.
//!
//! Owns the way from a form to the parameters that all protocols have in common, and back. Pure. Spec: the
//! `awsQuery` protocol of Smithy: lists are `NAME.member.N`, maps `NAME.entry.N.key` and `.value`, or
//! `.Name` and `.Value`. Invariant: whatever was sent, an answer is well formed.

use std::fmt::Write as _;

use axum::{
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use serde_json::{Map, Value};

use super::{ApiError, ErrorKind, Fault};
use crate::integration::service::{Embedded, Refusal};

/// What a form is sent as.
const FORM: &str = "application/x-www-form-urlencoded";

/// Most fields of a form: a batch of ten messages with ten attributes of three fields each, and twice that.
const FIELDS_MAX: usize = 1000;

/// Most parts of a field's name: the deepest that there is has eight.
const PARTS_MAX: usize = 16;

/// Members of answers that are maps: all others are structures.
const MAPS: [&str; 1] = ["Attributes"];

/// The service that a form is for, by what its signature says.
pub(super) fn service_of(headers: &HeaderMap) -> Option<Embedded> {
    let text = |name| headers.get(name)?.to_str().ok();
    let is_form = text(header::CONTENT_TYPE)?.trim_start().starts_with(FORM);
    let (_, scope) = text(header::AUTHORIZATION)?.split_once("Credential=")?;
    let scope = scope.split([',', ' ']).next()?;
    let service = Embedded::of_name(scope.split('/').rev().nth(1)?)?;
    (is_form && service.name_space().is_some()).then_some(service)
}

fn malformed(why: impl Into<String>) -> ApiError {
    ApiError::new(ErrorKind::Service("MalformedQueryString"), why)
}

/// The action of a form, and its parameters.
pub(super) fn decode(body: &[u8]) -> Result<(String, Value), ApiError> {
    let mut fields = Map::new();
    let pairs = body.split(|byte| *byte == b'&');
    for (count, pair) in pairs.filter(|pair| !pair.is_empty()).enumerate() {
        if count >= FIELDS_MAX {
            return Err(malformed(format!(
                "the form has more than {FIELDS_MAX} fields"
            )));
        }
        let end = pair.iter().position(|byte| *byte == b'=');
        let (name, value) = pair.split_at(end.unwrap_or(pair.len()));
        let (name, value) = (plain(name)?, plain(value.get(1..).unwrap_or_default())?);
        // Spec: what is empty was not said; so an empty list is sent.
        if !value.is_empty() {
            put(&mut fields, &name, value)?;
        }
    }
    fields.remove("Version");
    let Some(Value::String(action)) = fields.remove("Action") else {
        let code = ErrorKind::Service("MissingAction");
        return Err(ApiError::new(code, "the form names no Action"));
    };
    Ok((action, folded(Value::Object(fields))?))
}

/// A text as it was before it was encoded.
fn plain(encoded: &[u8]) -> Result<String, ApiError> {
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded;
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        match first {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digits = rest
                    .get(..2)
                    .and_then(|digits| std::str::from_utf8(digits).ok());
                let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
                bytes.push(byte.ok_or_else(|| malformed("the form has a % without its digits"))?);
                rest = &rest[2..];
            }
            other => bytes.push(*other),
        }
    }
    String::from_utf8(bytes).map_err(|_| malformed("the form is no UTF-8"))
}

/// Puts a field where its name says, level by level.
fn put(fields: &mut Map<String, Value>, name: &str, value: String) -> Result<(), ApiError> {
    let parts: Vec<&str> = name.split('.').collect();
    let Some((last, levels)) = parts.split_last().filter(|_| parts.len() <= PARTS_MAX) else {
        return Err(malformed(format!(
            "a field has more than {PARTS_MAX} parts"
        )));
    };
    let twice = || malformed(format!("the field {name:?} is said twice"));
    let mut at = fields;
    for level in levels {
        let below = at
            .entry(*level)
            .or_insert_with(|| Value::Object(Map::new()));
        at = below.as_object_mut().ok_or_else(twice)?;
    }
    match at.insert((*last).to_owned(), value.into()) {
        None => Ok(()),
        Some(_) => Err(twice()),
    }
}

/// Makes lists and maps of what is numbered. Invariant: no deeper than [`PARTS_MAX`].
fn folded(value: Value) -> Result<Value, ApiError> {
    let Value::Object(mut fields) = value else {
        return Ok(value);
    };
    let single = fields.len() == 1;
    if single && fields.contains_key("member") {
        let members = numbered(fields.remove("member").unwrap_or_default())?;
        let members = members.into_iter().map(folded);
        return Ok(Value::Array(members.collect::<Result<_, _>>()?));
    }
    if single && fields.contains_key("entry") {
        let mut map = Map::new();
        for entry in numbered(fields.remove("entry").unwrap_or_default())? {
            let part = |names: [&str; 2]| {
                let fields = entry.as_object();
                names.iter().find_map(|name| fields?.get(*name).cloned())
            };
            let (Some(Value::String(key)), value) =
                (part(["key", "Name"]), part(["value", "Value"]))
            else {
                return Err(malformed("an entry of a map has no key"));
            };
            map.insert(key, folded(value.unwrap_or_default())?);
        }
        return Ok(map.into());
    }
    let folded = fields
        .into_iter()
        .map(|(name, value)| Ok((name, folded(value)?)));
    Ok(Value::Object(folded.collect::<Result<_, ApiError>>()?))
}

/// What is numbered, in the order of its numbers.
fn numbered(value: Value) -> Result<Vec<Value>, ApiError> {
    let Value::Object(fields) = value else {
        return Err(malformed("a member of a list has no number"));
    };
    let mut all = Vec::with_capacity(fields.len());
    for (number, value) in fields {
        let place = number.parse::<u32>();
        let place = place.map_err(|_| malformed(format!("{number:?} is no place in a list")))?;
        all.push((place, value));
    }
    all.sort_by_key(|(place, _)| *place);
    Ok(all.into_iter().map(|(_, value)| value).collect())
}

/// An answer to an action of a service, or its refusal; `id` names the request.
pub(super) fn respond(
    service: Embedded,
    outcome: Result<(Value, String), ApiError>,
    id: &str,
) -> Response {
    let name_space = service.name_space().unwrap_or_default();
    let (status, body) = match outcome {
        Ok((answer, action)) => {
            let mut result = String::new();
            // Spec: an action that answers nothing has no result.
            if answer.as_object().is_some_and(|answer| !answer.is_empty()) {
                write_value(&mut result, &format!("{action}Result"), &answer);
            }
            let body = format!(
                "<{action}Response xmlns=\"{name_space}\">{result}<ResponseMetadata><RequestId>{id}</RequestId></ResponseMetadata></{action}Response>\n"
            );
            (StatusCode::OK, body)
        }
        Err(error) => refused(name_space, &error, id),
    };
    let headers = [
        (header::CONTENT_TYPE.as_str(), "text/xml"),
        ("x-amzn-requestid", id),
    ];
    (status, headers, body).into_response()
}

fn refused(name_space: &str, error: &ApiError, id: &str) -> (StatusCode, String) {
    let name = error.kind.name();
    let (code, status) = match error.kind {
        ErrorKind::Service(code) => (code, Refusal::status(code)),
        // Spec: what the protocol's servers call these.
        ErrorKind::States(Fault::AccessDenied) => ("AuthorizationError", 403),
        ErrorKind::States(Fault::InvalidSignature) => ("SignatureDoesNotMatch", 403),
        ErrorKind::States(fault) => (
            name.strip_suffix("Exception").unwrap_or(name),
            fault.http_status(),
        ),
        kind @ (ErrorKind::Validation
        | ErrorKind::NotFound
        | ErrorKind::Conflict
        | ErrorKind::Denied
        | ErrorKind::Internal) => (name, kind.http_status()),
    };
    let who = if status < 500 { "Sender" } else { "Receiver" };
    let message = escaped(&error.message);
    let body = format!(
        "<ErrorResponse xmlns=\"{name_space}\"><Error><Type>{who}</Type><Code>{code}</Code><Message>{message}</Message></Error><RequestId>{id}</RequestId></ErrorResponse>\n"
    );
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, body)
}

/// Writes an element. Invariant: no deeper than what a service answers, a handful of levels.
fn write_value(out: &mut String, name: &str, value: &Value) {
    // Why ok, throughout: nothing goes wrong in memory.
    write!(out, "<{name}>").ok();
    match value {
        Value::Object(fields) if MAPS.contains(&name) => {
            for (key, value) in fields {
                write!(out, "<entry><key>{}</key>", escaped(key)).ok();
                write_value(out, "value", value);
                out.push_str("</entry>");
            }
        }
        Value::Object(fields) => {
            for (name, value) in fields {
                write_value(out, name, value);
            }
        }
        Value::Array(members) => {
            for member in members {
                write_value(out, "member", member);
            }
        }
        Value::String(text) => out.push_str(&escaped(text)),
        Value::Null => {}
        Value::Bool(_) | Value::Number(_) => out.push_str(&value.to_string()),
    }
    write!(out, "</{name}>").ok();
}

/// A text as XML has it; characters that it has none for are replaced.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\r' => out.push_str("&#13;"),
            '\t' | '\n' => out.push(c),
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_form_becomes_the_parameters_that_all_protocols_have() {
        let form = "Action=Publish&Version=2010-03-31&Message=a%20b%2Bc+%C3%BC&Empty=\
                    &MessageAttributes.entry.1.Name=k&MessageAttributes.entry.1.Value.DataType=String\
                    &MessageAttributes.entry.1.Value.StringValue=v&Attributes.entry.1.key=a\
                    &Attributes.entry.1.value=b&L.member.2.Id=y&L.member.10.Id=z&L.member.1.Id=x";
        let (action, parameters) = decode(form.as_bytes()).unwrap();
        assert_eq!(action, "Publish");
        assert_eq!(
            parameters,
            json!({
                "Message": "a b+c ü",
                "MessageAttributes": {"k": {"DataType": "String", "StringValue": "v"}},
                "Attributes": {"a": "b"},
                "L": [{"Id": "x"}, {"Id": "y"}, {"Id": "z"}],
            })
        );
    }

    #[test]
    fn a_form_that_is_none_is_refused_in_the_protocols_words() {
        let many = "a=b&".repeat(FIELDS_MAX + 1);
        let deep = format!("Action=A&{}=b", "a.".repeat(PARTS_MAX));
        for (form, code) in [
            ("", "MissingAction"),
            ("Version=1", "MissingAction"),
            ("Action=A&a=%4", "MalformedQueryString"),
            ("Action=A&a=%zz", "MalformedQueryString"),
            ("Action=A&a=%ff", "MalformedQueryString"),
            ("Action=A&a=b&a=c", "MalformedQueryString"),
            ("Action=A&a=b&a.c=d", "MalformedQueryString"),
            ("Action=A&a.member.x=d", "MalformedQueryString"),
            ("Action=A&a.member=d", "MalformedQueryString"),
            ("Action=A&a.entry.1.value=d", "MalformedQueryString"),
            (&many, "MalformedQueryString"),
            (&deep, "MalformedQueryString"),
        ] {
            let error = decode(form.as_bytes()).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Service(code), "{form:.40}");
        }
    }

    #[test]
    fn answers_are_well_formed_whatever_they_hold() {
        let mut out = String::new();
        let value = json!({"Attributes": {"a<": "1"}, "L": [{"Id": "x&\u{1}"}], "N": 3, "E": null});
        write_value(&mut out, "R", &value);
        assert_eq!(
            out,
            "<R><Attributes><entry><key>a&lt;</key><value>1</value></entry></Attributes>\
             <L><member><Id>x&amp;\u{fffd}</Id></member></L><N>3</N><E></E></R>"
        );
    }

    #[test]
    fn a_form_is_for_the_service_that_its_signature_names() {
        for (kind, scope, service) in [
            (FORM, "sns", Some(Embedded::Sns)),
            (
                "application/x-www-form-urlencoded; charset=utf-8",
                "sns",
                Some(Embedded::Sns),
            ),
            (FORM, "sqs", None),
            (FORM, "iam", None),
            ("application/x-amz-json-1.0", "sns", None),
        ] {
            let authorization = format!(
                "AWS4-HMAC-SHA256 Credential=local/20261126/us-east-1/{scope}/aws4_request, SignedHeaders=host, Signature=0"
            );
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, kind.parse().unwrap());
            headers.insert(header::AUTHORIZATION, authorization.parse().unwrap());
            assert_eq!(service_of(&headers), service, "{kind} {scope}");
        }
        assert_eq!(service_of(&HeaderMap::new()), None);
    }
}
