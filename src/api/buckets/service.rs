//! What clients of S3 may ask of buckets that are folders. What is not here is answered as not implemented.

use std::{ops::Range, path::Path};

use futures::{Stream, stream};
use hyper::body::Bytes;
use s3s::{
    S3, S3Request, S3Response, S3Result,
    dto::{
        self, AbortMultipartUploadInput, AbortMultipartUploadOutput, CompleteMultipartUploadInput,
        CompleteMultipartUploadOutput, CopyObjectInput, CopyObjectOutput, CopyObjectResult,
        CopySource, CreateBucketInput, CreateBucketOutput, CreateMultipartUploadInput,
        CreateMultipartUploadOutput, DeleteBucketInput, DeleteBucketOutput, DeleteObjectInput,
        DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject, ETag,
        GetBucketLocationInput, GetBucketLocationOutput, GetObjectInput, GetObjectOutput,
        HeadBucketInput, HeadBucketOutput, HeadObjectInput, HeadObjectOutput, ListBucketsInput,
        ListBucketsOutput, ListMultipartUploadsInput, ListMultipartUploadsOutput, ListObjectsInput,
        ListObjectsOutput, ListObjectsV2Input, ListObjectsV2Output, ListPartsInput,
        ListPartsOutput, Part, PutObjectInput, PutObjectOutput, StreamingBlob, UploadPartInput,
        UploadPartOutput,
    },
    s3_error,
};
use tokio::sync::Semaphore;

use super::{
    conditions::{
        Conditions, check_begin, check_complete, check_copy, check_delete, check_entry, check_part,
        check_put,
    },
    dto::{
        Refused, Spelling, instant, io, objects, prefixes, refused, size, tag, unsupported, upload,
        upload_refused,
    },
    receive::{Leave, Room, blocking, check_size, receive, sums},
};
use crate::{
    api::Api,
    integration::{
        bucket::{
            Begun, Bucket, BucketError, Buckets, Object, PAGE_MAX, Page, Uploads, Wanted, read_part,
        },
        service::s3::{CONTENT_TYPE, copy_object},
    },
};

/// Bytes of an object that are read at a time.
const PIECE_BYTES: u64 = 256 * 1024;

/// Listings that are made at a time; each goes through folders of any size.
const LISTINGS_MAX: usize = 8;

/// See the module.
pub(super) struct Objects {
    api: Api,
    leave: Leave,
    listings: Semaphore,
}

impl Objects {
    pub(super) fn new(api: Api) -> Self {
        Self {
            api,
            leave: Leave::new(),
            listings: Semaphore::new(LISTINGS_MAX),
        }
    }

    fn buckets(&self) -> S3Result<Buckets> {
        let engine = self.api.engine();
        let engine = engine.map_err(|error| s3_error!(ServiceUnavailable, "{}", error.message))?;
        let buckets = engine.buckets();
        buckets.map_err(|error| s3_error!(InternalError, "{error}"))
    }

    /// A bucket that is a folder.
    fn bucket(&self, name: &str) -> S3Result<Bucket> {
        let buckets = self.buckets()?;
        if !buckets.is_here(name) {
            return Err(s3_error!(
                NotImplemented,
                "[services.s3] in iterd.toml leads elsewhere; ask there for the bucket {name}"
            ));
        }
        buckets.bucket(name).map_err(refused)
    }

    fn uploads(&self) -> S3Result<Uploads> {
        let engine = self.api.engine();
        let engine = engine.map_err(|error| s3_error!(ServiceUnavailable, "{}", error.message))?;
        Ok(Uploads {
            root: engine.paths().uploads(),
        })
    }

    /// The room of a bucket that is a folder.
    fn room_of(&self, bucket: &Bucket) -> S3Result<Room> {
        let elsewhere = || s3_error!(InternalError, "{} is no folder", bucket.name());
        self.room(bucket.root().ok_or_else(elsewhere)?)
    }

    fn room(&self, place: &Path) -> S3Result<Room> {
        let engine = self.api.engine();
        let engine = engine.map_err(|error| s3_error!(ServiceUnavailable, "{}", error.message))?;
        Ok(Room {
            disk: engine.disk().clone(),
            place: place.to_owned(),
        })
    }

    async fn page(&self, name: String, wanted: Wanted) -> S3Result<Page> {
        let bucket = self.bucket(&name)?;
        // Why no error: it is never closed.
        let _leave = self.listings.acquire().await.ok();
        blocking(move || bucket.page(&wanted).map_err(refused)).await
    }
}

