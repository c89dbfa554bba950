//! `aignostics profile`: named groups of settings.

use anyhow::anyhow;
use clap::Subcommand;
use platform_resources::{Profile, ProfileError, Profiles};
use serde_json::json;
use terminal::{Output, print};

use crate::error::CliError;

#[derive(Subcommand)]
pub(crate) enum Action {
    /// List the names of the profiles
    List,
    /// Show the settings of a profile
    Show {
        /// Name of the profile
        name: String,
    },
    /// Print the path of the file with the profiles
    Path,
}

pub(crate) fn run(action: &Action, output: &Output) -> Result<(), CliError> {
    match action {
        Action::List => {
            let profiles = read_profiles()?;
            let values: Vec<_> = profiles.names().map(|name| json!({ "name": name })).collect();
            Ok(output.print_array(&values, || profiles.names().collect::<Vec<_>>().join("\n"))?)
        }
        Action::Show { name } => {
            let profiles = read_profiles()?;
            if !profiles.names().any(|profile| profile == name) {
                let names: Vec<_> = profiles.names().map(str::to_owned).collect();
                return Err(CliError::no_match(format!("no profile '{name}' exists"), name, &names));
            }
            show(&profiles.get(name).map_err(CliError::bad_input)?, output)
        }
        Action::Path => {
            let path = Profiles::path_for_current_user().map_err(CliError::bad_input)?;
            Ok(print(path.display())?)
        }
    }
}

fn read_profiles() -> Result<Profiles, CliError> {
    Profiles::for_current_user().map_err(|error: ProfileError| CliError::bad_input(anyhow!(error)))
}

fn show(profile: &Profile, output: &Output) -> Result<(), CliError> {
    let Profile { name, proxy, ca_certs, .. } = profile;
    let ca_certs: Vec<_> = ca_certs.iter().map(|path| path.display().to_string()).collect();
    // An address or a command line may contain a secret by mistake.
    let variables = profile.redacted_variables();
    let value = json!({ "name": name, "proxy": proxy, "ca_certs": ca_certs, "variables": variables });
    let text = || {
        let mut fields = vec![("name", name.clone())];
        fields.extend(proxy.iter().map(|proxy| ("proxy", proxy.clone())));
        fields.extend(ca_certs.iter().map(|path| ("CA certificate", path.clone())));
        fields.extend(variables.iter().map(|(name, value)| (*name, value.clone())));
        output.fields(fields)
    };
    Ok(output.print_object(&value, text)?)
}
