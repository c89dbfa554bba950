//! Uploads with a signed form.

use auth_http::{Method, Request};
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::HOUR;
use crate::client::{User, read};

const BOUNDARY: &str = "boundary-of-the-form";

/// A form with a policy that is signed like in S3.
struct Form {
    fields: Vec<(String, String)>,
    file: &'static str,
}

impl Form {
    /// Creates a form that is valid for a number of seconds. Its policy permits text files with 1 to 10 bytes whose
    /// keys begin with `forms/`.
    async fn new(user: &User, seconds: i64) -> Self {
        let credentials = user.bucket().await.credentials;
        let now = jiff::Timestamp::now();
        let (date, day) = (now.strftime("%Y%m%dT%H%M%SZ").to_string(), now.strftime("%Y%m%d").to_string());
        let credential = format!("{}/{day}/EUROPE-WEST3/s3/aws4_request", credentials.key());
        let signature_fields =
            [("x-amz-algorithm", "AWS4-HMAC-SHA256"), ("x-amz-credential", &credential), ("x-amz-date", &date)];
        let mut conditions: Vec<Value> = signature_fields.iter().map(|(name, value)| json!({ *name: value })).collect();
        conditions.extend([
            json!({ "bucket": "emulator-bucket" }),
            json!(["starts-with", "$key", "forms/"]),
            json!(["eq", "$Content-Type", "text/plain"]),
            json!(["starts-with", "$success_action_status", ""]),
            json!(["content-length-range", 1, 10]),
        ]);
        let expiration = (now + jiff::SignedDuration::from_secs(seconds)).to_string();
        let policy = STANDARD.encode(json!({ "expiration": expiration, "conditions": conditions }).to_string());
        let initial_key = hmac::Key::new(hmac::HMAC_SHA256, format!("AWS4{}", credentials.secret()).as_bytes());
        let key = [&*day, "EUROPE-WEST3", "s3", "aws4_request"].iter().fold(initial_key, |key, part| {
            hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, part.as_bytes()).as_ref())
        });
        let signature = hmac::sign(&key, policy.as_bytes());
        let signature = signature.as_ref().iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
        let other_fields = [
            ("key", "forms/${filename}"),
            ("Content-Type", "text/plain"),
            ("policy", &policy),
            ("x-amz-signature", &signature),
        ];
        let fields =
            signature_fields.iter().chain(&other_fields).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Self { fields: fields.collect(), file: "content" }
    }

    /// Replaces or adds a field.
    fn with_field(mut self, name: &str, value: &str) -> Self {
        self.fields.retain(|(field, _)| field != name);
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    async fn send(&self, user: &User, bucket: &str) -> (u16, String) {
        let mut body = String::new();
        for (name, value) in &self.fields {
            body += &format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        }
        let disposition = "Content-Disposition: form-data; name=\"file\"; filename=\"a.txt\"";
        body += &format!("--{BOUNDARY}\r\n{disposition}\r\n\r\n{}\r\n--{BOUNDARY}--\r\n", self.file);
        let url = user.emulator.storage().join(bucket).unwrap();
        let request = Request::new(Method::Post, url);
        let request = request.with_body(format!("multipart/form-data; boundary={BOUNDARY}"), body);
        let (status, body) = read(user.send(request).await).await;
        (status, String::from_utf8(body).unwrap())
    }
}

#[tokio::test]
async fn file_is_uploaded_with_a_signed_form() {
    let user = User::new().await;
    let form = Form::new(&user, 60).await;
    assert_eq!(form.send(&user, "emulator-bucket").await, (204, String::new()));
    let response = user.send(Request::get(user.bucket().await.get("forms/a.txt", HOUR))).await;
    assert_eq!(response.header("content-type"), Some("text/plain"));
    assert_eq!(read(response).await, (200, b"content".to_vec()));
    let (status, response) = form.with_field("success_action_status", "201").send(&user, "emulator-bucket/").await;
    assert!(status == 201 && response.contains("<Key>forms/a.txt</Key>"), "{response}");
}

#[tokio::test]
async fn form_that_violates_its_policy_is_rejected() {
    let user = User::new().await;
    let form = async || Form::new(&user, 60).await;
    let with_file = async |file| Form { file, ..form().await };
    for (form, bucket, status, code) in [
        (form().await, "second-bucket", 403, "AccessDenied"),
        (form().await, "missing-bucket", 404, "NoSuchBucket"),
        (form().await.with_field("key", "elsewhere"), "emulator-bucket", 403, "key"),
        (form().await.with_field("Content-Type", "text/csv"), "emulator-bucket", 403, "Content-Type"),
        (form().await.with_field("x-amz-meta-study", "s1"), "emulator-bucket", 403, "no condition"),
        (form().await.with_field("x-amz-signature", "00"), "emulator-bucket", 403, "SignatureDoesNotMatch"),
        (form().await.with_field("x-amz-checksum-crc32", "AAAAAA=="), "emulator-bucket", 403, "no condition"),
        (form().await.with_field("tagging", "<Tagging/>"), "emulator-bucket", 403, "no condition"),
        (form().await.with_field("policy", "e30="), "emulator-bucket", 403, "SignatureDoesNotMatch"),
        (form().await.with_field("x-amz-algorithm", "AWS1"), "emulator-bucket", 403, "AccessDenied"),
        (Form::new(&user, -1).await, "emulator-bucket", 403, "expired"),
        (with_file("").await, "emulator-bucket", 400, "EntityTooSmall"),
        (with_file("more than ten").await, "emulator-bucket", 400, "EntityTooLarge"),
    ] {
        let (actual_status, body) = form.send(&user, bucket).await;
        assert!(actual_status == status && body.contains(code), "{code}: {actual_status} {body}");
    }
    assert_eq!(user.send(Request::get(user.bucket().await.get("forms/a.txt", HOUR))).await.status(), 404);
}
