use std::env;

use platform_resources::models::Me;
use platform_resources::{Initiator, Interface, RunSdkMetadata};

/// Returns the SDK metadata for the user and this program.
pub(super) fn sdk_metadata(me: &Me) -> RunSdkMetadata {
    let initiator = match env::var_os("AIGNOSTICS_BRIDGE_VERSION") {
        Some(_) => Initiator::Bridge,
        None if env::var_os("PYTEST_CURRENT_TEST").is_some() => Initiator::Test,
        None => Initiator::User,
    };
    // Variables that are not UTF-8 are irrelevant.
    let variables = env::vars_os().filter_map(|(name, value)| name.into_string().ok().zip(value.into_string().ok()));
    let sdk = RunSdkMetadata::new(concat!("aignostics-cli/", env!("CARGO_PKG_VERSION")));
    sdk.with_interface(Interface::Cli).with_initiator(initiator).with_user(me).with_ci(variables)
}
