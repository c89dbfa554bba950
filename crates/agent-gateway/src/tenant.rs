use std::fmt;

/// The maximum length of a label of a domain name (RFC 1035, section 2.3.4).
const MAX_LENGTH: usize = 63;

/// The name of a tenant: a customer on whose behalf the agent acts, usually a subdomain.
///
/// The name is one label of a domain name (RFC 1123, section 2.1), because services derive host names from it.
///
/// ```
/// use agent_gateway::{Principal, Tenant};
///
/// let acme = Principal::System.with_tenant(Tenant::new("acme")?);
/// assert_eq!(acme.tenant().map(Tenant::as_str), Some("acme"));
/// assert!(Tenant::new("evil.example/").is_err());
/// # Ok::<(), agent_gateway::TenantError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tenant(String);

/// The error of an invalid tenant name.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the name of a tenant must have 1 to 63 letters, digits and hyphens, and must not begin or end with a hyphen")]
#[non_exhaustive]
pub struct TenantError;

impl Tenant {
    /// Returns the tenant with this name. Upper case is changed to lower case, as in domain names.
    ///
    /// # Errors
    ///
    /// The name is not a label: it is empty or longer than 63 characters, begins or ends with a hyphen, or has
    /// characters other than letters, digits and hyphens.
    pub fn new(name: impl Into<String>) -> Result<Self, TenantError> {
        let mut name = name.into();
        let is_label = (1..=MAX_LENGTH).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !name.starts_with('-')
            && !name.ends_with('-');
        name.make_ascii_lowercase();
        if is_label { Ok(Self(name)) } else { Err(TenantError) }
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Tenant {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "`{}`", self.0)
    }
}

impl fmt::Debug for Tenant {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Tenant({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_labels_are_tenants() {
        for name in ["acme", "a", "9f2c-1", "ACME", &"a".repeat(63)] {
            assert_eq!(Tenant::new(name).unwrap().as_str(), name.to_ascii_lowercase());
        }
        for name in ["", "-a", "a-", "a.b", "a/b", "a@b", "a b", "ä", "a\n", "a:1", &"a".repeat(64)] {
            assert!(Tenant::new(name).is_err(), "{name}");
        }
    }
}
