use std::fs::{File, Metadata};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use auth_core::{AccessToken, AsyncTokenProvider, Clock, Secret, SystemClock, TokenError, TokenRequest};

use super::chain::ConfiguredProvider;
use super::error::{CredentialError, Origin};
use super::text::{MAX_TOKEN_BYTES, digest, principal, token_from_text};

/// The maximum number of retries if a file is empty or changes while it is read.
const MAX_RETRIES: u32 = 3;
/// The pause before a file is read again. The replacement of a small file takes less time.
const RETRY_PAUSE: Duration = Duration::from_millis(20);
/// The maximum number of symbolic links that are followed to check if a file is part of a projected volume.
const MAX_LINKS: usize = 8;

/// A provider of the token in a file that another program updates. The file is read for each new token. A replaced file
/// therefore takes effect when the previous token expires or is rejected.
///
/// On Unix, a file that the group or other users can access is an error, unless its path leads through a link named
/// `..data`. The projected volumes of Kubernetes contain such a link.
///
/// ```
/// use auth_core::{TokenKey, TokenSource};
/// use auth_oauth::FileToken;
///
/// let provider = FileToken::new("/run/secrets/platform/token").with_audience("https://platform.example");
/// let source = TokenSource::new(TokenKey::new("https://issuer.example/"), provider);
/// ```
#[derive(Clone, Debug)]
pub struct FileToken {
    file: SecretFile,
    audience: Option<String>,
    clock: Arc<dyn Clock>,
    identity: Arc<OnceLock<String>>,
}

/// A file that contains a secret.
#[derive(Clone, Debug)]
pub(super) struct SecretFile {
    origin: Origin,
    path: PathBuf,
    may_be_shared: bool,
}

impl FileToken {
    /// Creates a provider of the token in the file at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let file = SecretFile::new("token file", path.into());
        Self { file, audience: None, clock: Arc::new(SystemClock), identity: Arc::default() }
    }

    /// Accepts a file that other users can read. Use it if the platform of a workload manages the file.
    pub fn allow_shared(mut self) -> Self {
        self.file = self.file.allow_shared();
        self
    }

    /// Sets the required audience. A JWT with another audience is an error.
    pub fn with_audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = Some(audience.into());
        self
    }

    /// Sets the clock that determines if a token has expired. The default is the system clock.
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Sets the name of the provider in error messages.
    pub(super) fn with_provider_name(mut self, provider: &'static str) -> Self {
        self.file.origin.provider = provider;
        self
    }

    pub(super) fn origin(&self) -> &Origin {
        &self.file.origin
    }
}

#[async_trait]
impl AsyncTokenProvider for FileToken {
    async fn fetch(&self, _request: &TokenRequest) -> Result<AccessToken, TokenError> {
        let text = self.file.read().await?;
        Ok(token_from_text(self.origin(), text.expose(), self.clock.now(), self.audience.as_deref())?)
    }

    /// Returns an identity derived from the path, and from the principal of the first token if it is a JWT, or else
    /// from its digest. The first call reads the file. Returns `None` if the file cannot be read.
    fn identity(&self) -> Option<String> {
        if let Some(identity) = self.identity.get() {
            return Some(identity.clone());
        }
        let text = self.file.read_once().ok()?;
        let path = std::path::absolute(&self.file.path).unwrap_or_else(|_| self.file.path.clone());
        let token = AccessToken::new(text).ok()?;
        let parts = [&path.to_string_lossy()[..], &principal(token.secret())];
        Some(self.identity.get_or_init(|| format!("file_token {}", digest(parts))).clone())
    }

    fn credential_version(&self) -> u64 {
        self.file.version()
    }
}

impl ConfiguredProvider for FileToken {
    fn check_configured(&self) -> Result<(), CredentialError> {
        if self.file.path.exists() { Ok(()) } else { Err(self.file.missing_file_error()) }
    }
}

impl SecretFile {
    pub(super) fn new(provider: &'static str, path: PathBuf) -> Self {
        Self { origin: Origin::new(provider, path.display().to_string()), path, may_be_shared: false }
    }

    /// Returns a number that changes when the file is replaced or modified.
    pub(super) fn version(&self) -> u64 {
        let mut hash = DefaultHasher::new();
        std::fs::metadata(&self.path).ok().map(|metadata| file_state(&metadata)).hash(&mut hash);
        hash.finish()
    }

