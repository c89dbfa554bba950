//! Service bindings and their errors.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use agent_gateway::{
    CredentialError, CredentialSource, Gateway, Principal, ServerDirectory, ServiceBinding, ToolFilter,
};
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::authority::Authority;

/// A folder of bindings. One of them has valid credentials for the gateway.
struct Bindings {
    root: TempDir,
    valid_credentials: Value,
    /// The private key, in PEM.
    key: String,
}

impl Bindings {
    fn new() -> Self {
        Self::with(Authority::new().sign("machine.test"))
    }

    /// Writes bindings with this certificate and key.
    fn with((certificate, key): (String, String)) -> Self {
        let valid_credentials = json!({
            "tokenServiceUrl": "https://tokens.test/oauth2/token",
            "clientid": "client-1",
            "certificate": certificate,
            "privateKey": key,
            "gatewayUrl": "https://gateway.test/",
            "integrationDependencies": [
                { "ordId": "sap.x:apiResource:orders:v1", "globalTenantId": "tenant 1" },
                { "ordId": "stock", "globalTenantId": "2" },
            ],
        });
        let bindings = Self { root: TempDir::new().unwrap(), valid_credentials, key };
        bindings.write("database", "postgresql", "another service");
        bindings.write("agent", "integration-credentials\n", &bindings.valid_credentials.to_string());
        bindings
    }

    fn write(&self, name: &str, kind: &str, credentials: &str) {
        let folder = self.root.path().join(name);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("type"), kind).unwrap();
        fs::write(folder.join("credentials"), credentials).unwrap();
    }

    fn binding(&self) -> ServiceBinding {
        ServiceBinding::at(self.root.path())
    }

    /// Sets a field of the credentials to a value, or removes it for null. Returns the error.
    async fn error_with_field(&self, field: &str, value: Value) -> CredentialError {
        let mut credentials = self.valid_credentials.clone();
        credentials[field] = value;
        if credentials[field].is_null() {
            credentials.as_object_mut().unwrap().remove(field);
        }
        self.write("agent", "integration-credentials", &credentials.to_string());
        let (credentials, servers) = (self.binding().credentials().await, self.binding().servers().await);
        credentials.err().or(servers.err()).unwrap()
    }

    /// Returns the path of the credentials.
    fn file(&self) -> String {
        self.root.path().join("agent/credentials").display().to_string()
    }

    /// Asserts that the error contains no line of the key.
    fn assert_shows_no_key(&self, error: &CredentialError) {
        let visible_text = format!("{error} {error:?} {:?}", error.source());
        let lines = self.key.lines().filter(|line| !line.starts_with("-----"));
        assert!(lines.into_iter().all(|line| !visible_text.contains(line)), "{visible_text}");
    }
}

#[tokio::test]
async fn binding_of_the_expected_type_is_found_and_urls_are_encoded() {
    let bindings = Bindings::new();
    let servers = bindings.binding().servers().await.unwrap();
    let urls: Vec<_> = servers.iter().map(|server| server.url().as_str()).collect();
    let orders = "https://gateway.test/v1/mcp/sap.x%3AapiResource%3Aorders%3Av1/tenant%201";
    assert_eq!(urls, [orders, "https://gateway.test/v1/mcp/stock/2"]);
    assert_eq!((servers[0].ord_id(), servers[0].tenant()), ("sap.x:apiResource:orders:v1", "tenant 1"));
    let visible_text = format!("{:?}", bindings.binding().credentials().await.unwrap());
    assert!(visible_text.contains("client-1") && !visible_text.contains("PRIVATE"), "{visible_text}");

    for (gateway, expected) in [
        ("https://gateway.test/v1/mcp", "https://gateway.test/v1/mcp/stock/2"),
        ("https://gateway.test/base/v1/mcp/", "https://gateway.test/base/v1/mcp/stock/2"),
        ("https://gateway.test:8443/base", "https://gateway.test:8443/base/v1/mcp/stock/2"),
    ] {
        let mut credentials = bindings.valid_credentials.clone();
        credentials["gatewayUrl"] = gateway.into();
        bindings.write("agent", "integration-credentials", &credentials.to_string());
        assert_eq!(bindings.binding().servers().await.unwrap()[1].url().as_str(), expected);
    }
}

