//! What the three kinds of database want to be told differently.

/// What is done to a row. A statement takes the value first, if any, and then the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Update,
    Insert,
    Delete,
}

/// A kind of database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Sqlite,
    MySql,
    Postgres,
}

impl Dialect {
    /// Returns the kind that URLs of `scheme` mean.
    pub(super) fn of(scheme: &str) -> Option<Self> {
        match scheme {
            "sqlite" => Some(Self::Sqlite),
            "mysql" | "mariadb" => Some(Self::MySql),
            "postgres" | "postgresql" => Some(Self::Postgres),
            _ => None,
        }
    }

    /// Returns the query for all tables with the columns `key` and `value`: name, type of `value`.
    pub(super) fn list_tables(self) -> &'static str {
        match self {
            Self::Sqlite => {
                "SELECT name, '' FROM sqlite_schema AS tables
                 WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
                   AND 2 = (SELECT count(*) FROM pragma_table_info(tables.name)
                            WHERE lower(name) IN ('key', 'value'))"
            }
            // Cast, because servers differ in the types of these columns.
            Self::MySql => {
                "SELECT CAST(k.table_name AS CHAR), CAST(v.data_type AS CHAR)
                 FROM information_schema.columns k JOIN information_schema.columns v
                 ON v.table_schema = k.table_schema AND v.table_name = k.table_name
                 WHERE k.table_schema = DATABASE()
                 AND k.column_name = 'key' AND v.column_name = 'value'"
            }
            Self::Postgres => {
                "SELECT k.table_name::text, v.data_type::text
                 FROM information_schema.columns k JOIN information_schema.columns v
                 ON v.table_schema = k.table_schema AND v.table_name = k.table_name
                 WHERE k.table_schema = current_schema()
                 AND k.column_name = 'key' AND k.data_type IN ('text', 'character varying')
                 AND v.column_name = 'value'"
            }
        }
    }

    /// Returns the query for the value of one key of `table`, as bytes whatever its
    /// type: bytes as they are, all else as text in UTF-8.
    pub(super) fn select(self, table: &str, value_type: &str) -> String {
        let table = self.quoted(table);
        match self {
            Self::Sqlite => {
                format!(r#"SELECT CAST("value" AS BLOB) FROM {table} WHERE "key" = ?"#)
            }
            // The usual collations take "tom" for "Tom" and each emoji for any other. The first
            // comparison can use the index; the second keeps to the key that was asked for.
            Self::MySql => {
                let bytes = match value_type {
                    "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" => {
                        "CONVERT(`value` USING utf8mb4)"
                    }
                    _ => "`value`",
                };
                format!(
                    "SELECT CAST({bytes} AS BINARY) FROM {table} WHERE `key` = ?
                     AND CAST(CONVERT(`key` USING utf8mb4) AS BINARY) = CAST(? AS BINARY)"
                )
            }
            Self::Postgres => {
                let bytes = match value_type {
                    "bytea" => r#""value""#,
                    _ => r#"convert_to("value"::text, 'UTF8')"#,
                };
                format!(r#"SELECT {bytes} FROM {table} WHERE "key" = $1"#)
            }
        }
    }

    /// Returns the statement that changes the row of one key of `table`. The value comes as bytes,
    /// whatever its type.
    pub(super) fn change(self, change: Change, table: &str, value_type: &str) -> String {
        let table = self.quoted(table);
        let [key, value] = ["key", "value"].map(|column| self.quoted(column));
        // Of the key that is meant and no other, as in `select`.
        let (bytes, same_key) = match self {
            Self::Sqlite => ("?".to_owned(), format!("{key} = ?")),
            Self::MySql => {
                let exactly = "CAST(CONVERT(`key` USING utf8mb4) AS BINARY) = CAST(? AS BINARY)";
                ("?".to_owned(), format!("{key} = ? AND {exactly}"))
            }
            Self::Postgres => {
                let bytes = match value_type {
                    "bytea" => "$1".to_owned(),
                    other => format!("convert_from($1, 'UTF8')::{other}"),
                };
                let parameter = if change == Change::Delete { "$1" } else { "$2" };
                (bytes, format!("{key} = {parameter}"))
            }
        };
        let key_of_insert = if self == Self::Postgres { "$2" } else { "?" };
        match change {
            Change::Update => format!("UPDATE {table} SET {value} = {bytes} WHERE {same_key}"),
            Change::Insert => {
                format!("INSERT INTO {table} ({value}, {key}) VALUES ({bytes}, {key_of_insert})")
            }
            Change::Delete => format!("DELETE FROM {table} WHERE {same_key}"),
        }
    }

    /// Returns a statement that makes a table which can be a group.
    pub(super) fn example_table(self) -> &'static str {
        match self {
            Self::Sqlite => "CREATE TABLE scores (key TEXT PRIMARY KEY, value BLOB)",
            Self::MySql => {
                "CREATE TABLE scores (`key` VARBINARY(1024) PRIMARY KEY, `value` LONGBLOB)"
            }
            Self::Postgres => "CREATE TABLE scores (key TEXT PRIMARY KEY, value BYTEA)",
        }
    }

    fn quoted(self, name: &str) -> String {
        match self {
            Self::MySql => format!("`{}`", name.replace('`', "``")),
            Self::Sqlite | Self::Postgres => format!("\"{}\"", name.replace('"', "\"\"")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_name_cannot_leave_its_quotes() {
        assert_eq!(Dialect::Sqlite.quoted("a\"; DROP"), "\"a\"\"; DROP\"");
        assert_eq!(Dialect::Postgres.quoted("my group/1"), "\"my group/1\"");
        assert_eq!(Dialect::MySql.quoted("a`b"), "`a``b`");
    }

    #[test]
    fn both_names_of_a_scheme_mean_the_same() {
        assert_eq!(Dialect::of("mariadb"), Dialect::of("mysql"));
        assert_eq!(Dialect::of("postgresql"), Dialect::of("postgres"));
        assert_eq!(Dialect::of("redis"), None);
    }
}
