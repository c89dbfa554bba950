use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use auth_core::Secret;
use url::Url;
use zeroize::Zeroizing;

use super::super::document;
use crate::credentials::CredentialError;
use crate::tenant::Tenant;

/// The variable with the folder of service bindings (servicebinding.io).
const ROOT_VARIABLE: &str = "SERVICE_BINDING_ROOT";
/// The folders of a binding, below the folder in the variable.
const FOLDERS: [&str; 2] = ["destination", "destination/default"];
/// The folder of the binding if the variable is not set.
const DEFAULT_FOLDER: &str = "/etc/secrets/appfnd/destination/default";
/// The location of the variables, in errors.
const ENVIRONMENT: &str = "the environment";
/// The maximum size of a file of a binding, in bytes.
const MAX_FILE_BYTES: u64 = 64 * 1024;

// The fields of a binding.
const CLIENT_ID: Field = ("clientid", "CLOUD_SDK_CFG_DESTINATION_DEFAULT_CLIENTID");
const SECRET: Field = ("clientsecret", "CLOUD_SDK_CFG_DESTINATION_DEFAULT_CLIENTSECRET");
const AUTH_URL: Field = ("url", "CLOUD_SDK_CFG_DESTINATION_DEFAULT_URL");
const SERVICE_URL: Field = ("uri", "CLOUD_SDK_CFG_DESTINATION_DEFAULT_URI");
const IDENTITY_ZONE: Field = ("identityzone", "CLOUD_SDK_CFG_DESTINATION_DEFAULT_IDENTITYZONE");

/// A field of a binding: the name of its file, and the name of its variable.
type Field = (&'static str, &'static str);

/// The binding of the Destination service: its URL, and the client that may use it. `Debug` does not show the secret.
///
/// Tokens for a tenant come from the authorization server of the tenant: its host begins with the tenant instead of the
/// identity zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DestinationBinding {
    auth_url: Url,
    service_url: Url,
    client_id: String,
    secret: Secret,
    zone: String,
}

impl DestinationBinding {
    /// Creates a binding for the service at `service_url` (`uri`) and the authorization server at `auth_url` (`url`).
    /// The host of `auth_url` must begin with the identity zone of the provider.
    pub fn new(
        service_url: Url,
        auth_url: Url,
        identity_zone: impl Into<String>,
        client_id: impl Into<String>,
        secret: Secret,
    ) -> Self {
        let (zone, client_id) = (identity_zone.into(), client_id.into());
        Self { auth_url, service_url, client_id, secret, zone }
    }

    /// Reads the binding from files in `$SERVICE_BINDING_ROOT/destination` or `…/destination/default`. If the variable
    /// is not set, the folder is `/etc/secrets/appfnd/destination/default`. Without files, reads the variables
    /// `CLOUD_SDK_CFG_DESTINATION_DEFAULT_…`. The fields are `clientid`, `clientsecret`, `url`, `uri` and
    /// `identityzone`.
    ///
    /// # Errors
    ///
    /// A field is missing or not valid. The error names the field and its location. The variables do not replace
    /// missing files of an incomplete folder.
    pub fn from_environment() -> Result<Self, CredentialError> {
        Self::read(|name| env::var_os(name), Path::new(DEFAULT_FOLDER))
    }

    /// Reads the binding with `variable`, which returns the value of a variable.
    fn read(variable: impl Fn(&str) -> Option<OsString>, default: &Path) -> Result<Self, CredentialError> {
        let root = variable(ROOT_VARIABLE).filter(|root| !root.is_empty()).map(PathBuf::from);
        let folders = match &root {
            Some(root) => FOLDERS.map(|folder| root.join(folder)).to_vec(),
            None => vec![default.to_owned()],
        };
        match folders.into_iter().find(|folder| folder.join(CLIENT_ID.0).is_file()) {
            Some(folder) => {
                let location = format!("the folder {}", folder.display());
                Self::from_fields(&location, |(name, _)| read_file(&folder.join(name)))
            }
            None => Self::from_fields(ENVIRONMENT, |(_, name)| {
                let text = variable(name).and_then(|text| text.into_string().ok()).map(Zeroizing::new);
                text.ok_or(CredentialError::variable(name))
            }),
        }
    }

    fn from_fields(
        location: &str,
        read: impl Fn(Field) -> Result<Zeroizing<String>, CredentialError>,
    ) -> Result<Self, CredentialError> {
        let name_of = |field: Field| if location == ENVIRONMENT { field.1 } else { field.0 };
        let text = |field: Field| {
            let text = read(field)?;
            let trimmed = Zeroizing::new(text.trim().to_owned());
            let empty_field = || CredentialError::field(location, name_of(field), "a non-empty string");
            if trimmed.is_empty() { Err(empty_field()) } else { Ok(trimmed) }
        };
        let url = |field: Field| document::url(location, name_of(field), &text(field)?);
        let binding = Self {
            auth_url: url(AUTH_URL)?,
            service_url: url(SERVICE_URL)?,
            client_id: text(CLIENT_ID)?.to_string(),
            secret: Secret::new(text(SECRET)?.as_str()),
            zone: text(IDENTITY_ZONE)?.to_string(),
        };
        match binding.domain() {
            Some(_) => Ok(binding),
            None => Err(CredentialError::field(
                location,
                name_of(AUTH_URL),
                "a URL whose host begins with the identity zone",
            )),
        }
    }

    /// Returns the URL of the service.
    pub(super) fn service_url(&self) -> &Url {
        &self.service_url
    }

