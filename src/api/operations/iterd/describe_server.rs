//! `DescribeServer`: what a client of AWS has to know to reach the daemon.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Api, ApiError};
use crate::{api::ErrorKind, integration::service::Embedded};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {}

pub(super) fn call(api: &Api, _: &Input) -> Result<Value, ApiError> {
    let Some(address) = api.listening else {
        return Err(ApiError::new(
            ErrorKind::Conflict,
            "nobody serves here over TCP: iterd serve does",
        ));
    };
    let place = api.place();
    let settings = &api.config().services;
    let is_ours = |service: &&str| settings.endpoint_of(service).is_none();
    let all = Embedded::ALL.into_iter().map(Embedded::name).chain(["s3"]);
    let services: Vec<&str> = all.filter(is_ours).collect();
    Ok(json!({
        "endpoint": endpoint(address),
        "region": place.region,
        "account": place.account,
        "services": services,
    }))
}

/// Where a client on this machine reaches the address that is listened on.
fn endpoint(address: SocketAddr) -> String {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    format!("http://{}", SocketAddr::new(ip, address.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_every_interface_is_reached_on_this_machine() {
        for (listening, reached) in [
            ("127.0.0.1:8083", "http://127.0.0.1:8083"),
            ("0.0.0.0:80", "http://127.0.0.1:80"),
            ("[::]:8083", "http://[::1]:8083"),
            ("10.0.0.5:8083", "http://10.0.0.5:8083"),
        ] {
            assert_eq!(endpoint(listening.parse().unwrap()), reached);
        }
    }
}
