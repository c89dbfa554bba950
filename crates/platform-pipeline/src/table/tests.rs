use super::*;

fn parse(bytes: &[u8]) -> Result<SlideTable, Error> {
    SlideTable::parse(bytes, "slides.csv", Path::new("/study"))
}

fn rewrite(bytes: &[u8]) -> Vec<u8> {
    parse(bytes).unwrap().bytes().unwrap()
}

#[test]
fn cells_and_columns_are_written_as_they_were_read() {
    let text = "external_id;mine;tissue\n\"/a;b.svs\";\"say \"\"so\"\"\";\n/c.svs;;LUNG\n";
    let table = parse(text.as_bytes()).unwrap();
    assert_eq!((table.rows[0].external_id(), table.rows[0].get("mine")), ("/a;b.svs", "say \"so\""));
    assert_eq!((table.rows[1].line, table.rows[1].get("tissue"), table.rows[1].get("none")), (3, "LUNG", ""));
    assert_eq!(String::from_utf8(table.bytes().unwrap()).unwrap(), text);
}

#[test]
fn rewritten_table_has_the_original_encoding_line_endings_and_delimiter() {
    let utf16: Vec<u8> =
        "\u{feff}external_id;tissue\r\na.svs;LUNG\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for bytes in [
        "\u{feff}external_id;tissue\r\n/a.svs;LUNG\r\n".as_bytes(),
        b"external_id;tissue\r/a.svs;LUNG\r",
        b"sep=;\r\nexternal_id;tissue\r\n/a.svs;LUNG\r\n",
        b"sep=,\nexternal_id,tissue\n/a.svs,LUNG\n",
        &utf16,
    ] {
        assert_eq!(rewrite(bytes), bytes);
        assert_eq!(parse(bytes).unwrap().rows[0].get("tissue"), "LUNG");
    }
}

#[test]
fn empty_rows_at_the_end_and_spaces_are_accepted() {
    let table = parse(b"external_id;tissue\n/absent.svs ; LUNG \n;\n;;;\n\n").unwrap();
    assert_eq!(
        (table.rows.len(), table.rows[0].external_id(), table.rows[0].get("tissue")),
        (1, "/absent.svs", "LUNG")
    );
    assert!(table.notes()[0].contains("line 2: '/absent.svs ': No such file"), "{:?}", table.notes());
}

#[test]
fn malformed_table_is_rejected_with_line_numbers() {
    for (bytes, problems) in [
        (&b"external_id;note\na;\"left half\nb;\nc;\n"[..], &["line 2: a quote is opened and never closed"][..]),
        (b"external_id;note\na\nb;;;\nc;\n", &["line 2: 1 cells, but 2 columns", "line 3: 4 cells, but 2 columns"]),
        (b"external_id;note\n;x\na;\n", &["line 2: external_id is empty"]),
        (b"sep=;\nexternal_id;note\na;\"\n", &["line 3: a quote is opened and never closed"]),
        (
            b"name;name\na;b\n",
            &[
                "line 1: the column external_id is missing; columns are separated by `;`",
                "line 1: there are two columns 'name'",
            ],
        ),
        (b"external_id\nM\xfcller\n", &["line 2: neither UTF-8 nor UTF-16: save the table as UTF-8"]),
    ] {
        let error = parse(bytes).unwrap_err();
        assert!(error.is_input());
        assert_eq!(error.details(), problems);
    }
}

#[test]
fn path_of_a_slide_is_its_file_or_else_its_id() {
    let table = parse(b"external_id;file\na;../slides/a.svs\nb;/there/b.svs\n/c.svs;\n").unwrap();
    let paths: Vec<_> = table.rows().iter().map(|row| table.path_of(row)).collect();
    assert_eq!(paths, ["/study/../slides/a.svs", "/there/b.svs", "/c.svs"].map(PathBuf::from));
}

#[test]
fn concurrent_updates_lose_no_cells() {
    let folder = tempfile::tempdir().unwrap();
    let csv = folder.path().join("slides.csv");
    let rows = (0..40).map(|number| format!("{number};\n")).collect::<Vec<_>>().concat();
    fs::write(&csv, format!("external_id;platform_bucket_url\n{rows}")).unwrap();
    let set = |number: usize| {
        SlideTable::update(&csv, |table| {
            table.rows[number].set(URL, format!("gs://there/{number}"));
            Ok(())
        })
        .unwrap();
    };
    std::thread::scope(|scope| {
        for first in [0, 20] {
            scope.spawn(move || (first..first + 20).for_each(set));
        }
    });
    let table = SlideTable::read(&csv).unwrap();
    assert!(table.rows().iter().all(|row| row.get(URL).ends_with(row.external_id())));
}