    /// Returns the content without surrounding white space. A file that is empty, or changes during the read, is read
    /// again.
    pub(super) async fn read(&self) -> Result<Secret, CredentialError> {
        let mut retries = 0;
        loop {
            let file = self.clone();
            let contents = tokio::task::spawn_blocking(move || file.read_once()).await;
            let contents = contents
                .unwrap_or_else(|error| Err(self.origin.unusable("reading it failed", "retry").with_source(error)));
            match contents {
                Err(error) if error.is_transient() && retries < MAX_RETRIES => retries += 1,
                Err(error) if error.is_transient() => return Err(self.empty_file_error()),
                contents => return contents,
            }
            #[expect(clippy::disallowed_methods, reason = "there is no event when the file is complete")]
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    /// Reads the file once. The error is transient if the file is empty, or changed during the read.
    pub(super) fn read_once(&self) -> Result<Secret, CredentialError> {
        let read_error = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => self.missing_file_error(),
            _ => self.origin.unusable("it cannot be read", "check its path and its permissions").with_source(error),
        };
        let mut file = open_without_blocking(&self.path).map_err(read_error)?;
        let metadata = file.metadata().map_err(read_error)?;
        if !metadata.is_file() {
            return Err(self.origin.unusable("it is not a regular file", "name a file"));
        }
        if is_open_to_others(&metadata) && !self.may_be_shared && !is_projected(&self.path) {
            let remedy = format!("run `chmod 600 {}`", self.path.display());
            return Err(self.origin.unusable("other users can access it", remedy));
        }
        let mut bytes = Vec::new();
        file.by_ref().take(MAX_TOKEN_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(read_error)?;
        if bytes.len() > MAX_TOKEN_BYTES {
            return Err(self
                .origin
                .unusable(format!("it is larger than {MAX_TOKEN_BYTES} bytes"), "name a file with only a secret"));
        }
        let is_unchanged = file_state(&file.metadata().map_err(read_error)?) == file_state(&metadata);
        let text = String::from_utf8(bytes)
            .map_err(|_| self.origin.unusable("it is not text", "name a file with only a secret"))?;
        match text.trim() {
            "" => Err(self.origin.unavailable("it is empty", "retry")),
            _ if !is_unchanged => Err(self.origin.unavailable("it changed while it was read", "retry")),
            text => Ok(Secret::new(text)),
        }
    }

    /// Accepts a file that other users can read.
    pub(super) fn allow_shared(mut self) -> Self {
        self.may_be_shared = true;
        self
    }

    pub(super) fn origin(&self) -> &Origin {
        &self.origin
    }

    fn missing_file_error(&self) -> CredentialError {
        self.origin.not_configured("it does not exist", "check the path, and whether the secret is mounted")
    }

    fn empty_file_error(&self) -> CredentialError {
        self.origin.unusable("it is empty or is being replaced", "check the program that writes it")
    }
}

/// Opens a file without blocking, because opening a FIFO would otherwise wait for a writer.
fn open_without_blocking(path: &Path) -> io::Result<File> {
    let mut options = std::fs::OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use rustix::fs::OFlags;
        use std::os::unix::fs::OpenOptionsExt;
        options.custom_flags((OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed());
    }
    options.open(path)
}

/// Returns the part of the metadata that changes when the content of the file changes.
fn file_state(metadata: &Metadata) -> impl Hash + PartialEq + use<> {
    #[cfg(unix)]
    let inode = std::os::unix::fs::MetadataExt::ino(metadata);
    #[cfg(not(unix))]
    let inode = 0_u64;
    (inode, metadata.len(), metadata.modified().ok())
}

fn is_open_to_others(metadata: &Metadata) -> bool {
    #[cfg(unix)]
    {
        std::os::unix::fs::MetadataExt::mode(metadata) & 0o077 != 0
    }
    #[cfg(not(unix))]
    {
        let _ = metadata;
        false
    }
}

/// Returns true if the path contains `..data`, a link that Kubernetes replaces atomically. If the path is a symbolic
/// link, its target is also checked.
fn is_projected(path: &Path) -> bool {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        if path.components().any(|part| part == Component::Normal("..data".as_ref())) {
            return true;
        }
        let Ok(target) = std::fs::read_link(&path) else { return false };
        path = path.parent().map_or_else(|| target.clone(), |folder| folder.join(&target));
    }
    false
}

#[cfg(all(test, unix))]
mod tests;