#[tokio::test]
async fn missing_or_invalid_field_is_reported_with_its_file() {
    let bindings = Bindings::new();
    let dependencies = "integrationDependencies";
    let key = bindings.key.clone();
    for (field, value, expected_field) in [
        ("tokenServiceUrl", Value::Null, "tokenServiceUrl"),
        ("tokenServiceUrl", json!("tokens.test"), "tokenServiceUrl"),
        ("tokenServiceUrl", json!("ftp://tokens.test"), "tokenServiceUrl"),
        ("clientid", Value::Null, "clientid"),
        ("clientid", json!(" "), "clientid"),
        ("clientid", json!([&key]), "clientid"),
        ("certificate", Value::Null, "certificate"),
        ("privateKey", Value::Null, "privateKey"),
        ("privateKey", json!({ "pem": &key }), "privateKey"),
        ("gatewayUrl", Value::Null, "gatewayUrl"),
        ("gatewayUrl", json!(&key), "gatewayUrl"),
        (dependencies, Value::Null, dependencies),
        (dependencies, json!(&key), dependencies),
        (dependencies, json!([{ "ordId": "a", "globalTenantId": "1" }, 7]), "integrationDependencies[1]"),
        (dependencies, json!([{ "globalTenantId": "1" }]), "integrationDependencies[0].ordId"),
        (dependencies, json!([{ "ordId": "", "globalTenantId": "1" }]), "integrationDependencies[0].ordId"),
        (dependencies, json!([{ "ordId": "..", "globalTenantId": "1" }]), "integrationDependencies[0].ordId"),
        (dependencies, json!([{ "ordId": "a", "globalTenantId": 1 }]), "integrationDependencies[0].globalTenantId"),
    ] {
        let error = bindings.error_with_field(field, value).await;
        assert_eq!(error.named_field(), Some(expected_field), "{error:?}");
        assert!(error.to_string().contains(&bindings.file()), "{error}");
        bindings.assert_shows_no_key(&error);
    }
}

#[tokio::test]
async fn invalid_certificate_is_reported_with_its_file() {
    let bindings = Bindings::new();
    let (other_certificate, _) = Authority::new().sign("machine.test");
    for (field, value) in [
        ("certificate", json!("no certificate")),
        ("certificate", json!(other_certificate)),
        ("certificate", json!(&bindings.key)),
        ("privateKey", json!("no key")),
        ("privateKey", json!(bindings.key.replace('A', "B"))),
    ] {
        let error = bindings.error_with_field(field, value).await;
        assert!(error.is_certificate() && error.to_string().contains(&bindings.file()), "{error}");
        bindings.assert_shows_no_key(&error);
    }
}

#[tokio::test]
async fn expired_certificate_is_not_presented() {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(["machine.test".to_owned()]).unwrap();
    params.not_after = (SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000)).into();
    let bindings = Bindings::with((params.self_signed(&key).unwrap().pem(), key.serialize_pem()));
    let gateway = Gateway::builder(bindings.binding(), bindings.binding()).build();
    let error = gateway.list_tools(&Principal::System, &ToolFilter::new()).strict().await.unwrap_err();
    assert!(error.is_credentials(), "{error:?}");
    let cause = error.source().unwrap().downcast_ref::<CredentialError>().unwrap();
    assert!(cause.is_expired(), "{cause}");
    let message = cause.to_string();
    assert!(message.contains("`client-1`") && message.contains("2001-09-09T01:46:40Z"), "{message}");
    bindings.assert_shows_no_key(cause);
}

#[tokio::test]
async fn ambiguous_or_unreadable_bindings_are_reported_with_paths() {
    let bindings = Bindings::new();
    let read_error = |root: &Path| {
        let binding = ServiceBinding::at(root);
        async move { binding.credentials().await.unwrap_err() }
    };
    bindings.write("agent", "integration-credentials", &format!("{{ \"privateKey\": {}", bindings.key));
    let error = read_error(bindings.root.path()).await;
    assert!(error.to_string().contains(&bindings.file()) && error.to_string().contains("line 1"), "{error}");
    bindings.assert_shows_no_key(&error);

    bindings.write("agent-2", "integration-credentials", "{}");
    let error = read_error(bindings.root.path()).await.to_string();
    assert!(error.contains("/agent ") && error.contains("/agent-2 "), "{error}");

    let empty = TempDir::new().unwrap();
    for root in [empty.path(), Path::new("/no-such-folder")] {
        let error = read_error(root).await;
        let message = error.to_string();
        assert!(error.is_no_binding() && message.contains(&*root.to_string_lossy()), "{message}");
        assert!(message.contains("SERVICE_BINDING_ROOT") && message.contains("INTEGRATION_CLIENT_ID"), "{message}");
    }
    fs::create_dir(empty.path().join("agent")).unwrap();
    fs::write(empty.path().join("agent/type"), "integration-credentials").unwrap();
    let error = read_error(empty.path()).await;
    assert!(error.to_string().contains("agent/credentials") && error.source().is_some(), "{error}");
}