    pub(super) fn client_id(&self) -> &str {
        &self.client_id
    }

    pub(super) fn secret(&self) -> &Secret {
        &self.secret
    }

    /// Returns the identity of the client, without its secret.
    pub(super) fn identity(&self) -> String {
        format!("{} client={} zone={}", self.service_url, self.client_id, self.zone)
    }

    /// Returns the token endpoint of a tenant, or `None` if the host does not begin with the identity zone. The token
    /// endpoint of the provider is not used instead, because its tokens give access to the data of another tenant.
    pub(super) fn token_url(&self, tenant: &Tenant) -> Option<Url> {
        let host = format!("{}.{}", tenant.as_str(), self.domain()?);
        let mut url = self.auth_url.clone();
        url.set_host(Some(&host)).ok()?;
        let path = format!("{}/oauth/token", url.path().trim_end_matches('/'));
        url.set_path(&path);
        Some(url)
    }

    /// Returns the domain that contains the host of each tenant.
    fn domain(&self) -> Option<&str> {
        let (zone, domain) = self.auth_url.domain()?.split_once('.')?;
        zone.eq_ignore_ascii_case(&self.zone).then_some(domain)
    }
}

/// Reads a file into a buffer of its final size, because a buffer that grows leaves copies in memory.
fn read_file(path: &Path) -> Result<Zeroizing<String>, CredentialError> {
    let unreadable = |error| CredentialError::unreadable(path, error);
    let mut file_handle = fs::File::open(path).map_err(unreadable)?;
    let size = file_handle.metadata().map_err(unreadable)?.len().min(MAX_FILE_BYTES);
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(size).unwrap_or_default() + 1));
    file_handle.by_ref().take(size + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| unreadable(io::ErrorKind::InvalidData.into()))?;
    Ok(Zeroizing::new(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: [(Field, &str); 5] = [
        (CLIENT_ID, "client-1"),
        (SECRET, "canary-secret"),
        (AUTH_URL, "https://zone.auth.test"),
        (SERVICE_URL, "https://destinations.test"),
        (IDENTITY_ZONE, "zone"),
    ];

    fn tenant(name: &str) -> Tenant {
        Tenant::new(name).unwrap()
    }

    fn write_fields(folder: &Path) {
        fs::create_dir_all(folder).unwrap();
        for ((name, _), value) in FIELDS {
            fs::write(folder.join(name), format!("{value}\n")).unwrap();
        }
    }

    #[test]
    fn binding_is_read_from_files_or_variables() {
        let root = tempfile::tempdir().unwrap();
        let nowhere = root.path().join("nowhere");
        let variables =
            |name: &str| FIELDS.iter().find(|((_, known), _)| *known == name).map(|(_, value)| value.into());
        let from_variables = DestinationBinding::read(variables, &nowhere).unwrap();
        let default = root.path().join("default");
        write_fields(&default);
        assert_eq!(DestinationBinding::read(|_| None, &default).unwrap(), from_variables);
        for folder in ["flat/destination", "nested/destination/default"] {
            write_fields(&root.path().join(folder));
            let root = root.path().join(folder.split('/').next().unwrap());
            let with_root = |name: &str| (name == ROOT_VARIABLE).then(|| root.clone().into_os_string());
            assert_eq!(DestinationBinding::read(with_root, &nowhere).unwrap(), from_variables, "{folder}");
        }
        let output = format!("{from_variables:?} {}", from_variables.identity());
        assert!(output.contains("client-1") && !output.contains("canary"), "{output}");
    }

    #[test]
    fn missing_or_invalid_field_is_named_without_its_value() {
        let root = tempfile::tempdir().unwrap();
        for ((file, variable), _) in FIELDS {
            let read = |name: &str| {
                let value = FIELDS.iter().find(|((_, known), _)| *known == name).map(|(_, value)| value.into());
                value.filter(|_| name != variable)
            };
            let error = DestinationBinding::read(read, root.path()).unwrap_err().to_string();
            assert!(error.contains(variable) && !error.contains("canary"), "{error}");
            if file != CLIENT_ID.0 {
                write_fields(root.path());
                fs::write(root.path().join(file), " ").unwrap();
                let error = DestinationBinding::read(read, root.path()).unwrap_err();
                assert_eq!(error.named_field(), Some(file));
                fs::remove_dir_all(root.path()).unwrap();
            }
        }
        write_fields(root.path());
        fs::write(root.path().join(AUTH_URL.0), "https://canary.auth.test").unwrap();
        let error = DestinationBinding::read(|_| None, root.path()).unwrap_err();
        assert!(error.named_field() == Some("url") && !error.to_string().contains("canary"), "{error}");
    }

    #[test]
    fn each_tenant_has_its_own_token_endpoint() {
        let binding = |url: &str| {
            let service = "https://destinations.test".parse().unwrap();
            DestinationBinding::new(service, url.parse().unwrap(), "zone", "client-1", Secret::new("secret"))
        };
        let url = |auth_url: &str| binding(auth_url).token_url(&tenant("acme")).map(|url| url.to_string());
        let expected = Some("https://acme.auth.test:8443/oauth/token".to_owned());
        assert_eq!(url("https://zone.auth.test:8443"), expected);
        assert_eq!(url("https://ZONE.auth.test:8443/"), expected);
        for other in ["https://zones.auth.test", "https://auth.zone.test", "https://zone", "https://127.0.0.1"] {
            assert_eq!(url(other), None, "{other}: the token of the provider is not used for a tenant");
        }
    }
}
