//! Buckets of Amazon S3, or of a server that speaks its protocol: read and written a part at a time, by
//! object_store, over our connections and with our credentials. What a task asks of S3 is one request of
//! `services`; this is for what is larger than a task's result.

use std::{error::Error, sync::Arc, time::Duration};

use object_store::{
    RetryConfig,
    aws::{AmazonS3, AmazonS3Builder},
};

use super::{Services, keys::Whom};
use crate::config::Endpoint;

/// How often a request is sent again, and how long after the first time none is.
const RETRIES_MAX: usize = 5;
const RETRY_TIME_MAX: Duration = Duration::from_mins(1);

impl Services {
    /// A bucket elsewhere; nothing is sent yet.
    ///
    /// # Errors
    /// Where nothing says where S3 is, or no client can be made.
    pub fn objects(&self, bucket: &str) -> Result<AmazonS3, Box<dyn Error + Send + Sync>> {
        let Some(endpoint) = self.endpoint_of("s3") else {
            return Err(
                "nothing says where s3 is; [services.s3] endpoint in iterd.toml does".into(),
            );
        };
        let whom = match endpoint {
            Endpoint::Aws => Whom::Aws,
            Endpoint::Url(_) => Whom::Server,
        };
        let retry = RetryConfig {
            max_retries: RETRIES_MAX,
            retry_timeout: RETRY_TIME_MAX,
            ..RetryConfig::default()
        };
        let builder = AmazonS3Builder::new()
            .with_bucket_name(bucket)
            .with_region(self.region("s3"))
            .with_retry(retry)
            .with_credentials(Arc::new(self.signer(whom)))
            .with_http_connector(self.connections()?);
        let builder = match endpoint {
            Endpoint::Aws => builder.with_virtual_hosted_style_request(!bucket.contains('.')),
            Endpoint::Url(url) => builder
                .with_endpoint(url)
                .with_allow_http(url.starts_with("http://"))
                .with_virtual_hosted_style_request(false),
        };
        Ok(builder.build()?)
    }
}
