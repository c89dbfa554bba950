//! `aignostics profile`: named groups of settings.

use anyhow::anyhow;
use clap::Subcommand;
use platform_resources::{Profile, ProfileError, Profiles};
use serde_json::json;

use crate::error::CliError;
use crate::output::{Output, print};

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
            let profiles = read()?;
            let shapes: Vec<_> = profiles.names().map(|name| json!({ "name": name })).collect();
            output.several(&shapes, || profiles.names().collect::<Vec<_>>().join("\n"))
        }
        Action::Show { name } => {
            let profiles = read()?;
            if !profiles.names().any(|profile| profile == name) {
                let names: Vec<_> = profiles.names().map(str::to_owned).collect();
                return Err(CliError::nothing_selected(format!("no profile '{name}' exists"), name, &names));
            }
            show(&profiles.get(name).map_err(CliError::bad_input)?, output)
        }
        Action::Path => {
            let path = Profiles::path_of_this_user().map_err(CliError::bad_input)?;
            print(path.display())
        }
    }
}

fn read() -> Result<Profiles, CliError> {
    Profiles::of_this_user().map_err(|error: ProfileError| CliError::bad_input(anyhow!(error)))
}

fn show(profile: &Profile, output: &Output) -> Result<(), CliError> {
    let Profile { name, proxy, ca_certs, .. } = profile;
    let ca_certs: Vec<_> = ca_certs.iter().map(|path| path.display().to_string()).collect();
    // An address or a command line may contain a secret by mistake.
    let variables = profile.redacted_variables();
    let value = json!({ "name": name, "proxy": proxy, "ca_certs": ca_certs, "variables": variables });
    output.one(&value, || {
        let mut facts = vec![("name", name.clone())];
        facts.extend(proxy.iter().map(|proxy| ("proxy", proxy.clone())));
        facts.extend(ca_certs.iter().map(|path| ("CA certificate", path.clone())));
        facts.extend(variables.iter().map(|(name, value)| (*name, value.clone())));
        output.facts(facts)
    })
}
