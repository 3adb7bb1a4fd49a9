//! The two things that are read off a database URL here; the rest is the driver's.

/// Returns what stands before the first colon.
pub(super) fn scheme(url: &str) -> &str {
    url.split_once(':').map_or("", |(scheme, _)| scheme)
}

/// Returns `url` with `***` for each password in it, so that it can be shown.
///
/// Rather hides too much than too little: a password with an unescaped `@` or `/` goes whole.
pub(super) fn masked(url: &str) -> String {
    let mut masked = url.to_owned();
    if let Some(start) = url.find("://").map(|at| at + 3)
        && let Some(end) = url.rfind('@').filter(|&end| end > start)
        && let Some(colon) = url[start..end].find(':').map(|at| start + at)
    {
        masked.replace_range(colon + 1..end, "***");
    }
    if let Some(start) = masked.find("password=").map(|at| at + "password=".len()) {
        let end = masked[start..].find('&').map_or(masked.len(), |at| start + at);
        masked.replace_range(start..end, "***");
    }
    masked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scheme_is_what_stands_before_the_colon() {
        assert_eq!(scheme("sqlite:data.db"), "sqlite");
        assert_eq!(scheme("postgres://localhost/db"), "postgres");
        assert_eq!(scheme("data.db"), "");
    }

    #[test]
    fn passwords_are_masked_wherever_they_stand() {
        for (url, shown) in [
            ("mysql://root:geheim@127.0.0.1:3306/db", "mysql://root:***@127.0.0.1:3306/db"),
            ("mysql://root:p@ss/w:rd@host/db", "mysql://root:***@host/db"),
            ("mysql://root:@host/db", "mysql://root:***@host/db"),
            ("postgres://host/db?password=geheim&a=b", "postgres://host/db?password=***&a=b"),
            ("postgres://host/db?user=a&password=geheim", "postgres://host/db?user=a&password=***"),
        ] {
            assert_eq!(masked(url), shown);
        }
    }

    #[test]
    fn urls_without_a_password_stay_as_they_are() {
        for url in ["sqlite:my file.db", "mysql://root@host:1/db", "postgres://host:5432/db", "x"] {
            assert_eq!(masked(url), url);
        }
    }
}
