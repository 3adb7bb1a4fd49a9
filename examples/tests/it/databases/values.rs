//! What comes out of a table.

use super::{Fixture, Kind};

super::over_each_kind!(
    any_bytes_come_back_as_they_went_in,
    missing_rows_and_nulls_are_none,
    keys_are_compared_byte_for_byte,
    values_of_other_types_come_as_text,
    tables_are_groups_if_they_have_the_columns,
    rows_are_written_and_deleted_with_any_bytes,
);

async fn any_bytes_come_back_as_they_went_in(kind: Kind) {
    let mut fixture = Fixture::new(kind, "any_bytes").await;
    fixture.table("t").await;
    let all: Vec<u8> = (0..=255).collect();
    let large = all.repeat(4096);
    let rows = [("empty", &b""[..]), ("nul", b"\0"), ("all", &all), ("large", &large)];
    for (key, value) in rows {
        fixture.row("t", key, Some(value)).await;
    }
    let database = fixture.open().await;
    for (key, value) in rows {
        let found = database.query("t", key).await.unwrap();
        assert!(found.as_deref() == Some(value), "{key}");
    }
}

async fn missing_rows_and_nulls_are_none(kind: Kind) {
    let mut fixture = Fixture::new(kind, "missing").await;
    fixture.table("t").await;
    fixture.row("t", "null", None).await;
    let database = fixture.open().await;
    for key in ["null", "nobody", "", "nul\0here", "' OR ''='"] {
        assert_eq!(database.query("t", key).await.unwrap(), None, "{key:?}");
    }
    assert!(database.query("no such table", "null").await.is_err());
}

async fn keys_are_compared_byte_for_byte(kind: Kind) {
    let keys =
        ["Tom", "tom", "é", "e", "汉字", "🥕", "🍕", "a b", "a+b", "100%", "a/b", "a'b\"c\\"];
    let mut fixture = Fixture::new(kind, "byte_for_byte").await;
    fixture.table("t").await;
    for key in keys {
        fixture.row("t", key, Some(key.as_bytes())).await;
    }
    if kind == Kind::MySql {
        // The collation that most tables have takes all of these for "Tom", and 🥕 for 🍕.
        fixture.run("CREATE TABLE loose (`key` VARCHAR(99) PRIMARY KEY, `value` TEXT)").await;
        fixture.run("INSERT INTO loose VALUES ('Tom', '630'), ('🥕', 'carrot')").await;
    }
    let database = fixture.open().await;
    for key in keys {
        assert_eq!(
            database.query("t", key).await.unwrap().as_deref(),
            Some(key.as_bytes()),
            "{key:?}"
        );
    }
    for key in ["TOM", "Tom ", " Tom", "è", "🥬", "a\u{301}"] {
        assert_eq!(database.query("t", key).await.unwrap(), None, "{key:?}");
    }
    if kind == Kind::MySql {
        assert_eq!(database.query("loose", "Tom").await.unwrap().as_deref(), Some(&b"630"[..]));
        for key in ["tom", "TOM", "Tom ", "🍕"] {
            assert_eq!(database.query("loose", key).await.unwrap(), None, "{key:?}");
        }
    }
}

async fn values_of_other_types_come_as_text(kind: Kind) {
    let mut fixture = Fixture::new(kind, "other_types").await;
    let key = if kind == Kind::MySql { "`key` VARCHAR(99)" } else { "key VARCHAR(99)" };
    for (name, value) in [("texts", "TEXT"), ("numbers", "INTEGER")] {
        fixture.run(&format!("CREATE TABLE {name} ({key} PRIMARY KEY, value {value})")).await;
    }
    fixture.run("INSERT INTO texts VALUES ('carrot', '🥕')").await;
    fixture.run("INSERT INTO numbers VALUES ('Tom', 630)").await;
    let database = fixture.open().await;
    assert_eq!(database.query("texts", "carrot").await.unwrap().as_deref(), Some("🥕".as_bytes()));
    assert_eq!(database.query("numbers", "Tom").await.unwrap().as_deref(), Some(&b"630"[..]));
}

mod mysql_only {
    use super::{Fixture, Kind};

    #[tokio::test]
    #[ignore = "needs a server: cargo xtask databases"]
    async fn text_in_another_character_set_comes_as_utf_8() {
        let mut fixture = Fixture::new(Kind::MySql, "latin").await;
        let columns = "`key` VARCHAR(99) PRIMARY KEY, `value` TEXT";
        fixture.run(&format!("CREATE TABLE t ({columns}) CHARSET latin1")).await;
        fixture.run("INSERT INTO t VALUES ('café', 'crème')").await;
        let database = fixture.open().await;
        assert_eq!(database.query("t", "café").await.unwrap().as_deref(), Some("crème".as_bytes()));
        assert_eq!(database.query("t", "cafe").await.unwrap(), None);
    }
}

async fn tables_are_groups_if_they_have_the_columns(kind: Kind) {
    let mut fixture = Fixture::new(kind, "columns").await;
    let quote = if kind == Kind::MySql { "`" } else { "\"" };
    let odd = format!("{quote}my group/1{quote}");
    for name in ["scores", &odd] {
        fixture.table(name).await;
        fixture.row(name, "Tom", Some(b"630")).await;
    }
    fixture.run("CREATE TABLE other (id INTEGER PRIMARY KEY, value TEXT)").await;
    let database = fixture.open().await;
    assert_eq!(database.tables().collect::<Vec<_>>(), ["my group/1", "scores"]);
    assert_eq!(database.query("my group/1", "Tom").await.unwrap().as_deref(), Some(&b"630"[..]));
    assert_eq!(database.queries(), 1);
}

async fn rows_are_written_and_deleted_with_any_bytes(kind: Kind) {
    let mut fixture = Fixture::new(kind, "written").await;
    fixture.table("t").await;
    fixture.row("t", "Tom", Some(b"630")).await;
    let database = fixture.open().await;
    let all: Vec<u8> = (0..=255).collect();
    // The second time each row is there.
    for value in [&all[..], b""] {
        for key in ["tom", "汉字", "a'b\"c\\"] {
            database.put("t", key, value).await.unwrap();
            assert_eq!(database.query("t", key).await.unwrap().as_deref(), Some(value), "{key:?}");
        }
    }
    assert_eq!(database.query("t", "Tom").await.unwrap().as_deref(), Some(&b"630"[..]));
    for _ in 0..2 {
        database.delete("t", "tom").await.unwrap();
        assert_eq!(database.query("t", "tom").await.unwrap(), None);
    }
    assert_eq!(database.query("t", "Tom").await.unwrap().as_deref(), Some(&b"630"[..]));
    assert!(database.put("no such table", "Tom", b"x").await.is_err());
    assert!(database.delete("no such table", "Tom").await.is_err());
}