/// Refuses a body of which so many bytes are told where there is no room for it.
async fn check_room(room: &Room, told: Option<i64>) -> S3Result<()> {
    let told = told.and_then(|told| u64::try_from(told).ok()).unwrap_or(0);
    check_size(told)?;
    let room = room.clone();
    blocking(move || room.check(told)).await
}

/// How many keys are wanted. Spec: a negative number is none.
fn keys_max(told: Option<i32>) -> S3Result<usize> {
    match told.map(usize::try_from) {
        None => Ok(PAGE_MAX),
        Some(Ok(most)) => Ok(most.min(PAGE_MAX)),
        Some(Err(_)) => Err(s3_error!(InvalidArgument, "max-keys is less than 0")),
    }
}

fn number(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// A part of an object, a piece at a time.
fn pieces(
    file: std::fs::File,
    part: Range<u64>,
) -> impl Stream<Item = Result<Bytes, std::io::Error>> + Send + Sync {
    stream::try_unfold((file, part), |(mut file, part)| async move {
        if part.is_empty() {
            return Ok(None);
        }
        let end = part.start.saturating_add(PIECE_BYTES).min(part.end);
        let reading = tokio::task::spawn_blocking(move || {
            let bytes = read_part(&mut file, part.start..end)?;
            if bytes.is_empty() {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            let rest = part.start + bytes.len() as u64..part.end;
            Ok((Bytes::from(bytes), (file, rest)))
        });
        let read: Result<_, std::io::Error> = reading.await?;
        read.map(Some)
    })
}

#[async_trait::async_trait]
impl S3 for Objects {
    async fn list_buckets(
        &self,
        _: S3Request<ListBucketsInput>,
    ) -> S3Result<S3Response<ListBucketsOutput>> {
        let buckets = self.buckets()?;
        let folders = blocking(move || buckets.folders().map_err(refused)).await?;
        let told = folders.into_iter().map(|(name, made)| dto::Bucket {
            name: Some(name),
            creation_date: Some(instant(made)),
            ..dto::Bucket::default()
        });
        Ok(S3Response::new(ListBucketsOutput {
            buckets: Some(told.collect()),
            ..ListBucketsOutput::default()
        }))
    }

    async fn create_bucket(
        &self,
        request: S3Request<CreateBucketInput>,
    ) -> S3Result<S3Response<CreateBucketOutput>> {
        let (buckets, name) = (self.buckets()?, request.input.bucket);
        if !buckets.is_here(&name) {
            self.bucket(&name)?;
        }
        let location = Some(format!("/{name}"));
        blocking(move || buckets.create(&name).map_err(refused)).await?;
        Ok(S3Response::new(CreateBucketOutput { location }))
    }

    async fn delete_bucket(
        &self,
        request: S3Request<DeleteBucketInput>,
    ) -> S3Result<S3Response<DeleteBucketOutput>> {
        let (buckets, name) = (self.buckets()?, request.input.bucket);
        self.bucket(&name)?;
        blocking(move || buckets.remove(&name).map_err(refused)).await?;
        Ok(S3Response::new(DeleteBucketOutput::default()))
    }

    async fn head_bucket(
        &self,
        request: S3Request<HeadBucketInput>,
    ) -> S3Result<S3Response<HeadBucketOutput>> {
        self.bucket(&request.input.bucket)?;
        Ok(S3Response::new(HeadBucketOutput::default()))
    }

    async fn get_bucket_location(
        &self,
        request: S3Request<GetBucketLocationInput>,
    ) -> S3Result<S3Response<GetBucketLocationOutput>> {
        self.bucket(&request.input.bucket)?;
        // Spec: none is that of us-east-1.
        Ok(S3Response::new(GetBucketLocationOutput::default()))
    }

    async fn put_object(
        &self,
        request: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        let mut input = request.input;
        check_put(&input)?;
        let bucket = self.bucket(&input.bucket)?;
        let room = self.room_of(&bucket)?;
        check_room(&room, input.content_length).await?;
        let _leave = self.leave.ask().await?;
        let sums = sums!(input, request);
        let (to, key) = (bucket.clone(), input.key.clone());
        let open = move || to.create(&key).map_err(refused);
        let written = receive(input.body, sums, room, open, move |writer| {
            writer.finish().map_err(refused)?;
            bucket.object(&input.key).map_err(refused)
        });
        Ok(S3Response::new(PutObjectOutput {
            e_tag: Some(tag(&written.await?)),
            ..PutObjectOutput::default()
        }))
    }

    async fn get_object(
        &self,
        request: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        let mut input = request.input;
        let conditions = Conditions::of_get(&mut input)?;
        let bucket = self.bucket(&input.bucket)?;
        let key = input.key;
        let of = bucket.clone();
        let (object, file) = blocking(move || of.open(&key).map_err(refused)).await?;
        conditions.check(&object)?;
        let part = match &input.range {
            None => 0..object.size,
            Some(range) => range.check(object.size).map_err(|_| {
                refused(BucketError::Range {
                    bucket: bucket.name().to_owned(),
                    key: object.key.clone(),
                    size: object.size,
                })
            })?,
        };
        let content_range = input.range.as_ref().map(|_| {
            let last = part.end.saturating_sub(1);
            format!("bytes {}-{last}/{}", part.start, object.size)
        });
        let length = part.end.saturating_sub(part.start);
        Ok(S3Response::new(GetObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            body: Some(StreamingBlob::wrap(pieces(file, part))),
            content_length: i64::try_from(length).ok(),
            content_range,
            content_type: CONTENT_TYPE.parse().ok(),
            e_tag: Some(tag(&object)),
            last_modified: Some(instant(object.modified)),
            ..GetObjectOutput::default()
        }))
    }

    async fn head_object(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        let mut input = request.input;
        let conditions = Conditions::of_head(&mut input)?;
        let bucket = self.bucket(&input.bucket)?;
        let key = input.key;
        let object = blocking(move || bucket.object(&key).map_err(refused)).await?;
        conditions.check(&object)?;
        Ok(S3Response::new(HeadObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            content_length: Some(size(&object)),
            content_type: CONTENT_TYPE.parse().ok(),
            e_tag: Some(tag(&object)),
            last_modified: Some(instant(object.modified)),
            ..HeadObjectOutput::default()
        }))
    }

    async fn copy_object(
        &self,
        request: S3Request<CopyObjectInput>,
    ) -> S3Result<S3Response<CopyObjectOutput>> {
        let mut input = request.input;
        check_copy(&input)?;
        let conditions = Conditions::of_source(&mut input);
        let CopySource::Bucket {
            bucket: from,
            key: source,
            version_id: None,
        } = input.copy_source
        else {
            return Err(unsupported("versions and access points"));
        };
        self.bucket(&from)?;
        let (buckets, to) = (self.buckets()?, self.bucket(&input.bucket)?);
        let source = format!("{from}/{source}");
        let room = self.room_of(&to)?;
        let may_be_copied = move |object: &Object| {
            // Spec: of a copy, no condition says that it is known already.
            let wanted = conditions.check(object);
            wanted.map_err(|_| Refused(s3_error!(PreconditionFailed)))?;
            check_size(object.size).map_err(Refused)?;
            room.check(object.size).map_err(Refused)
        };
        let copied = blocking(move || {
            let copied = copy_object(&buckets, &source, &to, &input.key, may_be_copied);
            copied.map_err(|refused| refused.0)
        });
        let copied = copied.await?;
        Ok(S3Response::new(CopyObjectOutput {
            copy_object_result: Some(CopyObjectResult {
                e_tag: Some(tag(&copied)),
                last_modified: Some(instant(copied.modified)),
                ..CopyObjectResult::default()
            }),
            ..CopyObjectOutput::default()
        }))
    }

    async fn delete_object(
        &self,
        request: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        check_delete(&request.input)?;
        let bucket = self.bucket(&request.input.bucket)?;
        let key = request.input.key;
        blocking(move || bucket.remove(&key).map_err(refused)).await?;
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn delete_objects(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let bucket = self.bucket(&request.input.bucket)?;
        let wanted = request.input.delete;
        if wanted.objects.len() > PAGE_MAX {
            return Err(s3_error!(MalformedXML, "more than {PAGE_MAX} objects"));
        }
        let quiet = wanted.quiet.unwrap_or(false);
        let removed = blocking(move || {
            let (mut deleted, mut errors) = (Vec::new(), Vec::new());
            for object in wanted.objects {
                let removed =
                    check_entry(&object).and_then(|()| bucket.remove(&object.key).map_err(refused));
                match removed {
                    Ok(()) => deleted.push(DeletedObject {
                        key: Some(object.key),
                        ..DeletedObject::default()
                    }),
                    Err(error) => errors.push(dto::Error {
                        code: Some(error.code().as_str().to_owned()),
                        key: Some(object.key),
                        message: error.message().map(str::to_owned),
                        ..dto::Error::default()
                    }),
                }
            }
            Ok((deleted, errors))
        });
        let (deleted, errors) = removed.await?;
        Ok(S3Response::new(DeleteObjectsOutput {
            deleted: (!quiet).then_some(deleted),
            errors: (!errors.is_empty()).then_some(errors),
            ..DeleteObjectsOutput::default()
        }))
    }

    async fn list_objects(
        &self,
        request: S3Request<ListObjectsInput>,
    ) -> S3Result<S3Response<ListObjectsOutput>> {
        let input = request.input;
        let keys_max = keys_max(input.max_keys)?;
        let wanted = Wanted {
            prefix: input.prefix.clone().unwrap_or_default(),
            delimiter: input.delimiter.clone().unwrap_or_default(),
            after: input.marker.clone().unwrap_or_default(),
            keys_max,
        };
        let page = self.page(input.bucket.clone(), wanted).await?;
        let keys = Spelling::of(input.encoding_type.as_ref());
        Ok(S3Response::new(ListObjectsOutput {
            name: Some(input.bucket),
            prefix: Some(keys.written(input.prefix.unwrap_or_default())),
            marker: Some(keys.written(input.marker.unwrap_or_default())),
            max_keys: Some(number(keys_max)),
            delimiter: input.delimiter.map(|it| keys.written(it)),
            encoding_type: input.encoding_type,
            is_truncated: Some(page.next.is_some()),
            next_marker: page.next.map(|next| keys.written(next)),
            contents: Some(objects(page.objects, keys)),
            common_prefixes: Some(prefixes(page.prefixes, keys)),
            ..ListObjectsOutput::default()
        }))
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = request.input;
        let keys_max = keys_max(input.max_keys)?;
        let token = input.continuation_token.clone();
        let after = token.or_else(|| input.start_after.clone());
        let wanted = Wanted {
            prefix: input.prefix.clone().unwrap_or_default(),
            delimiter: input.delimiter.clone().unwrap_or_default(),
            after: after.unwrap_or_default(),
            keys_max,
        };
        let page = self.page(input.bucket.clone(), wanted).await?;
        let keys = Spelling::of(input.encoding_type.as_ref());
        Ok(S3Response::new(ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: Some(keys.written(input.prefix.unwrap_or_default())),
            max_keys: Some(number(keys_max)),
            key_count: Some(number(page.objects.len() + page.prefixes.len())),
            delimiter: input.delimiter.map(|it| keys.written(it)),
            encoding_type: input.encoding_type,
            continuation_token: input.continuation_token,
            start_after: input.start_after.map(|it| keys.written(it)),
            is_truncated: Some(page.next.is_some()),
            next_continuation_token: page.next,
            contents: Some(objects(page.objects, keys)),
            common_prefixes: Some(prefixes(page.prefixes, keys)),
            ..ListObjectsV2Output::default()
        }))
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let input = request.input;
        check_begin(&input)?;
        let (uploads, bucket) = (self.uploads()?, self.bucket(&input.bucket)?);
        let key = input.key.clone();
        let id = blocking(move || uploads.begin(&bucket, &key).map_err(upload_refused)).await?;
        Ok(S3Response::new(CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(id),
            ..CreateMultipartUploadOutput::default()
        }))
    }

    async fn upload_part(
        &self,
        request: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        let mut input = request.input;
        check_part(&input)?;
        let uploads = self.uploads()?;
        let room = self.room(&uploads.root)?;
        check_room(&room, input.content_length).await?;
        let _leave = self.leave.ask().await?;
        let sums = sums!(input, request);
        let number = u32::try_from(input.part_number).unwrap_or(0);
        let open = move || {
            let part = uploads.part(&input.bucket, &input.key, &input.upload_id, number);
            part.map_err(upload_refused)
        };
        let tag = receive(input.body, sums, room, open, |part| {
            part.finish().map_err(|error| io(&error))
        });
        Ok(S3Response::new(UploadPartOutput {
            e_tag: Some(ETag::Strong(tag.await?)),
            ..UploadPartOutput::default()
        }))
    }

    async fn list_parts(
        &self,
        request: S3Request<ListPartsInput>,
    ) -> S3Result<S3Response<ListPartsOutput>> {
        let input = request.input;
        let uploads = self.uploads()?;
        let (bucket, key, id) = (input.bucket, input.key, input.upload_id);
        let parts = blocking(move || {
            let parts = uploads.parts(&bucket, &key, &id).map_err(upload_refused)?;
            Ok((bucket, key, id, parts))
        });
        let (bucket, key, id, parts) = parts.await?;
        let after = input.part_number_marker.unwrap_or_default();
        let most = keys_max(input.max_parts)?;
        let mut told = parts.into_iter().filter_map(|(number, (size, tag))| {
            let part = Part {
                part_number: Some(i32::try_from(number).ok()?),
                size: i64::try_from(size).ok(),
                e_tag: Some(ETag::Strong(tag)),
                ..Part::default()
            };
            (part.part_number > Some(after)).then_some(part)
        });
        let parts: Vec<Part> = told.by_ref().take(most).collect();
        let more = told.next().is_some();
        Ok(S3Response::new(ListPartsOutput {
            bucket: Some(bucket),
            key: Some(key),
            upload_id: Some(id),
            is_truncated: Some(more),
            next_part_number_marker: parts.last().and_then(|part| part.part_number),
            parts: Some(parts),
            ..ListPartsOutput::default()
        }))
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let input = request.input;
        check_complete(&input)?;
        let (uploads, bucket) = (self.uploads()?, self.bucket(&input.bucket)?);
        let room = self.room_of(&bucket)?;
        let told = input.multipart_upload.and_then(|upload| upload.parts);
        let told = told.unwrap_or_default().into_iter().map(|part| {
            let number = part
                .part_number
                .and_then(|number| u32::try_from(number).ok());
            let tag = part.e_tag.map(|tag| tag.value().to_owned());
            Some((number?, tag?))
        });
        let parts: Option<Vec<_>> = told.collect();
        let parts = parts.filter(|parts| !parts.is_empty());
        let parts = parts.ok_or_else(|| s3_error!(MalformedXML, "the parts are not told"))?;
        let (key, id) = (input.key.clone(), input.upload_id);
        let checked = blocking(move || {
            let bytes = uploads.check(&bucket, &key, &id, &parts);
            room.check(bytes.map_err(upload_refused)?)?;
            Ok((uploads, bucket, key, id, parts))
        });
        let (uploads, bucket, key, id, parts) = checked.await?;
        let whole = blocking(move || {
            let done = uploads.complete(&bucket, &key, &id, &parts);
            done.map_err(upload_refused)?;
            bucket.object(&key).map_err(refused)
        });
        // Spec: the answer begins at once, and the line is kept alive until the object is whole.
        let future = async move {
            let whole: Object = whole.await?;
            Ok(CompleteMultipartUploadOutput {
                bucket: Some(input.bucket),
                key: Some(input.key),
                e_tag: Some(tag(&whole)),
                ..CompleteMultipartUploadOutput::default()
            })
        };
        Ok(S3Response::new(CompleteMultipartUploadOutput {
            future: Some(Box::pin(future)),
            ..CompleteMultipartUploadOutput::default()
        }))
    }

    async fn list_multipart_uploads(
        &self,
        request: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        let input = request.input;
        if input.delimiter.is_some() {
            return Err(unsupported("listings of uploads by a delimiter"));
        }
        let (uploads, bucket) = (self.uploads()?, self.bucket(&input.bucket)?);
        let begun = blocking(move || uploads.begun(bucket.name()).map_err(upload_refused)).await?;
        let most = keys_max(input.max_uploads)?;
        let prefix = input.prefix.clone().unwrap_or_default();
        let after = (
            input.key_marker.as_deref(),
            input.upload_id_marker.as_deref(),
        );
        let mut follow = begun.into_iter().filter(|upload| {
            let behind = match after {
                (None, _) => true,
                (Some(key), None) => *upload.key > *key,
                (Some(key), Some(id)) => (&*upload.key, &*upload.id) > (key, id),
            };
            behind && upload.key.starts_with(&prefix)
        });
        let told: Vec<Begun> = follow.by_ref().take(most).collect();
        let more = most > 0 && follow.next().is_some();
        let keys = Spelling::of(input.encoding_type.as_ref());
        let last = told.last().filter(|_| more);
        Ok(S3Response::new(ListMultipartUploadsOutput {
            bucket: Some(input.bucket),
            next_key_marker: last.map(|last| keys.written(last.key.clone())),
            next_upload_id_marker: last.map(|last| last.id.clone()),
            is_truncated: Some(more),
            max_uploads: Some(number(most)),
            prefix: input.prefix.map(|it| keys.written(it)),
            key_marker: input.key_marker.map(|it| keys.written(it)),
            upload_id_marker: input.upload_id_marker,
            encoding_type: input.encoding_type,
            uploads: Some(told.into_iter().map(|begun| upload(begun, keys)).collect()),
            ..ListMultipartUploadsOutput::default()
        }))
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let input = request.input;
        let uploads = self.uploads()?;
        blocking(move || {
            let aborted = uploads.abort(&input.bucket, &input.key, &input.upload_id);
            aborted.map_err(upload_refused)
        })
        .await?;
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }
}
