//! `aignostics completions` in the supported shells.

use std::env;
use std::path::Path;
use std::process::Command;

use crate::command::{BINARY, CommandResult};
use crate::needs;

/// A zsh in a terminal, with a key that prints the current line. The script types only after the line editor is ready,
/// because the terminal driver would otherwise interpret this key and discard the line.
const ZSH: &str = r#"
zmodload zsh/zpty
aignostics completions zsh > _aignostics
zpty inner zsh -f -i
zpty -w inner 'fpath=($PWD $fpath); autoload -Uz compinit; compinit -u -D'
zpty -w inner 'tell() { print -r -- "line<$BUFFER>line" }; zle -N tell; bindkey "^T" tell'
zpty -w inner 'zle-line-init() { print ready""now }; zle -N zle-line-init'
zpty -r inner answer '*readynow*'
for line in "aignostics run dow" "aignostics application dump-schemata --dest"; do
    zpty -w -n inner "$line"$'\t\x14\x15'
    zpty -r inner answer '*line<*>line*'
    print -r -- "${${answer##*line<}%%>line*}"
done
zpty -d inner
"#;

/// Runs a script in a shell with the command in its path, for at most a minute.
fn shell(arguments: &[&str], script: &str) -> CommandResult {
    let folders = env::var_os("PATH").unwrap();
    let binary_folder = Path::new(BINARY).parent().unwrap().to_owned();
    let path = env::join_paths([binary_folder].into_iter().chain(env::split_paths(&folders))).unwrap();
    let home = tempfile::TempDir::new().unwrap();
    let mut command = Command::new("timeout");
    command.arg("60").args(arguments).arg(script).env_clear();
    command.env("PATH", path).env("HOME", home.path()).env("LC_ALL", "C.UTF-8").env("TERM", "dumb");
    CommandResult::of(&command.current_dir(home.path()).output().unwrap())
}

/// Returns the completions of bash for the last of these words.
fn bash_completions(words: &[&str]) -> Vec<String> {
    let current_word = words.last().unwrap();
    let previous_word = words[words.len() - 2];
    let script = format!(
        "source <(aignostics completions bash); COMP_WORDS=({}); COMP_CWORD={}; \
         _aignostics aignostics '{current_word}' '{previous_word}'; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        words.join(" "),
        words.len() - 1
    );
    let result = shell(&["bash", "--norc", "--noprofile", "-c"], &script);
    result.assert_code(0);
    assert_eq!(result.stderr, "");
    result.stdout.lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_and_flags() {
    if !needs::has("bash") {
        return needs::missing("bash", "apt-get install bash");
    }
    assert_eq!(bash_completions(&["aignostics", "run", "dow"]), ["download"]);
    assert_eq!(bash_completions(&["aignostics", "application", "run", "dow"]), ["download"]);
    assert_eq!(bash_completions(&["aignostics", "application", "dump-schemata", "--dest"]), ["--destination"]);
    assert_eq!(bash_completions(&["aignostics", "system", "info", "--format", "js"]), ["json", "jsonl"]);
}

#[test]
fn zsh_completes_commands_and_flags() {
    if !needs::has("zsh") {
        return needs::missing("zsh", "apt-get install zsh");
    }
    let result = shell(&["zsh", "-f", "-c"], ZSH);
    result.assert_code(0);
    // zsh appends these characters to an option that takes a value.
    let lines: Vec<_> = result.stdout.lines().map(|line| line.trim_end_matches([' ', '='])).collect();
    assert_eq!(
        lines,
        ["aignostics run download", "aignostics application dump-schemata --destination"],
        "{}",
        result.stderr
    );
}

#[test]
fn fish_completes_commands_and_flags() {
    if !needs::has("fish") {
        return needs::missing("fish", "apt-get install fish");
    }
    let script = "aignostics completions fish | source; complete -C 'aignostics run dow'; \
                  complete -C 'aignostics application run dow'; \
                  complete -C 'aignostics application dump-schemata --dest'";
    let result = shell(&["fish", "--no-config", "-c"], script);
    result.assert_code(0);
    let words: Vec<_> = result.stdout.lines().map(|line| line.split('\t').next().unwrap()).collect();
    assert_eq!(words, ["download", "download", "--destination"], "{}", result.stderr);
}

#[test]
fn elvish_and_powershell_have_scripts() {
    for name in ["elvish", "powershell"] {
        let result = CommandResult::of(&Command::new(BINARY).args(["completions", name]).output().unwrap());
        result.assert_code(0);
        assert!(result.stdout.contains("dump-schemata"), "{name}");
    }
    CommandResult::of(&Command::new(BINARY).args(["completions", "dash"]).output().unwrap()).assert_code(2);
}
