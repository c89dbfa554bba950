use std::env;

use platform_resources::models::Me;
use platform_resources::{Initiator, Interface, RunSdkMetadata};

/// What a run says of who submits or changes it, and by what.
pub(super) fn author(me: &Me) -> RunSdkMetadata {
    let initiator = match env::var_os("AIGNOSTICS_BRIDGE_VERSION") {
        Some(_) => Initiator::Bridge,
        None if env::var_os("PYTEST_CURRENT_TEST").is_some() => Initiator::Test,
        None => Initiator::User,
    };
    // A variable that is no UTF-8 is none of those that are looked for.
    let variables = env::vars_os().filter_map(|(name, value)| name.into_string().ok().zip(value.into_string().ok()));
    let sdk = RunSdkMetadata::new(concat!("aignostics-cli/", env!("CARGO_PKG_VERSION")));
    sdk.with_interface(Interface::Cli).with_initiator(initiator).with_user(me).with_ci(variables)
}
