//! Tables edited by hand and by spreadsheet programs, and external ids.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::shell::Shell;
use crate::slides::write_slide;

fn with_slides(names: &[&str]) -> Shell {
    let shell = Shell::start();
    for name in names {
        write_slide(&shell.folder().join("slides").join(name));
    }
    shell
}

fn prepared_ids(shell: &Shell, arguments: &[&str]) -> Vec<String> {
    let prepared = shell.json("prepared", &[&["run", "prepare", "tissue"], arguments].concat());
    let slides = prepared["slides"].as_array().unwrap().iter();
    slides.map(|slide| slide["external_id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn external_ids_are_paths_stems_or_a_column() {
    let shell = with_slides(&["1/a.tiff", "b.tiff"]);
    assert_eq!(prepared_ids(&shell, &["relative.csv", "slides"]), ["1/a.tiff", "b.tiff"]);
    assert_eq!(prepared_ids(&shell, &["stem.csv", "slides", "--external-id", "stem"]), ["a", "b"]);
    let absolute = prepared_ids(&shell, &["absolute.csv", "slides", "--external-id", "absolute"]);
    assert!(Path::new(&absolute[0]).is_absolute() && absolute[0].ends_with("/slides/1/a.tiff"), "{absolute:?}");
    let table = fs::read_to_string(shell.folder().join("relative.csv")).unwrap();
    assert!(
        table.starts_with("external_id;checksum")
            && table.contains("\n1/a.tiff;")
            && table.contains(";slides/1/a.tiff\n"),
        "{table}"
    );
    // The ids come from a column of the table, which a mapping fills here.
    let case = ["--external-id", "tissue", "--mapping", "a.tiff:tissue=LUNG", "--mapping", "b.tiff:tissue=LIVER"];
    assert_eq!(prepared_ids(&shell, &[&["relative.csv", "slides"][..], &case].concat()), ["LUNG", "LIVER"]);
    for (id_option, reason) in [("disease", "disease"), ("nothing", "column 'nothing' of --external-id not found")] {
        let error = shell.error(2, &["run", "prepare", "tissue", "stem.csv", "slides", "--external-id", id_option]);
        assert!(error["message"].as_str().unwrap().contains(reason), "{error}");
    }
}

#[test]
fn external_ids_that_cannot_be_used_name_the_option() {
    let shell = with_slides(&["1/a.tiff", "2/a.tiff"]);
    let error = shell.error(2, &["run", "prepare", "tissue", "t.csv", "slides", "--external-id", "stem"]);
    assert!(error["message"].as_str().unwrap().contains("--external-id"), "{error}");
    let deep = format!("slides/{0}/{0}/{0}", "x".repeat(90));
    write_slide(&shell.folder().join(&deep).join("a.tiff"));
    let result = shell.run(&["run", "prepare", "tissue", "t.csv", "slides"]);
    result.assert_code(6);
    assert!(result.stderr.contains("at most 255") && result.stderr.contains("--external-id"), "{}", result.stderr);
    let long = format!("external_id;platform_bucket_url\n{};gs://emulator-bucket/a\n", "x".repeat(256));
    fs::write(shell.folder().join("long.csv"), long).unwrap();
    let error = shell.error(2, &["run", "validate", "tissue", "long.csv"]);
    assert!(
        error["details"].to_string().contains("256 characters")
            && error["details"].to_string().contains("--external-id")
    );
}

#[cfg(target_os = "linux")]
#[test]
fn names_that_are_not_utf8_name_the_option() {
    use std::os::unix::ffi::OsStrExt;

    let shell = with_slides(&["a.tiff"]);
    let name = std::ffi::OsStr::from_bytes(b"M\xfcller.tiff");
    fs::copy(shell.folder().join("slides/a.tiff"), shell.folder().join("slides").join(name)).unwrap();
    let result = shell.run(&["run", "prepare", "tissue", "t.csv", "slides"]);
    result.assert_code(6);
    assert!(result.stderr.contains("not UTF-8") && result.stderr.contains("--external-id"), "{}", result.stderr);
}

#[test]
fn forms_of_spreadsheets_are_kept_and_unknown_columns_reported() {
    let shell = with_slides(&["a.tiff"]);
    shell.run(&["run", "prepare", "tissue", "base.csv", "slides"]).assert_code(0);
    let base = fs::read_to_string(shell.folder().join("base.csv")).unwrap();
    let lines: Vec<_> = base.lines().collect();
    let excel = format!("\u{feff}sep=;\r\n{};scanner\r\n{};S 7\r\n;;;;;;;;;;\r\n", lines[0], lines[1]);
    let utf16: Vec<u8> = excel.encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (name, bytes) in [("utf8.csv", excel.clone().into_bytes()), ("utf16.csv", utf16)] {
        let csv = shell.folder().join(name);
        fs::write(&csv, bytes).unwrap();
        shell.run(&["run", "upload", "tissue", name]).assert_code(0);
        let bytes = fs::read(&csv).unwrap();
        let text = match name {
            "utf8.csv" => String::from_utf8(bytes).unwrap(),
            _ => String::from_utf16(
                &bytes.chunks(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect::<Vec<_>>(),
            )
            .unwrap(),
        };
        assert!(text.starts_with("\u{feff}sep=;\r\n") && !text.replace("\r\n", "").contains('\n'), "{text:?}");
        assert!(text.contains(";gs://emulator-bucket/") && text.contains(";S 7\r\n"), "{text:?}");
        let result = shell.run(&["run", "validate", "tissue", name]);
        result.assert_code(0);
        assert!(result.stderr.contains("does not use the column 'scanner'"), "{}", result.stderr);
    }
    fs::write(shell.folder().join("run.json"), "\u{feff}{\"application_id\": \"other\", \"items\": []}").unwrap();
    assert!(shell.error(2, &["run", "validate", "tissue", "run.json"])["message"].to_string().contains("is for other"));
}

#[test]
fn unclosed_quotes_are_errors_with_their_line() {
    let shell = with_slides(&["a.tiff", "b.tiff", "c.tiff"]);
    shell.run(&["run", "prepare", "tissue", "base.csv", "slides"]).assert_code(0);
    shell.run(&["run", "upload", "tissue", "base.csv"]).assert_code(0);
    let base = fs::read_to_string(shell.folder().join("base.csv")).unwrap();
    let rows: Vec<_> = base.lines().collect();
    for notes in [["\"left half", "", ""], ["\"left half", "", "right half\""]] {
        let noted =
            rows[1..].iter().zip(notes).map(|(row, note)| format!("{row};{note}\n")).collect::<Vec<_>>().concat();
        fs::write(shell.folder().join("noted.csv"), format!("{};note\n{noted}", rows[0])).unwrap();
        for command in ["validate", "submit", "upload"] {
            let error = shell.error(2, &["run", command, "tissue", "noted.csv"]);
            assert!(error["details"][0].as_str().unwrap().starts_with("line 2: a quote is opened"), "{error}");
        }
    }
    assert_eq!(shell.served("api", "POST", "/api/v1/runs"), 0);
}

#[test]
fn concurrent_uploads_of_one_table_lose_no_cells() {
    let names: Vec<_> = (0..24).map(|number| format!("{number:02}.tiff")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let shell = with_slides(&names);
    shell.run(&["run", "prepare", "tissue", "slides.csv", "slides"]).assert_code(0);
    let start = || {
        let mut command = shell.command(&["run", "upload", "tissue", "slides.csv"]);
        command.stdout(Stdio::null()).spawn().unwrap()
    };
    for mut upload in [start(), start()] {
        assert!(upload.wait().unwrap().success());
    }
    let table = fs::read_to_string(shell.folder().join("slides.csv")).unwrap();
    let missing: Vec<_> = table.lines().skip(1).filter(|row| row.ends_with(';')).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn same_key_with_other_content_names_what_differs() {
    let shell = with_slides(&["a.tiff", "b.tiff"]);
    shell.run(&["run", "prepare", "tissue", "both.csv", "slides"]).assert_code(0);
    shell.run(&["run", "upload", "tissue", "both.csv"]).assert_code(0);
    let both = fs::read_to_string(shell.folder().join("both.csv")).unwrap();
    let one: Vec<_> = both.lines().take(2).collect();
    fs::write(shell.folder().join("one.csv"), one.join("\n")).unwrap();
    fs::write(shell.folder().join("edited.csv"), both.replace(";0.5;", ";0.25;")).unwrap();
    let submit = |table: &'static str, more: &[&'static str]| {
        [&["run", "submit", "tissue", table, "--once", "k", "--tags", "x"][..], more].concat()
    };
    let first = shell.json("submitted", &submit("both.csv", &[]));
    for (table, more, difference) in [
        ("one.csv", &[][..], "1 slides that are only in the run: b.tiff"),
        ("edited.csv", &[], "2 slides with another checksum or other metadata: a.tiff, b.tiff"),
        ("both.csv", &["--tags", "y"], "the tags: [x], now [x, y]"),
        ("both.csv", &["--application-version", "1.0.0"], "the version"),
    ] {
        let error = shell.error(3, &submit(table, more));
        assert!(error["details"].to_string().contains(difference), "{error}");
    }
    let other = shell.error(3, &["run", "submit", "outcomes", "both.csv", "--once", "k", "--tags", "x"]);
    assert!(other["details"].to_string().contains("the application: tissue, now outcomes"), "{other}");
    // Notes are not compared. They are reported as ignored.
    let again = shell.run(&submit("both.csv", &["--note", "second"]));
    again.assert_code(0);
    assert_eq!(again.stdout.trim(), first["run_id"].as_str().unwrap());
    assert!(again.stderr.contains("ignored, because nothing was submitted: --note"), "{}", again.stderr);
    // Another machine finds the run by its token.
    let mut elsewhere = shell.command(&[&submit("both.csv", &[])[..], &["--format", "json"]].concat());
    let result = crate::command::CommandResult::of(
        &elsewhere.env("AIGNOSTICS_STATE_DIR", shell.folder().join("other")).output().unwrap(),
    );
    result.assert_code(0);
    let submission: Value = serde_json::from_str(&result.stdout).unwrap();
    assert_eq!((&submission["run_id"], &submission["submitted"]), (&first["run_id"], &json!(false)));
    assert_eq!(shell.served("api", "POST", "/api/v1/runs"), 1);
}
